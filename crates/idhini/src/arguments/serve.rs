//! What can be said to `idhini serve`?

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Run a server.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The directory that holds everything; made if it is not there, and held by one server at a time
    #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Keep everything in memory instead; it is gone when the server stops
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// How long the past can be asked about, such as 90m, 24h or 7d, or `forever`
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = history)]
    pub(crate) history: History,
    /// Where to listen; loopback only, port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "IP:PORT")]
    pub(crate) grpc_addr: SocketAddr,
    /// A key that clients may bring; repeat it to change keys without a pause. Better set as IDHINI_PRESHARED_KEY,
    /// where other users of the machine do not see it and a comma stands between several
    #[arg(long = "preshared-key", value_name = "KEY")]
    pub(crate) preshared_keys: Vec<String>,
    /// A schema to start with, unless something is stored already
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Relationships to start with, one a line, unless something is stored already; `//` begins a comment
    #[arg(long, value_name = "FILE", requires = "schema")]
    pub(crate) relationships: Option<PathBuf>,
    /// How log lines are written: for people on a terminal and as JSON elsewhere, or always as one of them
    #[arg(long, env = "IDHINI_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub(crate) log_format: LogFormat,
    /// What is logged; names, ids and contexts of relationships are told at debug and below only
    #[arg(long, env = "IDHINI_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
    /// Send traces to this OTLP collector over gRPC, such as http://127.0.0.1:4317; nothing is traced without it
    #[arg(long, env = "IDHINI_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub(crate) otlp_endpoint: Option<String>,
    /// The part of the traces begun here that is kept, from 0 to 1; a caller that traces decides for itself
    #[arg(long, env = "IDHINI_OTLP_SAMPLING", default_value = "1", value_name = "RATIO", value_parser = ratio)]
    pub(crate) otlp_sampling: f64,
    /// Where /metrics, /healthz and /readyz are served; loopback only, port 0 takes a free one, `off` serves none
    /// [default: 127.0.0.1:9464, or none if that is taken]
    #[arg(long, env = "IDHINI_METRICS_ADDR", value_name = "IP:PORT", value_parser = metrics_address)]
    pub(crate) metrics_addr: Option<MetricsAddress>,
    /// Let /debug/pprof/profile?seconds=N take CPU profiles, beside the metrics
    #[arg(long, env = "IDHINI_PROFILING", value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::SetTrue)]
    pub(crate) profiling: bool,
    /// Write an image after so many changes; for tests, whose servers live short lives
    #[arg(long, hide = true, value_name = "COUNT")]
    pub(crate) image_changes: Option<u64>,
    /// Begin a segment of the log when one has so many bytes; for tests
    #[arg(long, hide = true, value_name = "BYTES")]
    pub(crate) segment_bytes: Option<u64>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Where metrics are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsAddress {
    Off,
    At(SocketAddr),
}

fn metrics_address(text: &str) -> Result<MetricsAddress, String> {
    match text {
        "off" => Ok(MetricsAddress::Off),
        address => match address.parse() {
            Ok(address) => Ok(MetricsAddress::At(address)),
            Err(_) => Err(format!("`{address}` is neither an address such as 127.0.0.1:9464 nor `off`")),
        },
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let is_one = text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
    match is_one && text.parse::<http::Uri>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is not a plain HTTP address such as http://127.0.0.1:4317")),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("`{text}` is not a number from 0 to 1")),
    }
}

/// How long the past is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    Seconds(u64),
    Forever,
}

fn history(text: &str) -> Result<History, String> {
    if text == "forever" {
        return Ok(History::Forever);
    }
    let malformed = || format!("`{text}` is not a time such as 90m, 24h, 7d or forever");
    let unit = text.chars().last().ok_or_else(malformed)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(malformed()),
    };
    let count: u64 = text.strip_suffix(unit).and_then(|count| count.parse().ok()).ok_or_else(malformed)?;
    count.checked_mul(seconds).map(History::Seconds).ok_or_else(malformed)
}
