//! The tenant that is measured: checks on a fixed schedule.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use idhini_wire::authzed::api::v1;
use tokio::task::JoinSet;

use crate::Failure;
use crate::calling::{Caller, PERMISSIONS, encoded, path};
use crate::world::{QUIET, QUIET_DOCUMENTS, check};

const CONNECTIONS: usize = 4;
/// How long the last calls may take.
const DRAIN_MAX: Duration = Duration::from_secs(20);

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

pub(crate) async fn measure(address: &str, rate: f64, window: Duration) -> Result<Latencies, Failure> {
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        callers.push(Caller::connect(address, QUIET).await?);
    }
    let questions: Vec<_> = (0..QUIET_DOCUMENTS).map(|n| encoded(&check(n, "user:quiet"))).collect();
    let call = path(PERMISSIONS, "CheckPermission")?;
    let taken: Arc<Mutex<Latencies>> = Arc::default();
    let mut calls = JoinSet::new();
    let count = (rate * window.as_secs_f64()) as usize;
    let start = Instant::now();
    // A thread keeps the schedule, as the runtime's timers only know milliseconds.
    let (due, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let keeping = std::thread::spawn(move || {
        for number in 0..count {
            let begins = start + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(begins.saturating_duration_since(Instant::now()));
            if due.send((number, begins)).is_err() {
                return;
            }
        }
    });
    while let Some((number, begins)) = begins.recv().await {
        let mut caller = callers[number % CONNECTIONS].clone();
        let (question, call) = (questions[number * 7 % questions.len()].clone(), call.clone());
        let taken = Arc::clone(&taken);
        calls.spawn(async move {
            let answered = caller.ask(call, question).await;
            let took = u64::try_from(begins.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.sorted.push(took);
            taken.errors += u64::from(answered.is_err());
        });
    }
    let _ = keeping.join();
    let drained = tokio::time::timeout(DRAIN_MAX, async { while calls.join_next().await.is_some() {} }).await;
    let mut taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    taken.errors += if drained.is_err() { calls.len() as u64 } else { 0 };
    taken.sorted.sort_unstable();
    Ok(taken)
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
