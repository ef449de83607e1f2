//! Which version is this, and which is the server's?

use serde_json::json;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::Asked;
use crate::arguments::Connection;
use crate::client::{self, Patience, Server};
use crate::failure::Failure;
use crate::output;

/// Request metadata that asks for the server's version, and that of the answer.
const ASKED: &str = "io.spicedb.requestversion";
const ANSWERED: &str = "io.spicedb.debug.version";

const OURS: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// That no server is there is no failure: this program's version was told.
pub(super) async fn run(asked: Asked<'_>) -> Result<(), Failure> {
    let address = &asked.connection.addr;
    let server = match of_server(asked.connection).await {
        Ok(version) => Ok(version),
        Err(failure @ (Failure::Connect { .. } | Failure::ShutOut { .. } | Failure::Refused(_))) => {
            Err(failure.to_string())
        }
        Err(failure) => return Err(failure),
    };
    if asked.connection.json {
        let (version, error) = (server.as_ref().ok(), server.as_ref().err());
        let mut value = json!({ "idhini": OURS, "address": address, "server": version });
        if let Some(error) = error {
            value["error"] = json!(error);
        }
        output::json_line(&value);
        return Ok(());
    }
    output::line(&format!("idhini  {OURS}"));
    match server {
        Ok(Some(version)) => output::line(&format!("server  {version} at {address}")),
        Ok(None) => output::line(&format!("server  at {address}, does not tell its version")),
        Err(error) => output::line(&format!("server  {error}")),
    }
    Ok(())
}

/// Health needs no key, and says the version as every call does.
async fn of_server(connection: &Connection) -> Result<Option<String>, Failure> {
    let found = client::means(connection)?;
    let server = Server::reach((&connection.addr, &found.security), None, Patience::Limited).await?;
    let mut request = server.request(HealthCheckRequest { service: String::new() });
    request.metadata_mut().insert(ASKED, MetadataValue::from_static("true"));
    let answer = HealthClient::new(server.channel()).check(request).await?;
    let told =
        |metadata: &MetadataMap| metadata.get(ANSWERED).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Ok(told(answer.metadata()))
}
