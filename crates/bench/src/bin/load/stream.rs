//! Checks on CheckStream: as many under way on each stream as the window allows, the next one when one is answered.

use std::time::Instant;

use bytes::Bytes;
use clap::Args;
use http::uri::PathAndQuery;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::check_stream_request::Request as Asking;
use idhini_wire::idhini::v1::check_stream_response::Response as Answering;
use prost::Message as _;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;

use crate::folder::{self, Consistency};
use crate::machine::Used;
use crate::outcome::{Counted, Latencies, Wrong};
use crate::raw::Raw;
use crate::{Failure, Target};

const PATH: &str = "/idhini.v1.PermissionsService/CheckStream";

#[derive(Args)]
pub(crate) struct Options {
    /// Checks under way on a stream.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Streams, each on a connection of its own.
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Which checks.
    #[arg(long, default_value = "e_zipfmix")]
    set: String,
    /// Consistency of the checks.
    #[arg(long, value_enum, default_value = "min")]
    cons: Consistency,
}

/// A check with its line as its request id, and its right answer.
struct Encoded {
    request: Bytes,
    permissionship: i32,
}

/// What all streams share.
struct Shared {
    checks: Vec<Encoded>,
    settings: Bytes,
    next: AtomicUsize,
    window: usize,
    /// The window that is measured; none before the first and between two.
    measured: watch::Receiver<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unmeasured,
    Window(usize),
    Over,
}

/// What one stream saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Latencies>,
    wrong: Wrong,
}

pub(crate) async fn run(target: &Target, options: &Options) -> Result<serde_json::Value, Failure> {
    let (phase, measured) = watch::channel(Phase::Unmeasured);
    let shared = Arc::new(Shared {
        checks: encoded(target, &options.set)?,
        settings: settings(options.cons),
        next: AtomicUsize::new(0),
        window: options.window.max(1),
        measured,
    });
    if shared.checks.len() <= shared.window * options.streams {
        return Err("the set has fewer checks than are to be under way".into());
    }
    let mut streams = Vec::new();
    for _ in 0..options.streams.max(1) {
        let channel = target.connect().await?;
        streams.push(tokio::spawn(stream(Arc::clone(&shared), channel, target.token.clone())));
    }
    tokio::time::sleep(target.warming()).await;
    let mut best = None;
    for window in 0..target.tries.max(1) {
        let (start, used) = (Instant::now(), Used::now(target.pid)?);
        phase.send_replace(Phase::Window(window));
        tokio::time::sleep(target.window()).await;
        phase.send_replace(Phase::Unmeasured);
        let used = Used::now(target.pid)?.since(used);
        let counted = Counted { window, seconds: start.elapsed().as_secs_f64(), used };
        let is_quiet = counted.other_cores() <= target.other_max;
        best = Some(Counted::or_better(best, counted));
        if is_quiet {
            break;
        }
    }
    phase.send_replace(Phase::Over);
    let counted = best.ok_or("no window was measured")?;
    let (mut latencies, mut wrong) = (Latencies::default(), Wrong::default());
    for stream in streams {
        let mut seen = stream.await??;
        if let Some(of_window) = seen.latencies.get_mut(counted.window) {
            latencies.0.append(&mut of_window.0);
        }
        wrong.mismatch += seen.wrong.mismatch;
        wrong.errors += seen.wrong.errors;
        wrong.first_error = wrong.first_error.or(seen.wrong.first_error);
    }
    let mut line = counted.line(latencies);
    line.insert("cmd".to_owned(), json!("stream"));
    line.insert("set".to_owned(), json!(options.set));
    line.insert("conc".to_owned(), json!(options.window));
    line.insert("conns".to_owned(), json!(options.streams));
    wrong.into_fields(&mut line);
    Ok(line.into())
}

fn settings(consistency: Consistency) -> Bytes {
    let settings = v1::CheckStreamSettings { consistency: consistency.message(), ..Default::default() };
    v1::CheckStreamRequest { request: Some(Asking::Settings(settings)) }.encode_to_vec().into()
}

fn encoded(target: &Target, set: &str) -> Result<Vec<Encoded>, Failure> {
    let encode = |(line, check): (usize, folder::Check)| {
        let item = v1::CheckStreamItem {
            request_id: line as u64,
            resource: Some(check.resource),
            permission: check.permission,
            subject: Some(check.subject),
            ..Default::default()
        };
        let request = v1::CheckStreamRequest { request: Some(Asking::Check(item)) };
        Encoded { request: request.encode_to_vec().into(), permissionship: check.permissionship }
    };
    Ok(folder::checks(target, set)?.into_iter().enumerate().map(encode).collect())
}

async fn stream(shared: Arc<Shared>, channel: Channel, token: Option<String>) -> Result<Seen, Failure> {
    let (asking, asked) = mpsc::channel(shared.window + 1);
    asking.send(shared.settings.clone()).await?;
    // By line; no line is under way twice, as there are more lines than checks under way.
    let mut begun = vec![None; shared.checks.len()];
    for _ in 0..shared.window {
        ask(&shared, &asking, &mut begun).await?;
    }
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let mut request = tonic::Request::new(ReceiverStream::new(asked));
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let mut answers = client.streaming(request, PathAndQuery::from_static(PATH), Raw).await?.into_inner();
    let mut seen = Seen::default();
    let mut left = shared.window;
    while left > 0 {
        let Some(answer) = answers.message().await? else {
            seen.wrong.fails("the stream ended before all was answered");
            break;
        };
        let answer = v1::CheckStreamResponse::decode(answer)?;
        let line = usize::try_from(answer.request_id)?;
        let encoded = shared.checks.get(line).ok_or("an answer to what was not asked")?;
        let start: Instant = begun[line].take().ok_or("a second answer to one check")?;
        match answer.response {
            Some(Answering::Answer(answer)) => {
                seen.wrong.mismatch += u64::from(answer.permissionship != encoded.permissionship);
            }
            Some(Answering::Error(status)) => seen.wrong.fails(status.message),
            None => seen.wrong.fails("an empty answer"),
        }
        let phase = *shared.measured.borrow();
        if let Phase::Window(window) = phase {
            if seen.latencies.len() <= window {
                seen.latencies.resize_with(window + 1, Latencies::default);
            }
            seen.latencies[window].0.push(u64::try_from(start.elapsed().as_nanos())?);
        }
        match phase {
            Phase::Over => left -= 1,
            _ => ask(&shared, &asking, &mut begun).await?,
        }
    }
    Ok(seen)
}

async fn ask(
    shared: &Shared,
    asking: &mpsc::Sender<Bytes>,
    begun: &mut [Option<Instant>],
) -> Result<(), Failure> {
    let line = shared.next.fetch_add(1, Ordering::Relaxed) % shared.checks.len();
    begun[line] = Some(Instant::now());
    asking.send(shared.checks[line].request.clone()).await?;
    Ok(())
}
