//! The tenant that is measured: calls on fixed schedules.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use idhini_wire::authzed::api::v1;
use tokio::task::JoinSet;

use crate::Failure;
use crate::calling::{Caller, PERMISSIONS, encoded, path};
use crate::world::{self, QUIET, QUIET_DOCUMENTS, check};

const CONNECTIONS: usize = 4;
/// How long the last calls may take.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// Items of a bulk: more than a worker answers itself.
const BULK_ITEMS: usize = 300;

/// What the quiet tenant does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One question.
    Check,
    /// A lookup of a hundred results.
    Lookup,
    /// A bulk check of 300 items, which takes long.
    Bulk,
    /// One relationship.
    Write,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Check, Kind::Lookup, Kind::Bulk, Kind::Write];

    /// Calls a second, for so many checks a second.
    fn rate(self, checks: f64) -> f64 {
        match self {
            Kind::Check => checks,
            Kind::Lookup | Kind::Write => checks / 8.0,
            Kind::Bulk => checks / 16.0,
        }
    }

    fn call(self) -> Result<PathAndQuery, Failure> {
        path(
            PERMISSIONS,
            match self {
                Kind::Check => "CheckPermission",
                Kind::Lookup => "LookupResources",
                Kind::Bulk => "CheckBulkPermissions",
                Kind::Write => "WriteRelationships",
            },
        )
    }

    fn message(self, number: usize) -> Bytes {
        match self {
            Kind::Check => encoded(&check(number * 7 % QUIET_DOCUMENTS, "user:quiet")),
            Kind::Lookup => encoded(&v1::LookupResourcesRequest {
                resource_object_type: "document".to_owned(),
                permission: "view".to_owned(),
                subject: world::subject("user:finder"),
                ..Default::default()
            }),
            Kind::Bulk => {
                let items = (0..BULK_ITEMS).map(|item| {
                    let v1::CheckPermissionRequest { resource, permission, subject, .. } =
                        check((number + item * 7) % QUIET_DOCUMENTS, "user:quiet");
                    v1::CheckBulkPermissionsRequestItem { resource, permission, subject, context: None }
                });
                encoded(&v1::CheckBulkPermissionsRequest { items: items.collect(), ..Default::default() })
            }
            Kind::Write => {
                let resource = format!("document:w{}", number % QUIET_DOCUMENTS);
                encoded(&world::touched(&[world::relationship(&resource, "viewer", "user:writer")]))
            }
        }
    }

    async fn ask(self, caller: &mut Caller, call: PathAndQuery, message: Bytes) -> Result<(), Failure> {
        if self != Kind::Lookup {
            return caller.ask(call, message).await.map(drop);
        }
        let mut found = caller.stream(call, message).await?;
        while found.message().await?.is_some() {}
        Ok(())
    }
}

/// Of one window, in nanoseconds, sorted.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    sorted: Vec<u64>,
    pub(crate) errors: u64,
}

impl Latencies {
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or(0) as f64 / 1e6
    }

    pub(crate) fn with(mut self, other: Latencies) -> Latencies {
        self.sorted.extend(other.sorted);
        self.sorted.sort_unstable();
        self.errors += other.errors;
        self
    }
}

/// Measures each kind over a window, all at the same time.
pub(crate) async fn measure(
    address: &str,
    checks: f64,
    window: Duration,
) -> Result<[Latencies; Kind::ALL.len()], Failure> {
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        callers.push(Caller::connect(address, QUIET).await?);
    }
    let taken: [Arc<Mutex<Latencies>>; Kind::ALL.len()] = Default::default();
    let mut calls = JoinSet::new();
    let (due, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let start = Instant::now();
    // Threads keep the schedules, as the runtime's timers only know milliseconds.
    for (at, kind) in Kind::ALL.into_iter().enumerate() {
        let (due, rate) = (due.clone(), kind.rate(checks));
        let (count, call) = ((rate * window.as_secs_f64()) as usize, kind.call()?);
        let messages: Vec<Bytes> = (0..count.min(2_000)).map(|number| kind.message(number)).collect();
        std::thread::spawn(move || {
            for number in 0..count {
                let begins = start + Duration::from_secs_f64(number as f64 / rate);
                std::thread::sleep(begins.saturating_duration_since(Instant::now()));
                let message = messages[number % messages.len()].clone();
                if due.send((at, kind, number, call.clone(), message, begins)).is_err() {
                    return;
                }
            }
        });
    }
    drop(due);
    while let Some((at, kind, number, call, message, begins)) = begins.recv().await {
        let mut caller = callers[number % CONNECTIONS].clone();
        let taken = Arc::clone(&taken[at]);
        calls.spawn(async move {
            let answered = kind.ask(&mut caller, call, message).await;
            let took = u64::try_from(begins.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.sorted.push(took);
            taken.errors += u64::from(answered.is_err());
        });
    }
    let drained = tokio::time::timeout(DRAIN_MAX, async { while calls.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        return Err(format!("{} of the quiet tenant's calls were not answered", calls.len()).into());
    }
    Ok(taken.map(|taken| {
        let mut taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
        taken.sorted.sort_unstable();
        taken
    }))
}

/// That what is measured is what is meant: it is answered, and granted.
pub(crate) async fn expect_granted(address: &str) -> Result<(), Failure> {
    use prost::Message as _;
    let mut caller = Caller::connect(address, QUIET).await?;
    let call = path(PERMISSIONS, "CheckPermission")?;
    let answer = caller.ask(call, encoded(&check(5, "user:quiet"))).await?;
    let answer = v1::CheckPermissionResponse::decode(answer)?;
    match answer.permissionship() {
        v1::check_permission_response::Permissionship::HasPermission => Ok(()),
        other => Err(format!("the quiet tenant's check answers {other:?}").into()),
    }
}
