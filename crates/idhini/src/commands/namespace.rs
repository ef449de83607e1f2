//! Namespaces: made, listed, changed, locked, deleted.

use std::collections::HashMap;

use idhini_wire::idhini::v1;
use idhini_wire::timestamp_message;

use super::told::{after, moment, moment_or, named};
use super::{Asked, branch};
use crate::arguments::{
    CreateNamespace, LockMode, LockNamespace, NamespaceCommand, PatchNamespace, UnlockNamespace,
};
use crate::client::Server;
use crate::clock::now;
use crate::failure::Failure;
use crate::output;

/// A namespace is locked.
const STATUS_LOCKED: u8 = 1;
const NO_NAMESPACE: Failure = Failure::Answer { missing: "namespace" };

pub(super) async fn run(asked: Asked<'_>, command: NamespaceCommand) -> Result<u8, Failure> {
    match command {
        NamespaceCommand::Create(of) => create(asked, of).await?,
        NamespaceCommand::List { path } => list(asked, named(path)).await?,
        NamespaceCommand::Tree { path } => tree(asked, named(path)).await?,
        NamespaceCommand::Show { path } => show(asked, named(path)).await?,
        NamespaceCommand::Set(of) => set(asked, of).await?,
        NamespaceCommand::Lock(of) => lock(asked, of).await?,
        NamespaceCommand::Unlock(of) => unlock(asked, of).await?,
        NamespaceCommand::Status { path } => return status(asked, named(path)).await,
        NamespaceCommand::Delete { path } => delete(asked, path).await?,
    }
    Ok(0)
}

async fn create(
    asked: Asked<'_>,
    CreateNamespace { path, metadata }: CreateNamespace,
) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::CreateNamespaceRequest { path, custom_metadata: metadata.into_iter().collect() };
    let answer = server.namespaces().create_namespace(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line_of("created", &answer.namespace.ok_or(NO_NAMESPACE)?.path, asked.style);
    Ok(())
}

async fn list(asked: Asked<'_>, path: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let mut pages = Pages::of(path, false);
    while let Some(page) = pages.next(&server).await? {
        if asked.connection.json {
            output::message(&page)?;
            continue;
        }
        for namespace in &page.namespaces {
            let text = format!("{}{}", namespace.path, metadata(&namespace.custom_metadata));
            output::line_of(state(namespace), &text, asked.style);
        }
    }
    Ok(())
}

async fn tree(asked: Asked<'_>, path: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::ReadNamespaceRequest { path: path.clone() };
    let top = server.namespaces().read_namespace(server.request(request)).await?.into_inner();
    let mut pages = Pages::of(path, true);
    let mut below = Vec::new();
    while let Some(page) = pages.next(&server).await? {
        if asked.connection.json {
            output::message(&page)?;
            continue;
        }
        below.extend(page.namespaces);
    }
    if asked.connection.json {
        return Ok(());
    }
    let top = top.namespace.ok_or(NO_NAMESPACE)?;
    output::line_of(state(&top), &top.path, asked.style);
    let mut children: HashMap<&str, Vec<&v1::Namespace>> = HashMap::new();
    for namespace in &below {
        children.entry(parent(&namespace.path)).or_default().push(namespace);
    }
    draw(&children, &top.path, "", asked);
    Ok(())
}

/// Recursion is as deep as paths are.
fn draw(children: &HashMap<&str, Vec<&v1::Namespace>>, of: &str, indent: &str, asked: Asked<'_>) {
    let here = children.get(of).map(Vec::as_slice).unwrap_or_default();
    for (at, namespace) in here.iter().enumerate() {
        let (branch, stem) = branch(at, here.len());
        let name = namespace.path.rsplit('/').next().unwrap_or_default();
        let text = format!("{indent}{branch}{name}{}", metadata(&namespace.custom_metadata));
        output::line_of(state(namespace), &text, asked.style);
        draw(children, &namespace.path, &format!("{indent}{stem}"), asked);
    }
}

/// The path of what a namespace is directly in, as the server says it.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("root", |(parent, _)| parent)
}

