//! Commands that ask a server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use idhini_model::{Context, Relationship};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::context_message;
use idhini_wire::idhini::admin::v1::admin_service_client::AdminServiceClient;
use serde_json::json;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::arguments::{
    Check, Command, Connection, ReadArguments, RelationshipArguments, RelationshipCommand, SchemaCommand,
};
use crate::client_file::{ClientFile, ClientFileError};
use crate::failure::Failure;
use crate::files::read_schema;
use crate::output::{self, Style, Verdict};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a call may take.
const CALL_MAX: Duration = Duration::from_secs(60);
/// Longest message taken from the server: a schema of the longest kind and what is around it.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A server, reached.
pub(crate) struct Server {
    channel: Channel,
    token: MetadataValue<Ascii>,
    json: bool,
    style: Style,
}

/// Runs a command that asks a server; answers the exit status.
pub(crate) fn run(connection: &Connection, command: Command, style: Style) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "a runtime", source })?;
    runtime.block_on(async {
        match command {
            Command::Schema(SchemaCommand::Write { file }) => {
                let schema = read_schema(&file)?;
                Server::connect(connection, style).await?.write_schema(schema).await.map(|()| 0)
            }
            Command::Schema(SchemaCommand::Read) => {
                Server::connect(connection, style).await?.read_schema().await.map(|()| 0)
            }
            Command::Relationship(RelationshipCommand::Read(arguments)) => {
                Server::connect(connection, style).await?.read_relationships(&arguments).await.map(|()| 0)
            }
            Command::Relationship(command) => {
                let (operation, arguments) = match &command {
                    RelationshipCommand::Create(arguments) => (Operation::Create, arguments),
                    RelationshipCommand::Touch(arguments) => (Operation::Touch, arguments),
                    RelationshipCommand::Delete(arguments) => (Operation::Delete, arguments),
                    // Answered above.
                    RelationshipCommand::Read(_) => return Ok(0),
                };
                write_relationship(connection, style, operation, arguments).await.map(|()| 0)
            }
            Command::Check(check) => Server::connect(connection, style).await?.check(check).await,
            // The caller runs these itself.
            Command::Serve(_)
            | Command::ServeTesting(_)
            | Command::Config(_)
            | Command::Token(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Debug(_) => Ok(0),
        }
    })
}

async fn write_relationship(
    connection: &Connection,
    style: Style,
    operation: Operation,
    arguments: &RelationshipArguments,
) -> Result<(), Failure> {
    let relationship = arguments.relationship()?;
    let server = Server::connect(connection, style).await?;
    let update = v1::RelationshipUpdate {
        operation: operation as i32,
        relationship: Some(relationship.clone().into()),
    };
    let request = v1::WriteRelationshipsRequest { updates: vec![update], ..Default::default() };
    let answer = server.permissions().write_relationships(server.request(request)).await?.into_inner();
    server.written(&relationship.to_string(), answer.written_at);
    Ok(())
}

impl Server {
    pub(crate) async fn connect(connection: &Connection, style: Style) -> Result<Server, Failure> {
        let address = connection.addr.clone();
        if !is_loopback(&address)? {
            return Err(Failure::Plaintext { address });
        }
        let token = match connection.token.as_str() {
            "" => ClientFile::of_user().and_then(|file| file.token(&address)).or_else(nowhere)?,
            given => Some(given.to_owned()),
        };
        let token = token.and_then(|token| format!("Bearer {token}").parse().ok()).ok_or(Failure::NoToken)?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| Failure::Address { address: address.clone() })?;
        let channel = endpoint
            .connect_timeout(CONNECT_MAX)
            .timeout(CALL_MAX)
            .connect()
            .await
            .map_err(|source| Failure::Connect { address, source })?;
        Ok(Server { channel, token, json: connection.json, style })
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn permissions(&self) -> PermissionsServiceClient<Channel> {
        PermissionsServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn schemas(&self) -> SchemaServiceClient<Channel> {
        SchemaServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn written(&self, what: &str, at: Option<v1::ZedToken>) {
        let token = at.unwrap_or_default().token;
        match self.json {
            true => output::json(&json!({ "writtenAt": { "token": token } })),
            false => output::line(&format!("{what}\n{token}")),
        }
    }

    async fn write_schema(&self, schema: String) -> Result<(), Failure> {
        let request = self.request(v1::WriteSchemaRequest { schema });
        let answer = self.schemas().write_schema(request).await?.into_inner();
        self.written("schema", answer.written_at);
        Ok(())
    }

    async fn read_schema(&self) -> Result<(), Failure> {
        let answer = self.schemas().read_schema(self.request(v1::ReadSchemaRequest {})).await?.into_inner();
        match self.json {
            true => output::json(&json!({
                "schemaText": answer.schema_text, "readAt": { "token": answer.read_at.unwrap_or_default().token },
            })),
            false => output::line(answer.schema_text.trim_end()),
        }
        Ok(())
    }

    async fn read_relationships(&self, arguments: &ReadArguments) -> Result<(), Failure> {
        let request = v1::ReadRelationshipsRequest {
            consistency: Some(consistency(None, None)),
            relationship_filter: Some(arguments.filter()),
            ..Default::default()
        };
        let mut answers = self.permissions().read_relationships(self.request(request)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            let missing = || Failure::Answer { missing: "relationship" };
            let relationship = answer.relationship.ok_or_else(missing)?;
            let text = Relationship::try_from(relationship).map_err(|_| missing())?.to_string();
            match self.json {
                true => output::json(&json!({
                    "relationship": text, "readAt": { "token": answer.read_at.unwrap_or_default().token },
                })),
                false => output::line(&text),
            }
        }
        Ok(())
    }

    async fn check(&self, check: Check) -> Result<u8, Failure> {
        let question = format!("{}#{}@{}", check.resource, check.permission, check.subject);
        let request = v1::CheckPermissionRequest {
            consistency: Some(consistency(check.consistency_at_least, check.consistency_at_exactly)),
            resource: Some(check.resource.into()),
            permission: check.permission,
            subject: Some(check.subject.into()),
            context: check.context.map(|context: Context| context_message(context)),
            with_tracing: check.explain,
        };
        let answer = self.permissions().check_permission(self.request(request)).await?.into_inner();
        let verdict =
            Verdict::of(answer.permissionship).ok_or(Failure::Answer { missing: "permissionship" })?;
        match self.json {
            true => output::json(&output::check_json(verdict, &answer)),
            false => output::check(&question, verdict, &answer, self.style),
        }
        Ok(verdict.exit_status())
    }
}

/// Without a token, the newest: a person who asks wants to see what was just written.
fn consistency(at_least: Option<String>, exactly: Option<String>) -> v1::Consistency {
    let requirement = match (at_least, exactly) {
        (_, Some(token)) => Requirement::AtExactSnapshot(v1::ZedToken { token }),
        (Some(token), None) => Requirement::AtLeastAsFresh(v1::ZedToken { token }),
        (None, None) => Requirement::FullyConsistent(true),
    };
    v1::Consistency { requirement: Some(requirement) }
}

/// Who has no home has no tokens there.
fn nowhere(error: ClientFileError) -> Result<Option<String>, ClientFileError> {
    if matches!(error, ClientFileError::Nowhere) { Ok(None) } else { Err(error) }
}

fn is_loopback(address: &str) -> Result<bool, Failure> {
    let malformed = || Failure::Address { address: address.to_owned() };
    if let Ok(address) = address.parse::<SocketAddr>() {
        return Ok(address.ip().is_loopback());
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    port.parse::<u16>().map_err(|_| malformed())?;
    Ok(host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}
