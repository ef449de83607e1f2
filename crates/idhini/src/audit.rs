//! The audit trail: of a server that runs, and for people who look at one.
//!
//! # Invariants
//! * A server whose trail cannot take records does not start.
//! * Its start is on record with what is set; of keys and of the root token there are keyed hashes.
//! * What was done to the data directory while no server held it, and noted, is on record before anything is answered.

mod inspect;
mod untold;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use idhini_audit::{Actor, Detail, Event, Intent, Keys, Outcome, SecretHash, Seeds, Surroundings, Trail};
use idhini_changelog::disk::Disk;
use idhini_model::Revision;
use idhini_replica::RootToken;
use tokio::sync::oneshot;

pub(crate) use self::inspect::run;
pub(crate) use self::untold::note_reset;
use crate::clock::now;
use crate::configuration::Configuration;
use crate::entropy::random;
use crate::failure::Failure;

/// The key's file in a data directory.
const KEY_FILE: &str = "audit-key";
/// What a start and a stop have instead of a request id.
const NO_REQUEST: &str = "";

/// Where a data directory has its key.
fn key_file(data_dir: &Path) -> PathBuf {
    data_dir.join(KEY_FILE)
}

/// A server's trail, from its start to its stop.
pub(crate) struct Running {
    trail: Trail,
    /// That of the start.
    start: Intent,
    /// What the data directory had then.
    root_token: Option<RootToken>,
}

impl Running {
    /// Opens the trail that is set, and puts the start on record; `None` if none is set.
    pub(crate) async fn begin(
        configuration: &Configuration,
        disk: Option<&dyn Disk>,
    ) -> Result<Option<Running>, Failure> {
        let settings = &configuration.settings;
        let Some(options) = settings.auditing.options() else { return Ok(None) };
        let keys = Keys::read_or_make(&key_file(&settings.data_dir), || {
            Ok::<_, Failure>(Seeds { signing: random()?, hashing: random()? })
        })?;
        let report: idhini_audit::Report = Arc::new(|text| tracing::warn!("{text}"));
        let surroundings = Surroundings { keys: Arc::new(keys), clock: Arc::new(now), report };
        let trail = opened(options, surroundings).await?;
        let mut event = own("Start");
        let text = |text: String| Detail::Text(text.into());
        event.details.push(("version".into(), text(env!("CARGO_PKG_VERSION").to_owned())));
        let said = configuration.said().into_iter().map(Into::into).collect();
        event.details.push(("settings".into(), Detail::Texts(said)));
        for key in &settings.preshared_keys.0 {
            let hash = trail.secret_hash(key.as_bytes());
            event.details.push(("preshared_key".into(), Detail::Secret(hash)));
        }
        let root_token = root_token_on(disk);
        // Where there are preshared keys, they alone count.
        if let (Some(token), []) = (root_token, settings.preshared_keys.0.as_slice()) {
            event.details.push(("root_token".into(), Detail::Secret(root_token_hash(&trail, token))));
        }
        let start = trail.intent(event).await?;
        untold::tell(&trail, &settings.data_dir, root_token).await?;
        Ok(Some(Running { trail, start, root_token }))
    }

    /// It is known who is let in: a root token that was made for want of one is told.
    pub(crate) fn keyed(&self, disk: Option<&dyn Disk>) {
        let Some(made) = root_token_on(disk).filter(|token| self.root_token != Some(*token)) else { return };
        let hash = Detail::Secret(root_token_hash(&self.trail, made));
        told(&self.trail, "MakeRootToken", vec![("root_token", hash)]);
    }

    /// What calls are told to.
    pub(crate) fn trail(&self) -> Trail {
        self.trail.clone()
    }

    /// The server is about to answer, and its data is at this revision.
    pub(crate) async fn started(self, revision: Revision) -> Trail {
        let Running { trail, start, .. } = self;
        start.settle(Outcome::done(Some(revision))).await;
        trail
    }
}

/// Waits until the sinks are open. On a thread of its own: those of the trail are made by it and take after it, and a thread
/// of the runtime may have been told to give way to those that answer calls, which wait for the trail.
async fn opened(options: idhini_audit::Options, surroundings: Surroundings) -> Result<Trail, Failure> {
    let failed = |source| Failure::System { what: "a thread", source };
    let (tell, told) = oneshot::channel();
    let open = move || drop(tell.send(Trail::open(&options, surroundings)));
    std::thread::Builder::new().name("audit-open".to_owned()).spawn(open).map_err(failed)?;
    let opened = told.await.map_err(|error| failed(std::io::Error::other(error)))?;
    Ok(opened?)
}

/// The root token that a data directory has. One that cannot be read is told by whoever lets in by it.
fn root_token_on(disk: Option<&dyn Disk>) -> Option<RootToken> {
    RootToken::read(disk?).ok().flatten()
}

/// What a root token is called in records: the directory has its hash only, of which this is the keyed one.
fn root_token_hash(trail: &Trail, token: RootToken) -> SecretHash {
    trail.secret_hash(&token.hash)
}

/// The server did something of itself.
pub(crate) fn told(trail: &Trail, call: &'static str, details: Vec<(&'static str, Detail)>) {
    let details = details.into_iter().map(|(name, detail)| (name.into(), detail)).collect();
    trail.decision(Event { details, ..own(call) }, Outcome::done(None));
}

/// The server has stopped.
pub(crate) async fn stopped(trail: Trail) {
    trail.decision(own("Stop"), Outcome::done(None));
    // It waits until what is told is written.
    let closed = tokio::task::spawn_blocking(move || trail.close()).await;
    if !closed.unwrap_or(false) {
        tracing::warn!("an audit sink hangs, and was left without the last records");
    }
}

/// An event of the server itself.
fn own(call: &'static str) -> Event {
    let actor = Actor { accessor: Some("server".into()), ..Actor::default() };
    Event::new(now(), NO_REQUEST.into(), Arc::new(actor), call)
}
