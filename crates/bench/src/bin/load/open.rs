//! Calls that begin when the schedule says, however slowly those before them are answered.
//!
//! A thread of its own keeps the schedule, as the runtime's timers only know milliseconds. A latency counts from the
//! moment that a call should have begun: what the client itself is late is in it, and is told besides as `late_p99_us`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use http::uri::PathAndQuery;
use idhini_wire::authzed::api::v1::CheckPermissionResponse;
use prost::Message as _;
use serde_json::json;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use crate::folder::{self, Consistency, Encoded};
use crate::machine::Used;
use crate::outcome::{Counted, Latencies, Wrong, rounded};
use crate::raw::Raw;
use crate::{Failure, Target};

const CHECK: &str = "/authzed.api.v1.PermissionsService/CheckPermission";
const WRITE: &str = "/authzed.api.v1.PermissionsService/WriteRelationships";
/// Calls under way; what would begin beyond that is an error.
const UNDER_WAY_MAX: usize = 50_000;
/// Between two looks at the schedule: what is due meanwhile begins together. Looking at every call would take from the server
/// a good part of a processor for waking up.
const TICK: Duration = Duration::from_micros(200);
/// How long the last calls may take.
const DRAIN_MAX: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Options {
    /// Calls a second.
    #[arg(long)]
    rate: f64,
    /// Which checks.
    #[arg(long, default_value = "e_zipfmix")]
    set: String,
    /// Single writes of this file instead of checks.
    #[arg(long)]
    writes: Option<String>,
    /// Consistency of the checks.
    #[arg(long, value_enum, default_value = "min")]
    cons: Consistency,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    conns: usize,
}

/// What all calls share.
struct Calls {
    path: PathAndQuery,
    requests: Vec<Encoded>,
    authorization: Option<MetadataValue<Ascii>>,
    schedule: Schedule,
    windows: Mutex<Windows>,
    under_way: AtomicUsize,
}

struct Schedule {
    start: Instant,
    rate: f64,
    /// Calls before the first window, and in each.
    warming: usize,
    window: usize,
}

#[derive(Default)]
struct Windows {
    latencies: Vec<Latencies>,
    late: Vec<Latencies>,
    /// Good answers that came in each window, whenever their calls began.
    answered: Vec<u64>,
    wrong: Wrong,
}

impl Schedule {
    fn begins(&self, call: usize) -> Instant {
        self.start + Duration::from_secs_f64(call as f64 / self.rate)
    }

    fn window_of(&self, call: usize) -> Option<usize> {
        Some(call.checked_sub(self.warming)? / self.window)
    }

    /// How many calls should have begun by now.
    fn due(&self) -> usize {
        (self.start.elapsed().as_secs_f64() * self.rate) as usize + 1
    }

    /// Says how many calls begin, each time that some do.
    fn keep(&self, begin: &mpsc::UnboundedSender<usize>, is_over: &AtomicBool) {
        let mut begun = 0;
        while !is_over.load(Ordering::Relaxed) {
            let due = self.due();
            if due > begun {
                if begin.send(due - begun).is_err() {
                    return;
                }
                begun = due;
            }
            std::thread::sleep(self.begins(begun).saturating_duration_since(Instant::now()).max(TICK));
        }
    }
}

