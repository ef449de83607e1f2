//! Every line of the workload's lookups, one after the other, told message by message; and how long the first result of
//! the widest one takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::uri::PathAndQuery;
use idhini_wire::authzed::api::v1;
use prost::Message as _;
use serde_json::json;
use tonic::Streaming;
use tonic::client::Grpc;
use tonic::transport::Channel;

use crate::folder::{self, Consistency};
use crate::machine::Used;
use crate::outcome::{Latencies, Wrong, rounded};
use crate::raw::Raw;
use crate::{Failure, Target};

/// How often the widest is asked for its first result alone.
const FIRST_RESULTS: usize = 21;
/// Before each of these, so that nothing of the one that was broken off before is still on its way.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Call {
    Resources,
    Subjects,
}

#[derive(Args)]
pub(crate) struct Options {
    /// Which call.
    #[arg(long, value_enum)]
    call: Call,
    /// Lines at most.
    #[arg(long)]
    count: Option<usize>,
    /// The server gives as many results as the limit says, and so is told how many: what the line says, or this.
    #[arg(long)]
    results: Option<u32>,
    /// Consistency of the lookups.
    #[arg(long, value_enum, default_value = "min")]
    cons: Consistency,
}

struct Lookup {
    request: Bytes,
    /// How many results are right, where the line says so.
    results: Option<u64>,
}

struct Asked {
    results: u64,
    first: Option<Duration>,
    whole: Duration,
}

pub(crate) async fn run(target: &Target, options: &Options) -> Result<serde_json::Value, Failure> {
    let lookups = lookups(target, options)?;
    let channel = target.connect().await?;
    let (mut whole, mut first) = (Latencies::default(), Latencies::default());
    let (mut wrong, mut results) = (Wrong::default(), 0);
    let mut widest: Option<(u64, &Lookup)> = None;
    let (start, used) = (Instant::now(), Used::now(target.pid)?);
    for lookup in &lookups {
        match ask(target, options.call, lookup, &channel, u64::MAX).await {
            Ok(asked) => {
                results += asked.results;
                wrong.mismatch += u64::from(lookup.results.is_some_and(|wanted| wanted != asked.results));
                whole.0.push(nanos(asked.whole));
                first.0.extend(asked.first.map(nanos));
                if widest.is_none_or(|(most, _)| asked.results > most) {
                    widest = Some((asked.results, lookup));
                }
            }
            Err(error) => wrong.fails(error),
        }
    }
    let (seconds, used) = (start.elapsed().as_secs_f64(), Used::now(target.pid)?.since(used));
    let mut widest_first = Latencies::default();
    if let Some((_, lookup)) = widest {
        for _ in 0..FIRST_RESULTS {
            tokio::time::sleep(PAUSE).await;
            let asked = ask(target, options.call, lookup, &channel, 1).await?;
            widest_first.0.extend(asked.first.map(nanos));
        }
    }
    for latencies in [&mut whole, &mut first, &mut widest_first] {
        latencies.sort();
    }
    let each_us = |seconds: f64| rounded(seconds * 1e6 / results.max(1) as f64, 3);
    let mut line = serde_json::Map::new();
    line.insert("cmd".to_owned(), json!(if options.call == Call::Resources { "lr" } else { "ls" }));
    line.insert("calls".to_owned(), json!(lookups.len()));
    line.insert("secs".to_owned(), json!(rounded(seconds, 2)));
    line.insert("results".to_owned(), json!(results));
    line.insert("results_per_s".to_owned(), json!(rounded(results as f64 / seconds, 0)));
    for (name, quantile) in [("p50_us", 0.5), ("p95_us", 0.95), ("p99_us", 0.99)] {
        line.insert(name.to_owned(), json!(whole.quantile_us(quantile)));
    }
    line.insert("first_p50_us".to_owned(), json!(first.quantile_us(0.5)));
    line.insert("widest_results".to_owned(), json!(widest.map_or(0, |(most, _)| most)));
    line.insert("widest_first_us".to_owned(), json!(widest_first.quantile_us(0.5)));
    line.insert("server_cpu_us_per_result".to_owned(), json!(each_us(used.server)));
    line.insert("server_cores".to_owned(), json!(rounded(used.server / seconds, 2)));
    line.insert("client_cores".to_owned(), json!(rounded(used.client / seconds, 2)));
    line.insert("other_cores".to_owned(), json!(rounded(used.other() / seconds, 2)));
    wrong.into_fields(&mut line);
    Ok(line.into())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn lookups(target: &Target, options: &Options) -> Result<Vec<Lookup>, Failure> {
    let file = match options.call {
        Call::Resources => "lookup_resources.txt",
        Call::Subjects => "lookup_subjects.txt",
    };
    let text = folder::read(target, file)?;
    let lines = text.lines().take(options.count.unwrap_or(usize::MAX));
    lines.map(|line| lookup(options, line)).collect()
}

fn lookup(options: &Options, line: &str) -> Result<Lookup, Failure> {
    let (of, results) = match line.split_once(' ') {
        Some((of, results)) => (of, Some(results.parse::<u64>()?)),
        None => (line, None),
    };
    let told = results.map(u32::try_from).transpose()?;
    let limit = options.results.map_or(0, |results| told.unwrap_or(results));
    let consistency = options.cons.message();
    let request = match options.call {
        Call::Resources => v1::LookupResourcesRequest {
            consistency,
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: Some(folder::subject(of)?),
            optional_limit: limit,
            ..Default::default()
        }
        .encode_to_vec(),
        Call::Subjects => v1::LookupSubjectsRequest {
            consistency,
            resource: Some(folder::object(of)?),
            permission: "view".to_owned(),
            subject_object_type: "user".to_owned(),
            optional_concrete_limit: limit,
            ..Default::default()
        }
        .encode_to_vec(),
    };
    Ok(Lookup { request: request.into(), results })
}

/// Takes results up to `results_max` and leaves.
async fn ask(
    target: &Target,
    call: Call,
    lookup: &Lookup,
    channel: &Channel,
    results_max: u64,
) -> Result<Asked, Failure> {
    let path = match call {
        Call::Resources => "/authzed.api.v1.PermissionsService/LookupResources",
        Call::Subjects => "/authzed.api.v1.PermissionsService/LookupSubjects",
    };
    let mut request = tonic::Request::new(lookup.request.clone());
    if let Some(token) = &target.token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let start = Instant::now();
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let answers = client.server_streaming(request, PathAndQuery::from_static(path), Raw).await?;
    let mut answers: Streaming<Bytes> = answers.into_inner();
    let mut asked = Asked { results: 0, first: None, whole: Duration::ZERO };
    while asked.results < results_max && answers.message().await?.is_some() {
        asked.results += 1;
        asked.first.get_or_insert_with(|| start.elapsed());
    }
    asked.whole = start.elapsed();
    Ok(asked)
}
