//! Where does the processor's time go? A CPU profile in the format of pprof.
//!
//! A timer interrupts the process a hundred times a second of processor time, and the stack of whoever ran is counted.
//! Only one profile can be taken at a time; without one nothing is interrupted.
//!
//! Source: pprof's `profile.proto`.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use idhini_server::{Profiled, Profiler};
use pprof::{ProfilerGuardBuilder, Report, Symbol};
use prost::Message as _;

/// Samples in a second of processor time; not a divisor of what programs do at round intervals.
const SAMPLES_PER_SECOND: i32 = 99;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Stacks of these are not walked: they may hold locks that walking takes.
const NOT_WALKED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Takes profiles of this process.
pub(crate) fn profiler() -> Profiler {
    Arc::new(|how_long| Box::pin(profile(how_long)))
}

async fn profile(how_long: Duration) -> Profiled {
    let guard = ProfilerGuardBuilder::default()
        .frequency(SAMPLES_PER_SECOND)
        .blocklist(&NOT_WALKED)
        .build()
        .map_err(|error| format!("no profile can be taken: {error}"))?;
    tokio::time::sleep(how_long).await;
    // Finding names and places takes a while. The task can only have panicked.
    let encoded = tokio::task::spawn_blocking(move || {
        let report =
            guard.report().build().map_err(|error| format!("the profile is not readable: {error}"))?;
        drop(guard);
        encode(&report).map_err(|error| format!("the profile cannot be packed: {error}"))
    });
    encoded.await.map_err(|_| "naming the profile's places failed".to_owned())?
}

fn encode(report: &Report) -> std::io::Result<Vec<u8>> {
    let mut tables = Tables::default();
    tables.text("");
    let period = NANOS_PER_SECOND / i64::from(SAMPLES_PER_SECOND);
    let mut samples = Vec::new();
    for (stack, count) in &report.data {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        let location_id = stack.frames.iter().map(|symbols| tables.location(symbols)).collect();
        let label = proto::Label { key: tables.text("thread"), str: tables.text(&stack.thread_name_or_id()) };
        samples.push(proto::Sample {
            location_id,
            value: vec![count, count.saturating_mul(period)],
            label: vec![label],
        });
    }
    let mut kind = |kind, unit| proto::ValueType { kind: tables.text(kind), unit: tables.text(unit) };
    let (counts, cpu) = (kind("samples", "count"), kind("cpu", "nanoseconds"));
    let profile = proto::Profile {
        sample_type: vec![counts, cpu],
        sample: samples,
        location: tables.locations,
        function: tables.functions,
        string_table: tables.texts,
        duration_nanos: i64::try_from(report.timing.duration.as_nanos()).unwrap_or(i64::MAX),
        period_type: Some(cpu),
        period,
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&profile.encode_to_vec())?;
    packed.finish()
}

/// What samples refer to by number; numbers of functions and locations begin at 1.
#[derive(Default)]
struct Tables {
    texts: Vec<String>,
    text_numbers: HashMap<String, i64>,
    functions: Vec<proto::Function>,
    function_numbers: HashMap<(i64, i64), u64>,
    locations: Vec<proto::Location>,
    location_numbers: HashMap<Vec<(u64, i64)>, u64>,
}

impl Tables {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.text_numbers.get(text) {
            return *number;
        }
        let number = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.texts.push(text.to_owned());
        self.text_numbers.insert(text.to_owned(), number);
        number
    }

    /// A place in the program: a function and those that are inlined into it, innermost first.
    fn location(&mut self, symbols: &[Symbol]) -> u64 {
        let lines: Vec<(u64, i64)> =
            symbols.iter().map(|symbol| (self.function(symbol), i64::from(symbol.lineno()))).collect();
        if let Some(number) = self.location_numbers.get(&lines) {
            return *number;
        }
        let id = self.locations.len() as u64 + 1;
        let line =
            lines.iter().map(|(function_id, line)| proto::Line { function_id: *function_id, line: *line });
        self.locations.push(proto::Location { id, line: line.collect() });
        self.location_numbers.insert(lines, id);
        id
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let (name, filename) = (self.text(&symbol.name()), self.text(&symbol.filename()));
        if let Some(number) = self.function_numbers.get(&(name, filename)) {
            return *number;
        }
        let id = self.functions.len() as u64 + 1;
        let system_name = self.text(&symbol.sys_name());
        self.functions.push(proto::Function { id, name, system_name, filename });
        self.function_numbers.insert((name, filename), id);
        id
    }
}

/// The messages of `profile.proto`, as far as they are filled.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub(super) sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub(super) sample: Vec<Sample>,
        #[prost(message, repeated, tag = "4")]
        pub(super) location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub(super) function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub(super) string_table: Vec<String>,
        #[prost(int64, tag = "10")]
        pub(super) duration_nanos: i64,
        #[prost(message, optional, tag = "11")]
        pub(super) period_type: Option<ValueType>,
        #[prost(int64, tag = "12")]
        pub(super) period: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct ValueType {
        #[prost(int64, tag = "1")]
        pub(super) kind: i64,
        #[prost(int64, tag = "2")]
        pub(super) unit: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub(super) location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub(super) value: Vec<i64>,
        #[prost(message, repeated, tag = "3")]
        pub(super) label: Vec<Label>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(int64, tag = "1")]
        pub(super) key: i64,
        #[prost(int64, tag = "2")]
        pub(super) str: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Location {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(message, repeated, tag = "4")]
        pub(super) line: Vec<Line>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Line {
        #[prost(uint64, tag = "1")]
        pub(super) function_id: u64,
        #[prost(int64, tag = "2")]
        pub(super) line: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Function {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(int64, tag = "2")]
        pub(super) name: i64,
        #[prost(int64, tag = "3")]
        pub(super) system_name: i64,
        #[prost(int64, tag = "4")]
        pub(super) filename: i64,
    }
}