async fn show(asked: Asked<'_>, path: String) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::ReadNamespaceRequest { path };
    let answer = server.namespaces().read_namespace(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    let namespace = answer.namespace.ok_or(NO_NAMESPACE)?;
    output::line_of(state(&namespace), &namespace.path, asked.style);
    output::part("id", &namespace.id, asked.style);
    let made = format!("{} by {}", moment_or(namespace.created_at, "at no known time"), namespace.created_by);
    output::part("created", &made, asked.style);
    let mut all: Vec<_> = namespace.custom_metadata.iter().collect();
    all.sort_unstable();
    for (key, value) in all {
        output::part("metadata", &format!("{key}={value}"), asked.style);
    }
    Ok(())
}

async fn set(asked: Asked<'_>, of: PatchNamespace) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::PatchNamespaceRequest {
        path: named(of.path),
        set_metadata: of.metadata.into_iter().collect(),
        drop_metadata: of.dropped,
    };
    let answer = server.namespaces().patch_namespace(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    let namespace = answer.namespace.ok_or(NO_NAMESPACE)?;
    let text = format!("{}{}", namespace.path, metadata(&namespace.custom_metadata));
    output::line_of("changed", &text, asked.style);
    Ok(())
}

/// The key alone is on standard output.
async fn lock(asked: Asked<'_>, of: LockNamespace) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let until = of.until.or_else(|| of.lasting.map(|seconds| after(now(), seconds)));
    let mode = match of.mode {
        LockMode::All => v1::LockMode::All,
        LockMode::Writes => v1::LockMode::Writes,
    };
    let request = v1::LockNamespaceRequest {
        path: of.path.clone(),
        mode: mode as i32,
        reason: of.reason,
        optional_expires_at: until.map(timestamp_message),
    };
    let answer = server.namespaces().lock_namespace(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line(&answer.unlock_key);
    let text = format!("`{}` is locked; the key that unlocks it is shown only now", of.path);
    output::notice(&text, asked.style);
    Ok(())
}

async fn unlock(asked: Asked<'_>, UnlockNamespace { path, key }: UnlockNamespace) -> Result<(), Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::UnlockNamespaceRequest { path: path.clone(), unlock_key: key };
    let answer = server.namespaces().unlock_namespace(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line_of("unlocked", &path, asked.style);
    Ok(())
}

async fn status(asked: Asked<'_>, path: String) -> Result<u8, Failure> {
    let server = Server::connect(asked.connection).await?;
    let request = v1::ReadLockRequest { path: path.clone() };
    let answer = server.namespaces().read_lock(server.request(request)).await?.into_inner();
    let status = if answer.effective.is_some() { STATUS_LOCKED } else { 0 };
    if asked.connection.json {
        return output::message(&answer).map(|()| status);
    }
    let Some(effective) = &answer.effective else {
        let which = if path.is_empty() { "the namespace that is asked about" } else { &path };
        output::line_of("open", which, asked.style);
        return Ok(status);
    };
    output::line_of("locked", &format!("by {}", told(effective)), asked.style);
    // Its own is still there when the one above is gone.
    if let Some(own) = answer.own.as_ref().filter(|own| own.path != effective.path) {
        output::line_of("locked", &format!("by {}", told(own)), asked.style);
    }
    Ok(status)
}

async fn delete(asked: Asked<'_>, path: String) -> Result<(), Failure> {
    // A large one takes its time.
    let server = Server::connect_patiently(asked.connection).await?;
    let request = v1::DeleteNamespaceRequest { path: path.clone() };
    let answer = server.namespaces().delete_namespace(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line_of("deleted", &path, asked.style);
    Ok(())
}

/// The pages of a list.
struct Pages {
    path: String,
    is_recursive: bool,
    /// Behind which the next one begins; none when all are read.
    after: Option<String>,
}

impl Pages {
    fn of(path: String, is_recursive: bool) -> Pages {
        Pages { path, is_recursive, after: Some(String::new()) }
    }

    async fn next(&mut self, server: &Server) -> Result<Option<v1::ListNamespacesResponse>, Failure> {
        let Some(after_path) = self.after.take() else { return Ok(None) };
        let (path, recursive) = (self.path.clone(), self.is_recursive);
        let request = v1::ListNamespacesRequest { path, recursive, page_size: 0, after_path };
        let page = server.namespaces().list_namespaces(server.request(request)).await?.into_inner();
        self.after = Some(page.next_path.clone()).filter(|next| !next.is_empty());
        Ok(Some(page))
    }
}

fn state(namespace: &v1::Namespace) -> &'static str {
    match namespace {
        v1::Namespace { deleting: true, .. } => "deleting",
        v1::Namespace { locked: true, .. } => "locked",
        _ => "open",
    }
}

fn metadata(all: &HashMap<String, String>) -> String {
    let mut pairs: Vec<String> = all.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    if pairs.is_empty() { String::new() } else { format!("  {}", pairs.join(" ")) }
}

/// A lock, for people.
fn told(lock: &v1::Lock) -> String {
    let against = match lock.mode() {
        v1::LockMode::Writes => "changes",
        v1::LockMode::All | v1::LockMode::Unspecified => "everything",
    };
    let v1::Lock { path, reason, locked_by, locked_at, expires_at, .. } = lock;
    let mut text =
        format!("{path}, against {against}, since {} by {locked_by}", moment_or(*locked_at, "some time"));
    if let Some(until) = moment(*expires_at) {
        text.push_str(&format!(", until {until}"));
    }
    if reason.is_empty() { text } else { format!("{text}: {reason}") }
}
