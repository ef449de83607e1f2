//! Namespaces and their locks, at `/v1/sys/namespaces/…`.

use std::sync::{Arc, PoisonError};

use http::StatusCode;
use idhini_model::Timestamp;
use idhini_wire::idhini::v1;
use idhini_wire::timestamp_message;
use prost::Message as _;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::super::ask::{Read, taken};
use super::answer::{Answer, No};
use super::body::{Fields, Metadata};
use super::{Of, Verb, text_of};

const CREATE: &str = "/idhini.v1.NamespaceService/CreateNamespace";
const READ: &str = "/idhini.v1.NamespaceService/ReadNamespace";
const PATCH: &str = "/idhini.v1.NamespaceService/PatchNamespace";
const DELETE: &str = "/idhini.v1.NamespaceService/DeleteNamespace";
const LIST: &str = "/idhini.v1.NamespaceService/ListNamespaces";
const LOCK: &str = "/idhini.v1.NamespaceService/LockNamespace";
const UNLOCK: &str = "/idhini.v1.NamespaceService/UnlockNamespace";
const READ_LOCK: &str = "/idhini.v1.NamespaceService/ReadLock";

/// Namespaces of one answer, and about how many bytes they may be; of more, a page at a time is asked for.
const LISTED_MAX: usize = 100_000;
const LISTED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// About what is around a namespace's own texts in an answer, in bytes.
const AROUND_BYTES: usize = 256;
/// What a change of a part is called.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What is asked of a namespace, or of those in it.
pub(super) async fn answer(of: &mut Of<'_>, path: String) -> Result<Answer, No> {
    match of.verb {
        Verb::List => list(of, path, false).await,
        Verb::Scan => list(of, path, true).await,
        // What is at the path itself is asked for by its name.
        _ if path.is_empty() => Err(No::Http(
            StatusCode::METHOD_NOT_ALLOWED,
            "this is called with LIST, or GET and ?list=true".into(),
        )),
        Verb::Read => {
            let answer: v1::ReadNamespaceResponse =
                of.asking.ask(READ, &v1::ReadNamespaceRequest { path }).await?;
            told(answer.namespace)
        }
        Verb::Write => write(of, path).await,
        Verb::Patch => patch(of, path).await,
        Verb::Delete => {
            let _: v1::DeleteNamespaceResponse =
                of.asking.ask(DELETE, &v1::DeleteNamespaceRequest { path }).await?;
            Ok(Answer::done())
        }
    }
}

/// Makes one; of one that is there, the metadata are replaced, as OpenBao does.
async fn write(of: &mut Of<'_>, path: String) -> Result<Answer, No> {
    let (read, body) = (Read::<Option<Metadata>>::default(), of.body());
    let (kept, at) = (Arc::clone(&read), path.clone());
    let create = move |fields| {
        let mut fields = Fields::new(fields);
        let metadata = fields.metadata("custom_metadata")?;
        fields.expect_no_more()?;
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(metadata.clone());
        let set = metadata.unwrap_or_default().into_iter().filter_map(|(key, value)| Some((key, value?)));
        Ok(v1::CreateNamespaceRequest { path: at, custom_metadata: set.collect() })
    };
    let created: Result<v1::CreateNamespaceResponse, Status> = of.asking.ask_of(CREATE, body, create).await;
    match created {
        Ok(created) => told(created.namespace),
        Err(status) if status.code() == Code::AlreadyExists => {
            replace(of, path, taken(&read).flatten()).await
        }
        Err(status) => Err(status.into()),
    }
}

async fn replace(of: &mut Of<'_>, path: String, metadata: Option<Metadata>) -> Result<Answer, No> {
    let request = v1::ReadNamespaceRequest { path: path.clone() };
    let there: v1::ReadNamespaceResponse = of.asking.ask(READ, &request).await?;
    let Some(metadata) = metadata else { return told(there.namespace) };
    let set_metadata: std::collections::HashMap<String, String> =
        metadata.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let had = there.namespace.unwrap_or_default().custom_metadata.into_keys();
    let drop_metadata = had.filter(|key| !set_metadata.contains_key(key)).collect();
    let request = v1::PatchNamespaceRequest { path, set_metadata, drop_metadata };
    let patched: v1::PatchNamespaceResponse = of.asking.ask(PATCH, &request).await?;
    told(patched.namespace)
}

