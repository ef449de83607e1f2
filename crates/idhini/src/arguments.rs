//! What can be said on the command line? Arguments are those of `zed` where `zed` has them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use idhini_model::{Context, Relationship, ResourceRef, Revision, SubjectRef, Timestamp};
use idhini_wire::authzed::api::v1;

/// Who may do what: an authorization server after Google's Zanzibar, and its command line.
#[derive(Debug, Parser)]
#[command(name = "idhini", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server is asked.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Where the server listens
    #[arg(
        long,
        global = true,
        env = "IDHINI_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "HOST:PORT"
    )]
    pub(crate) addr: String,
    /// The server's preshared key; better set as IDHINI_TOKEN, where other users of the machine do not see it
    #[arg(long, global = true, env = "IDHINI_TOKEN", hide_env_values = true, default_value = "")]
    pub(crate) token: String,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    Serve(Serve),
    /// Read or write the schema
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Create, touch, delete or read relationships
    #[command(subcommand)]
    Relationship(RelationshipCommand),
    /// Back up a running server, or check a backup
    Backup(Backup),
    /// Make a data directory from a backup
    Restore(Restore),
    /// Print what is in a data directory, also in one that a server holds
    #[command(subcommand)]
    Debug(Debug),
    /// Ask whether a subject has a permission: exit status 0 has, 1 no, 2 conditional
    Check(Check),
}

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

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Replace the schema with that of a file; `-` reads standard input
    Write {
        /// The file
        file: PathBuf,
    },
    /// Print the schema
    Read,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RelationshipCommand {
    /// Create a relationship; refused if it exists
    Create(RelationshipArguments),
    /// Create a relationship or replace its caveat and expiration
    Touch(RelationshipArguments),
    /// Delete a relationship; absent is fine
    Delete(RelationshipArguments),
    /// Print relationships, one a line
    Read(ReadArguments),
}

/// Which relationships.
#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// The objects, such as document or document:readme
    #[arg(value_name = "TYPE[:ID]")]
    pub(crate) resource: String,
    /// The relation, such as viewer
    pub(crate) relation: Option<String>,
    /// Who stands in it, such as user, user:tom or group:eng#member
    #[arg(value_name = "TYPE[:ID][#RELATION]")]
    pub(crate) subject: Option<String>,
}

/// One relationship.
#[derive(Debug, Args)]
pub(crate) struct RelationshipArguments {
    /// The object, such as document:readme
    pub(crate) resource: ResourceRef,
    /// The relation, such as viewer
    pub(crate) relation: String,
    /// Who stands in it, such as user:tom, group:eng#member or user:*
    pub(crate) subject: SubjectRef,
    /// The condition under which it counts, such as only_on:{"day":"tuesday"}
    #[arg(long, value_name = "NAME[:JSON]")]
    pub(crate) caveat: Option<String>,
    /// When it stops counting, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// Which backup.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct Backup {
    /// The backup's directory: an empty one, or one to add to what is new
    pub(crate) directory: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Open every image and apply every entry of a backup
    Verify {
        /// The backup's directory
        directory: PathBuf,
    },
}

/// Which backup, to where, to when.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup's directory
    pub(crate) directory: PathBuf,
    /// The data directory to make: an empty one, or one that is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The moment or the revision to go back to, such as 2026-01-31T12:00:00Z or 42; the newest unless said
    #[arg(long, value_name = "TIME|REVISION", value_parser = to)]
    pub(crate) to: Option<To>,
}

/// When to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Moment(Timestamp),
    Revision(Revision),
}

fn to(text: &str) -> Result<To, String> {
    match (text.parse::<u64>(), text.parse::<Timestamp>()) {
        (Ok(revision), _) => Ok(To::Revision(Revision(revision))),
        (_, Ok(moment)) => Ok(To::Moment(moment)),
        (_, Err(error)) => Err(format!("neither a revision nor a moment: {error}")),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// The segments of the log, or its entries
    Log {
        /// The data directory
        #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
        data_dir: PathBuf,
        /// Print each entry instead
        #[arg(long)]
        entries: bool,
    },
    /// The images, each of them opened
    Images {
        /// The data directory
        #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
        data_dir: PathBuf,
    },
}

/// One question.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The object, such as document:readme
    pub(crate) resource: ResourceRef,
    /// The permission or relation, such as view
    pub(crate) permission: String,
    /// Who asks, such as user:tom or group:eng#member
    pub(crate) subject: SubjectRef,
    /// Say why
    #[arg(long)]
    pub(crate) explain: bool,
    /// Values for caveats, such as {"day":"tuesday"}
    #[arg(long, visible_alias = "caveat-context", value_name = "JSON", value_parser = Context::from_json)]
    pub(crate) context: Option<Context>,
    /// At least as fresh as this token of an earlier write
    #[arg(long, value_name = "TOKEN", conflicts_with = "consistency_at_exactly")]
    pub(crate) consistency_at_least: Option<String>,
    /// Exactly at this token of an earlier write or answer
    #[arg(long, value_name = "TOKEN")]
    pub(crate) consistency_at_exactly: Option<String>,
}

impl RelationshipArguments {
    /// The relationship named, its text read the way relationships are written.
    pub(crate) fn relationship(&self) -> Result<Relationship, idhini_model::ParseError> {
        let mut text = format!("{}#{}@{}", self.resource, self.relation, self.subject);
        if let Some(caveat) = &self.caveat {
            text.push_str(&format!("[{caveat}]"));
        }
        let mut relationship: Relationship = text.parse()?;
        relationship.expires_at = self.expires_at;
        Ok(relationship)
    }
}

impl ReadArguments {
    /// The filter; the server judges the names.
    pub(crate) fn filter(&self) -> v1::RelationshipFilter {
        let (resource_type, resource_id) = self.resource.split_once(':').unwrap_or((&self.resource, ""));
        v1::RelationshipFilter {
            resource_type: resource_type.to_owned(),
            optional_resource_id: resource_id.to_owned(),
            optional_relation: self.relation.clone().unwrap_or_default(),
            optional_subject_filter: self.subject.as_deref().map(subject_filter),
            ..Default::default()
        }
    }
}

fn subject_filter(text: &str) -> v1::SubjectFilter {
    let (object, relation) = match text.split_once('#') {
        Some((object, relation)) => (object, Some(relation)),
        None => (text, None),
    };
    let (subject_type, subject_id) = object.split_once(':').unwrap_or((object, ""));
    v1::SubjectFilter {
        subject_type: subject_type.to_owned(),
        optional_subject_id: subject_id.to_owned(),
        optional_relation: relation
            .map(|relation| v1::subject_filter::RelationFilter { relation: relation.to_owned() }),
    }
}
