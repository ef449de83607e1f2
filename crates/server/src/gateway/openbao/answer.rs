//! What does an answer look like, and a refusal?

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use idhini_wire::google::rpc;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::body::Body;
use tonic::{Code, Status};

use super::super::{http_status, respond};

/// What is answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    data: Option<Value>,
    auth: Option<Value>,
    warnings: Vec<String>,
    /// Instead of all that, with a status of its own.
    plain: Option<(StatusCode, Value)>,
}

/// What is refused.
#[derive(Debug)]
pub(super) enum No {
    /// By whoever answers the call.
    Refused(Status),
    /// Before a call was made of it.
    Http(StatusCode, String),
    /// There is nothing to be listed: clients know that by a status of its own.
    Nothing,
}

impl Answer {
    /// It is done, and there is nothing to say.
    pub(super) fn done() -> Answer {
        Answer::default()
    }

    pub(super) fn data(data: Value) -> Answer {
        Answer { data: Some(data), ..Answer::default() }
    }

    pub(super) fn auth(auth: Value) -> Answer {
        Answer { auth: Some(auth), ..Answer::default() }
    }

    /// Without anything around it.
    pub(super) fn plain(status: StatusCode, value: Value) -> Answer {
        Answer { plain: Some((status, value)), ..Answer::default() }
    }

    pub(super) fn warning(mut self, text: impl Into<String>) -> Answer {
        self.warnings.push(text.into());
        self
    }

    pub(super) fn response(self, request_id: &str) -> Response<Body> {
        let Answer { data, auth, warnings, plain } = self;
        if let Some((status, value)) = plain {
            return written(status, &value);
        }
        if data.is_none() && auth.is_none() {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        let value = json!({
            "request_id": request_id,
            "lease_id": "",
            "renewable": false,
            "lease_duration": 0,
            "data": data,
            "wrap_info": null,
            "warnings": if warnings.is_empty() { Value::Null } else { Value::from(warnings) },
            "auth": auth,
        });
        written(StatusCode::OK, &value)
    }
}

impl No {
    pub(super) fn malformed(text: impl Into<String>) -> No {
        No::Http(StatusCode::BAD_REQUEST, text.into())
    }

    pub(super) fn no_path(above: &str, names: &[String]) -> No {
        let path = names.join("/");
        let text =
            format!("nothing is at `/v1/{above}/{}`; docs/http.md has what there is", path.escape_default());
        No::Http(StatusCode::NOT_FOUND, text)
    }

    pub(super) fn response(self, request_id: &str) -> Response<Body> {
        let status = match self {
            No::Refused(status) => status,
            No::Http(status, text) => {
                return written(status, &json!({ "errors": [text], "request_id": request_id }));
            }
            No::Nothing => {
                return written(StatusCode::NOT_FOUND, &json!({ "errors": [], "request_id": request_id }));
            }
        };
        let mut value = json!({ "errors": [status.message()], "request_id": request_id });
        if let Some(info) = info(&status) {
            value["reason"] = info.reason.into();
            value["domain"] = info.domain.into();
            value["metadata"] =
                info.metadata.into_iter().map(|(key, text)| (key, Value::from(text))).collect();
        }
        // Clients of OpenBao know no other status of whoever brings no token.
        let code = match status.code() {
            Code::Unauthenticated => StatusCode::FORBIDDEN,
            _ => http_status(&status),
        };
        super::super::later(written(code, &value), &status)
    }
}

impl From<Status> for No {
    fn from(status: Status) -> No {
        No::Refused(status)
    }
}

/// The reason of a refusal, and its metadata.
pub(in super::super) fn info(status: &Status) -> Option<rpc::ErrorInfo> {
    let told = rpc::Status::decode(status.details()).ok()?;
    let of_kind = |any: &&prost_types::Any| any.type_url.ends_with("/google.rpc.ErrorInfo");
    let info = told.details.iter().find(of_kind)?;
    rpc::ErrorInfo::decode(info.value.as_slice()).ok()
}

fn written(status: StatusCode, value: &Value) -> Response<Body> {
    respond(status, Body::new(Full::new(Bytes::from(value.to_string()))))
}
