//! What do clients of OpenBao and Vault call, and what do they expect to hear?
//!
//! `LIST`, `SCAN`, `GET`, `POST`, `PATCH` and `DELETE` of namespaces, their locks, the calls of tokens, and health. Each stands
//! for one or a few calls of `idhini.v1`, which answer it.
//!
//! # Invariants
//! * What a field asks for that there is not is refused, never passed over: a token that was to be good for one use is not
//!   made good for many.
//! * A refusal has its text in `errors`, and beside it the reason and metadata that gRPC clients get.
//!
//! Source: the API documentation of OpenBao; what `hvac` sends.

mod answer;
mod body;
mod health;
mod namespaces;
mod tokens;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use idhini_model::Timestamp;
use idhini_wire::timestamp;
use tonic::Status;
use tonic::body::Body;

use self::answer::{Answer, No};
use super::ask::Asking;
use crate::admission::Accepted;
use crate::pipeline::Pipeline;

/// Asks that an answer be wrapped; an answer that is not would tell a secret to whoever was to be kept from it.
const WRAP: &str = "x-vault-wrap-ttl";

/// What is asked for, whatever the method is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    List,
    Scan,
    Read,
    Write,
    Patch,
    Delete,
}

/// A request, as far as it is read.
struct Of<'a> {
    verb: Verb,
    /// Behind `sys` or `auth`.
    names: Vec<String>,
    query: Query,
    /// What kind of body it says that it has.
    kind: String,
    body: Body,
    asking: Asking<'a>,
    now: Timestamp,
}

/// What stands behind the path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    is_list: bool,
    is_scan: bool,
    after: String,
    limit: Option<usize>,
}

/// Answers a request; its headers have one token and one namespace.
pub(super) async fn answer(
    (pipeline, accepted): (&Pipeline, &Accepted),
    names: &[String],
    parts: Parts,
    body: Body,
) -> Response<Body> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, is_wrapped) = (text("content-type").to_owned(), !text(WRAP).is_empty());
    let mut of = Of {
        verb: Verb::Read,
        names: names.iter().skip(1).cloned().collect(),
        query: Query::default(),
        kind,
        body,
        asking: Asking::new(pipeline, accepted, parts.headers.clone()),
        now: pipeline.now(),
    };
    let answered = match asked(&parts, is_wrapped) {
        Ok((verb, query)) => {
            (of.verb, of.query) = (verb, query);
            match names.first().map(String::as_str) {
                Some("sys") => system(&mut of).await,
                _ => tokens::answer(&mut of).await,
            }
        }
        Err(no) => Err(no),
    };
    if of.asking.beside.is_empty() {
        // It is counted and has its request id as any call that there is not.
        let _: Result<(), Status> = of.asking.ask("/", &()).await;
    }
    let response = match answered {
        Ok(answer) => answer.response(of.asking.request_id()),
        Err(no) => no.response(of.asking.request_id()),
    };
    super::behind(response, &of.asking.beside)
}

/// The reason of a refusal, if it is one of ours.
pub(super) fn reason(status: &Status) -> Option<String> {
    answer::info(status).filter(|info| info.domain == "idhini").map(|info| info.reason)
}

fn asked(parts: &Parts, is_wrapped: bool) -> Result<(Verb, Query), No> {
    if is_wrapped {
        return Err(No::malformed("answers cannot be wrapped here; leave X-Vault-Wrap-TTL out"));
    }
    let query = Query::of(parts.uri.query().unwrap_or_default())?;
    let verb = match parts.method.as_str() {
        "LIST" => Verb::List,
        "SCAN" => Verb::Scan,
        "GET" | "HEAD" if query.is_list => Verb::List,
        "GET" | "HEAD" if query.is_scan => Verb::Scan,
        "GET" | "HEAD" => Verb::Read,
        "POST" | "PUT" => Verb::Write,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => return Err(no_method(&parts.method)),
    };
    Ok((verb, query))
}

fn no_method(method: &Method) -> No {
    let text = format!("there is no method {}", method.as_str().escape_default());
    No::Http(StatusCode::METHOD_NOT_ALLOWED, text)
}

async fn system(of: &mut Of<'_>) -> Result<Answer, No> {
    let names: Vec<&str> = of.names.iter().map(String::as_str).collect();
    match names.as_slice() {
        ["namespaces", "api-lock", "lock", path @ ..] => {
            let path = path.join("/");
            namespaces::lock(of, path).await
        }
        ["namespaces", "api-lock", "unlock", path @ ..] => {
            let path = path.join("/");
            namespaces::unlock(of, path).await
        }
        ["namespaces", "api-lock", "status", path @ ..] => {
            let path = path.join("/");
            namespaces::status(of, path).await
        }
        ["namespaces", path @ ..] => {
            let path = path.join("/");
            namespaces::answer(of, path).await
        }
        ["health"] => health::health(of).await,
        ["init"] => health::init(of).await,
        ["seal-status"] => health::seal_status(of).await,
        _ => Err(No::no_path("sys", &of.names)),
    }
}

/// A moment, as clients of OpenBao read it; null where there is none.
fn text_of(at: Option<prost_types::Timestamp>) -> Option<String> {
    Some(timestamp(at?, "").ok()?.to_string())
}

impl Of<'_> {
    /// The body, once.
    fn body(&mut self) -> Body {
        std::mem::replace(&mut self.body, Body::empty())
    }

    /// Refuses what is asked with another verb.
    fn expect(&self, verb: Verb, how: &str) -> Result<(), No> {
        match self.verb == verb {
            true => Ok(()),
            false => Err(No::Http(StatusCode::METHOD_NOT_ALLOWED, format!("this is called with {how}"))),
        }
    }
}

impl Query {
    /// Of what stands behind `?`; what is not known is for others.
    fn of(text: &str) -> Result<Query, No> {
        let mut query = Query::default();
        for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "list" => query.is_list = value == "true",
                "scan" => query.is_scan = value == "true",
                "after" => query.after = super::address::decoded(value)?,
                "limit" => {
                    let limit: i64 = value
                        .parse()
                        .map_err(|_| No::malformed("`limit` is a number; leave it out for all"))?;
                    query.limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
                }
                _ => {}
            }
        }
        Ok(query)
    }
}