pub(crate) async fn run(target: &Target, options: &Options) -> Result<serde_json::Value, Failure> {
    let (path, requests) = match &options.writes {
        Some(file) => (WRITE, folder::encoded_writes(target, file)?),
        None => (CHECK, folder::encoded_checks(target, &options.set, options.cons)?),
    };
    let mut channels = Vec::new();
    for _ in 0..options.conns.max(1) {
        channels.push(target.connect().await?);
    }
    let calls = Arc::new(Calls {
        path: PathAndQuery::from_static(path),
        requests,
        authorization: target.token.as_ref().map(|token| format!("Bearer {token}").parse()).transpose()?,
        schedule: Schedule {
            start: Instant::now(),
            rate: options.rate,
            warming: (target.warm * options.rate) as usize,
            window: ((target.secs * options.rate) as usize).max(1),
        },
        windows: Mutex::default(),
        under_way: AtomicUsize::new(0),
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let (begin, mut beginning) = mpsc::unbounded_channel();
    let (keeper, ends) = (Arc::clone(&calls), Arc::clone(&is_over));
    let keeping = std::thread::spawn(move || keeper.schedule.keep(&begin, &ends));
    let caller = Arc::clone(&calls);
    tokio::spawn(async move {
        let mut call = 0;
        while let Some(count) = beginning.recv().await {
            for call in call..call + count {
                Arc::clone(&caller).begin(call, channels[call % channels.len()].clone());
            }
            call += count;
        }
    });
    let counted = measure(target, &calls.schedule).await?;
    is_over.store(true, Ordering::Relaxed);
    keeping.join().map_err(|_| "the thread that keeps the schedule failed")?;
    calls.line(options, &counted).await
}

async fn measure(target: &Target, schedule: &Schedule) -> Result<Counted, Failure> {
    let mut best = None;
    for window in 0..target.tries.max(1) {
        let begins = schedule.begins(schedule.warming + window * schedule.window);
        tokio::time::sleep_until(begins.into()).await;
        let (start, used) = (Instant::now(), Used::now(target.pid)?);
        tokio::time::sleep(target.window()).await;
        let used = Used::now(target.pid)?.since(used);
        let counted = Counted { window, seconds: start.elapsed().as_secs_f64(), used };
        let is_quiet = counted.other_cores() <= target.other_max;
        best = Some(Counted::or_better(best, counted));
        if is_quiet {
            break;
        }
    }
    best.ok_or_else(|| "no window was measured".into())
}

impl Calls {
    fn begin(self: Arc<Calls>, call: usize, channel: Channel) {
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= UNDER_WAY_MAX {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.with_windows(|windows| windows.wrong.fails("too many calls are under way"));
            return;
        }
        let begins = self.schedule.begins(call);
        let late = begins.elapsed();
        tokio::spawn(async move {
            let encoded = &self.requests[call % self.requests.len()];
            let answer = self.answer(encoded, channel).await;
            let latency = begins.elapsed();
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            let (begun, ended) =
                (self.schedule.window_of(call), self.schedule.window_of(self.schedule.due() - 1));
            self.with_windows(|windows| {
                match answer {
                    Ok(is_right) => {
                        windows.wrong.mismatch += u64::from(!is_right);
                        if let Some(window) = ended {
                            *of_window(&mut windows.answered, window) += 1;
                        }
                    }
                    Err(status) => windows.wrong.fails(status),
                }
                if let Some(window) = begun {
                    of_window(&mut windows.latencies, window).0.push(nanos(latency));
                    of_window(&mut windows.late, window).0.push(nanos(late));
                }
            });
        });
    }

    async fn answer(&self, encoded: &Encoded, channel: Channel) -> Result<bool, Status> {
        let mut client = Grpc::new(channel);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = tonic::Request::new(encoded.request.clone());
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        let answer = client.unary(request, self.path.clone(), Raw).await?.into_inner();
        Ok(encoded.permissionship.is_none_or(|wanted| {
            CheckPermissionResponse::decode(answer).is_ok_and(|answer| answer.permissionship == wanted)
        }))
    }

    fn with_windows(&self, change: impl FnOnce(&mut Windows)) {
        change(&mut self.windows.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for what is under way, which counts however late it comes.
    async fn line(&self, options: &Options, counted: &Counted) -> Result<serde_json::Value, Failure> {
        let draining = Instant::now();
        while self.under_way.load(Ordering::Relaxed) > 0 && draining.elapsed() < DRAIN_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut windows = std::mem::take(&mut *self.windows.lock().unwrap_or_else(PoisonError::into_inner));
        for _ in 0..self.under_way.load(Ordering::Relaxed) {
            windows.wrong.fails("not answered at the end");
        }
        let missing = || format!("no call of window {} was answered", counted.window + 1);
        let latencies = windows.latencies.get_mut(counted.window).map(std::mem::take).ok_or_else(missing)?;
        let mut late = windows.late.get_mut(counted.window).map(std::mem::take).unwrap_or_default();
        late.sort();
        let answered = windows.answered.get(counted.window).copied().unwrap_or(0);
        let seconds = self.schedule.window as f64 / self.schedule.rate;
        let mut line = counted.line(latencies);
        line.insert("answered_per_s".to_owned(), json!(rounded(answered as f64 / seconds, 0)));
        line.insert("cmd".to_owned(), json!("open"));
        line.insert("set".to_owned(), json!(options.writes.as_ref().unwrap_or(&options.set)));
        line.insert("rate".to_owned(), json!(options.rate));
        line.insert("late_p99_us".to_owned(), json!(late.quantile_us(0.99)));
        windows.wrong.into_fields(&mut line);
        Ok(line.into())
    }
}

fn of_window<T: Default>(windows: &mut Vec<T>, window: usize) -> &mut T {
    if windows.len() <= window {
        windows.resize_with(window + 1, T::default);
    }
    &mut windows[window]
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