async fn patch(of: &mut Of<'_>, path: String) -> Result<Answer, No> {
    let kind = of.kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(MERGE_PATCH) {
        let text = format!("a change of a part is sent as `{MERGE_PATCH}`");
        return Err(No::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let body = of.body();
    let patch = move |fields| {
        let mut fields = Fields::new(fields);
        let metadata = fields.metadata("custom_metadata")?.unwrap_or_default();
        fields.expect_no_more()?;
        let mut request = v1::PatchNamespaceRequest { path, ..v1::PatchNamespaceRequest::default() };
        for (key, value) in metadata {
            match value {
                Some(value) => drop(request.set_metadata.insert(key, value)),
                None => request.drop_metadata.push(key),
            }
        }
        Ok(request)
    };
    let patched: v1::PatchNamespaceResponse = of.asking.ask_of(PATCH, body, patch).await?;
    told(patched.namespace)
}

async fn list(of: &mut Of<'_>, path: String, recursive: bool) -> Result<Answer, No> {
    // Keys are relative to what is listed, whose full path its caller need not know.
    let request = v1::ReadNamespaceRequest { path: path.clone() };
    let listed: v1::ReadNamespaceResponse = of.asking.ask(READ, &request).await?;
    let base = match listed.namespace.unwrap_or_default().path {
        root if root == ROOT => String::new(),
        base => format!("{base}/"),
    };
    let asked = of.query.limit.unwrap_or(LISTED_MAX);
    let wanted = asked.min(LISTED_MAX);
    let after = of.query.after.trim_end_matches('/');
    let mut after_path = if after.is_empty() { String::new() } else { format!("{base}{after}") };
    let (mut keys, mut key_info, mut bytes) = (Vec::new(), Map::new(), 0);
    let is_more = loop {
        let request = v1::ListNamespacesRequest { path: path.clone(), recursive, page_size: 0, after_path };
        let page: v1::ListNamespacesResponse = of.asking.ask(LIST, &request).await?;
        let count = page.namespaces.len();
        let before = keys.len();
        for namespace in page.namespaces.into_iter().take(wanted - before.min(wanted)) {
            if bytes >= LISTED_BYTES_MAX {
                break;
            }
            bytes += AROUND_BYTES + namespace.encoded_len();
            let key = format!("{}/", namespace.path.strip_prefix(&base).unwrap_or(&namespace.path));
            key_info.insert(key.clone(), shown(namespace));
            keys.push(Value::from(key));
        }
        after_path = page.next_path;
        if keys.len() - before < count {
            break true;
        }
        if after_path.is_empty() || keys.len() >= wanted {
            break !after_path.is_empty();
        }
    };
    if keys.is_empty() {
        return Err(No::Nothing);
    }
    let is_short = is_more && (of.query.limit.is_none() || keys.len() < asked);
    let answer = Answer::data(json!({ "keys": keys, "key_info": key_info }));
    Ok(match is_short {
        true => answer.warning(
            "there are more than are answered at once: go on with ?after=KEY behind the last of these",
        ),
        false => answer,
    })
}

pub(super) async fn lock(of: &mut Of<'_>, path: String) -> Result<Answer, No> {
    of.expect(Verb::Write, "POST")?;
    let (body, now) = (of.body(), of.now);
    let lock = move |fields| {
        let mut fields = Fields::new(fields);
        let mode = match fields.text("mode")?.as_str() {
            "" | "all" => v1::LockMode::All,
            "writes" => v1::LockMode::Writes,
            _ => return Err(Status::invalid_argument("`mode` is \"all\" or \"writes\"")),
        };
        let (reason, lasting) = (fields.text("reason")?, fields.span("ttl")?);
        fields.expect_no_more()?;
        let until = lasting.map(|seconds| {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            timestamp_message(Timestamp::from_seconds(now.seconds().saturating_add(seconds)))
        });
        Ok(v1::LockNamespaceRequest { path, mode: mode as i32, reason, optional_expires_at: until })
    };
    let locked: v1::LockNamespaceResponse = of.asking.ask_of(LOCK, body, lock).await?;
    Ok(Answer::data(json!({ "unlock_key": locked.unlock_key })))
}

pub(super) async fn unlock(of: &mut Of<'_>, path: String) -> Result<Answer, No> {
    of.expect(Verb::Write, "POST")?;
    let body = of.body();
    let unlock = move |fields| {
        let mut fields = Fields::new(fields);
        let unlock_key = fields.text("unlock_key")?;
        fields.expect_no_more()?;
        Ok(v1::UnlockNamespaceRequest { path, unlock_key })
    };
    let _: v1::UnlockNamespaceResponse = of.asking.ask_of(UNLOCK, body, unlock).await?;
    Ok(Answer::done())
}

pub(super) async fn status(of: &mut Of<'_>, path: String) -> Result<Answer, No> {
    of.expect(Verb::Read, "GET")?;
    let found: v1::ReadLockResponse = of.asking.ask(READ_LOCK, &v1::ReadLockRequest { path }).await?;
    let is_locked = found.effective.is_some();
    let (own, effective) = (found.own.map(lock_shown), found.effective.map(lock_shown));
    Ok(Answer::data(json!({ "locked": is_locked, "own": own, "effective": effective })))
}

/// How the namespace above all others is called in what is answered.
const ROOT: &str = "root";

fn told(namespace: Option<v1::Namespace>) -> Result<Answer, No> {
    let namespace = namespace.ok_or_else(|| Status::internal("the answer has no namespace"))?;
    Ok(Answer::data(shown(namespace)))
}

fn shown(namespace: v1::Namespace) -> Value {
    let v1::Namespace { path, id, custom_metadata, created_at, created_by, locked, deleting } = namespace;
    json!({
        "path": if path == ROOT { String::new() } else { format!("{path}/") },
        "id": id,
        "uuid": id,
        "custom_metadata": custom_metadata,
        "locked": locked,
        "tainted": deleting,
        "created_time": text_of(created_at),
        "created_by": created_by,
    })
}

fn lock_shown(lock: v1::Lock) -> Value {
    let mode = match lock.mode() {
        v1::LockMode::Writes => "writes",
        v1::LockMode::All | v1::LockMode::Unspecified => "all",
    };
    let v1::Lock { path, reason, locked_by, locked_at, expires_at, .. } = lock;
    json!({
        "path": format!("{path}/"),
        "mode": mode,
        "reason": reason,
        "locked_by": locked_by,
        "locked_time": text_of(locked_at),
        "expire_time": text_of(expires_at),
    })
}
