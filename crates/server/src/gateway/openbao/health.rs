//! Is the server there? As load balancers and clients ask OpenBao: it is initialized, and sealed while it does not serve.

use http::StatusCode;
use serde_json::{Value, json};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::answer::{Answer, No};
use super::{Of, Verb};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const VERSION: &str = concat!("idhini ", env!("CARGO_PKG_VERSION"));

pub(super) async fn health(of: &mut Of<'_>) -> Result<Answer, No> {
    let is_serving = is_serving(of).await?;
    let status = if is_serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let value = json!({
        "initialized": true,
        "sealed": !is_serving,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": of.now.seconds(),
        "version": VERSION,
    });
    Ok(Answer::plain(status, value))
}

pub(super) async fn init(of: &mut Of<'_>) -> Result<Answer, No> {
    is_serving(of).await?;
    Ok(Answer::plain(StatusCode::OK, json!({ "initialized": true })))
}

/// There is no seal that anybody could open: what is asked for in its words is whether the server serves.
pub(super) async fn seal_status(of: &mut Of<'_>) -> Result<Answer, No> {
    let is_serving = is_serving(of).await?;
    let value = json!({
        "type": "none", "initialized": true, "sealed": !is_serving, "t": 0, "n": 0, "progress": 0, "nonce": "",
        "version": VERSION, "build_date": Value::Null, "migration": false, "recovery_seal": false,
    });
    Ok(Answer::plain(StatusCode::OK, value))
}

async fn is_serving(of: &mut Of<'_>) -> Result<bool, No> {
    of.expect(Verb::Read, "GET or HEAD")?;
    let answer: HealthCheckResponse = of.asking.ask(CHECK, &HealthCheckRequest::default()).await?;
    Ok(answer.status == ServingStatus::Serving as i32)
}
