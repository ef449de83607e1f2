//! Running a server: the real clock, real randomness, a namespace in memory.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idhini_changelog::{LogId, MemoryStore, Store};
use idhini_model::{Relationship, Timestamp};
use idhini_replica::{Namespace, Wanted};
use idhini_server::{Keys, Limits, Listener, Options, SealOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::arguments::Serve;
use crate::failure::Failure;
use crate::files::{read_schema, read_text};
use crate::output::{self, Style};

/// The namespace of a server that has one.
const NAMESPACE: &str = "root";
/// Its log.
const ROOT: LogId = LogId(1);

/// Keys that are not seen among the machine's processes, with commas between them.
const KEYS_VARIABLE: &str = "IDHINI_PRESHARED_KEY";
/// How long work may go on that nobody waits for any more, after the calls under way had their time.
const ABANDONED_MAX: Duration = Duration::from_secs(1);

/// Serves until told to stop.
pub(crate) fn run(serve: &Serve, _style: Style) -> Result<(), Failure> {
    if !serve.ephemeral {
        return Err(Failure::NotDurable);
    }
    let keys = keys(serve)?;
    let options = Options { keys, limits: Limits::default(), seal: seal()? };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "threads", source })?;
    let served = runtime.block_on(async {
        let listener = Listener::bind(serve.grpc_addr).await?;
        let of_namespace = idhini_replica::Options {
            seed: u64::from_be_bytes(random()?),
            writer_id: u64::from_be_bytes(random()?),
            ..Default::default()
        };
        let log = MemoryStore::new().log(ROOT);
        let namespace = Namespace::open(log, None, Arc::new(now), of_namespace).await?;
        load(&namespace, serve).await?;
        let signals = |kind| signal(kind).map_err(|source| Failure::System { what: "signals", source });
        let stop = stopped(signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
        if !options.keys.is_empty() {
            output::line(&format!(
                "listening on {} (ephemeral: all is gone when it stops)",
                listener.address()
            ));
        }
        Ok(listener.serve(namespace, &options, stop).await?)
    });
    // Dropping it instead would wait for the longest write or expansion, however long that takes.
    runtime.shutdown_timeout(ABANDONED_MAX);
    served
}

/// The keys of the flag, or else of the environment.
fn keys(serve: &Serve) -> Result<Keys, Failure> {
    let of_environment = match serve.preshared_keys.is_empty() {
        true => std::env::var_os(KEYS_VARIABLE).unwrap_or_default(),
        false => OsString::new(),
    };
    let of_environment = of_environment.to_str().ok_or(Failure::Key)?;
    let keys = || serve.preshared_keys.iter().map(String::as_str).chain(of_environment.split(','));
    if keys().all(can_be_sent) { Ok(Keys::new(keys())) } else { Err(Failure::Key) }
}

/// Whether clients can bring a key: it travels in a header, which has printable ASCII and loses spaces at its ends.
fn can_be_sent(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b' '..=b'~')) && key.trim() == key
}

async fn stopped(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// What the server starts with.
async fn load(namespace: &Arc<Namespace>, serve: &Serve) -> Result<(), Failure> {
    let fits = |path: &Path, loaded: Result<_, _>| {
        loaded.map(|_| ()).map_err(|source| Failure::Bootstrap { path: path.to_owned(), source })
    };
    if let Some(path) = &serve.schema {
        fits(path, namespace.write_schema(read_schema(path)?, Wanted::always()).await)?;
    }
    if let Some(path) = &serve.relationships {
        let mut relationships = Vec::new();
        for (at, line) in read_text(path)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            let malformed = |source| Failure::Line { path: path.clone(), line: at + 1, source };
            relationships.push(line.parse::<Relationship>().map_err(malformed)?);
        }
        fits(path, namespace.import(relationships, Wanted::always()).await)?;
    }
    Ok(())
}

/// A store of this process's own: its tokens mean nothing to the next.
fn seal() -> Result<SealOptions, Failure> {
    Ok(SealOptions {
        key: random()?,
        key_id: u32::from_be_bytes(random()?),
        store: u64::from_be_bytes(random()?),
        timeline: 1,
        namespace: NAMESPACE.to_owned(),
    })
}

/// Real randomness.
fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::System { what: "randomness", source: std::io::Error::other(error) })?;
    Ok(bytes)
}

/// The real clock.
#[expect(clippy::disallowed_methods, reason = "main builds the real clock; everyone else is handed it")]
fn now() -> Timestamp {
    let now = SystemTime::now();
    let (seconds, nanos) = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => (-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX), 0),
    };
    Timestamp::new(seconds, i64::from(nanos)).unwrap_or_else(|_| Timestamp::from_seconds(seconds))
}
