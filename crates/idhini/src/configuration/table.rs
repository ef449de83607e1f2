//! Which settings are there? One row each: flag, variable, key, help, `config print` and the page of the documentation
//! all come from it, and the default from [`Settings::default`].
//!
//! A new setting is a field of [`Settings`] with its default, and a row here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use idhini_changelog::embedded::SEGMENT_BYTES_MAX;
use idhini_replica::ENTRY_BYTES_MAX;

use super::auditing::SETTINGS as AUDIT;
use super::environment::PREFIX;
use super::observing::{
    HTTP_ADDRESS, LOG_FORMATS, LOG_LEVELS, METRICS_ADDRESS, address, any_address, endpoint, name, named,
    ratio, show_address,
};
use super::transport::{CLIENT_AUTHS, VERSIONS, names, pins, together};
use super::values::{AUTO, FOREVER, bytes, count, seconds, show_bytes, show_seconds};
use super::{Server, Settings};

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// The flag is `--name`, the key in a file `name`, the variable `IDHINI_NAME`.
    pub(super) name: &'static str,
    /// Under which it stands in the help.
    pub(super) heading: &'static str,
    pub(super) of: Of,
    /// Whether only the long help has it.
    pub(super) is_detail: bool,
    pub(super) kind: Kind,
    pub(super) doc: &'static str,
}

/// Whose setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Both,
    Serve,
    ServeTesting,
}

/// What values it has, and which field it is.
#[derive(Debug)]
pub(super) enum Kind {
    Switch {
        field: fn(&mut Settings) -> &mut bool,
    },
    Number {
        unit: Unit,
        min: u64,
        max: u64,
        get: fn(&Settings) -> u64,
        set: fn(&mut Settings, u64),
    },
    Time {
        /// Whether it may be without end, which is `None`.
        is_endless: bool,
        get: fn(&Settings) -> Option<u64>,
        set: fn(&mut Settings, Option<u64>),
    },
    Path {
        shape: &'static str,
        get: fn(&Settings) -> Option<&Path>,
        set: fn(&mut Settings, PathBuf),
    },
    /// Anything else that is one value.
    Text {
        shape: &'static str,
        remedy: &'static str,
        get: fn(&Settings) -> Option<String>,
        set: fn(&mut Settings, &str) -> Result<(), String>,
    },
    /// Several secrets.
    Keys {
        field: fn(&mut Settings) -> &mut Vec<String>,
    },
}

/// Of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// What is counted.
    Count(&'static str),
    Bytes,
}

/// A value, for print.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    Switch(bool),
    Number(u64),
    Text(String),
    /// How many.
    Keys(usize),
}

/// The settings of a command.
pub(super) fn of(server: Server) -> impl Iterator<Item = &'static Setting> {
    settings().filter(move |setting| setting.is_of(server))
}

/// The settings of all commands.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(AUDIT)
}

impl Setting {
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.name)
    }

    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('-', "_").to_uppercase())
    }

    pub(super) fn is_of(&self, server: Server) -> bool {
        match self.of {
            Of::Both => true,
            Of::Serve => server == Server::Serve,
            Of::ServeTesting => server == Server::ServeTesting,
        }
    }

    /// As people write it.
    pub(super) fn default(&self) -> Option<String> {
        match self.kind.show(&Settings::default()) {
            Shown::Nothing | Shown::Switch(false) | Shown::Keys(_) => None,
            Shown::Switch(true) => Some(true.to_string()),
            Shown::Number(number) => Some(self.kind.number(number)),
            Shown::Text(text) => Some(text),
        }
    }
}

impl Kind {
    /// What stands for the value in the help.
    pub(super) fn shape(&self) -> &'static str {
        match self {
            Kind::Switch { .. } => "BOOLEAN",
            Kind::Number { unit: Unit::Count(_), .. } => "COUNT",
            Kind::Number { unit: Unit::Bytes, .. } => "BYTES",
            Kind::Time { .. } => "TIME",
            Kind::Path { shape, .. } | Kind::Text { shape, .. } => shape,
            Kind::Keys { .. } => "KEY",
        }
    }

    /// What its values are, for the documentation.
    pub(super) fn unit(&self) -> String {
        match self {
            Kind::Switch { .. } => "true or false".to_owned(),
            Kind::Number { unit: Unit::Count(what), .. } => (*what).to_owned(),
            Kind::Number { unit: Unit::Bytes, .. } => "bytes".to_owned(),
            Kind::Time { .. } => "time".to_owned(),
            Kind::Path { shape: "DIR", .. } => "directory".to_owned(),
            Kind::Path { .. } => "file".to_owned(),
            Kind::Text { shape, .. } => format!("`{shape}`"),
            Kind::Keys { .. } => "keys".to_owned(),
        }
    }

    /// What helps if a value is not taken.
    pub(super) fn remedy(&self) -> String {
        match self {
            Kind::Switch { .. } => "write true or false".to_owned(),
            Kind::Number { unit, min, max, .. } => {
                let such = if *unit == Unit::Bytes { ", such as 1048576 or 64MiB" } else { "" };
                match *max {
                    u64::MAX => format!("write a number from {} on{such}", self.number(*min)),
                    max => {
                        format!("write a number from {} to {}{such}", self.number(*min), self.number(max))
                    }
                }
            }
            Kind::Time { is_endless: true, .. } => "write a time such as 90m, 24h, 7d or forever".to_owned(),
            Kind::Time { .. } => "write a time such as 10s, 90m or 24h".to_owned(),
            Kind::Path { .. } => "name a path".to_owned(),
            Kind::Text { remedy, .. } => (*remedy).to_owned(),
            Kind::Keys { .. } => "choose a key of printable ASCII, such as 32 hexadecimal digits".to_owned(),
        }
    }

    /// Takes back what a place of lesser rank said, where values are gathered.
    pub(super) fn clear(&self, settings: &mut Settings) {
        if let Kind::Keys { field } = self {
            field(settings).clear();
        }
    }

    /// Takes a value.
    ///
    /// # Errors
    /// What is wrong with it; no key is repeated.
    pub(super) fn set(&self, settings: &mut Settings, value: &OsStr) -> Result<(), String> {
        if value.is_empty() {
            return Err("it is empty".to_owned());
        }
        if let Kind::Path { set, .. } = self {
            set(settings, PathBuf::from(value));
            return Ok(());
        }
        let is_secret = matches!(self, Kind::Keys { .. });
        let told = || if is_secret { "a key".to_owned() } else { format!("`{}`", value.display()) };
        let text = value.to_str().ok_or_else(|| format!("{} is not UTF-8", told()))?;
        match self {
            Kind::Switch { field } => {
                *field(settings) =
                    text.parse().map_err(|_| format!("{} is neither true nor false", told()))?;
            }
            Kind::Number { unit, min, max, set, .. } => {
                let number = if *unit == Unit::Bytes { bytes(text) } else { count(text) };
                let number = number.ok_or_else(|| format!("{} is no such number", told()))?;
                if !(*min..=*max).contains(&number) {
                    return Err(format!("{} is out of range", told()));
                }
                set(settings, number);
            }
            Kind::Time { is_endless: true, set, .. } if text == FOREVER => set(settings, None),
            Kind::Time { set, .. } => {
                set(settings, Some(seconds(text).ok_or_else(|| format!("{} is not a time", told()))?));
            }
            Kind::Text { set, .. } => set(settings, text)?,
            Kind::Keys { field } if can_be_sent(text) => field(settings).push(text.to_owned()),
            Kind::Keys { .. } => {
                return Err("a key has characters that clients cannot send, or spaces at its ends".to_owned());
            }
            // Taken above.
            Kind::Path { .. } => {}
        }
        Ok(())
    }

    /// Its present value.
    pub(super) fn show(&self, settings: &Settings) -> Shown {
        let text = |text: Option<String>| text.map_or(Shown::Nothing, Shown::Text);
        match self {
            Kind::Switch { field } => Shown::Switch(*field(&mut settings.clone())),
            Kind::Number { get, .. } => Shown::Number(get(settings)),
            Kind::Time { get, .. } => text(Some(get(settings).map_or(FOREVER.to_owned(), show_seconds))),
            Kind::Path { get, .. } => text(get(settings).map(|path| path.display().to_string())),
            Kind::Text { get, .. } => text(get(settings)),
            Kind::Keys { field } => Shown::Keys(field(&mut settings.clone()).len()),
        }
    }

    /// A number in its unit.
    pub(super) fn number(&self, number: u64) -> String {
        match self {
            Kind::Number { unit: Unit::Bytes, .. } => show_bytes(number),
            _ => number.to_string(),
        }
    }
}

/// Whether clients can bring a key: it travels in a header, which has printable ASCII and loses spaces at its ends.
fn can_be_sent(key: &str) -> bool {
    key.bytes().all(|byte| matches!(byte, b' '..=b'~')) && key.trim() == key
}

/// The range of a setting is one that its field's type holds.
pub(super) fn assign<T: TryFrom<u64>>(field: &mut T, number: u64) {
    if let Ok(number) = T::try_from(number) {
        *field = number;
    }
}

/// A number that is this field.
macro_rules! number {
    ($min:literal..=$max:expr, $unit:expr, $($field:ident).+) => {
        Kind::Number {
            unit: $unit,
            min: $min,
            max: $max,
            get: |settings| settings.$($field).+.try_into().unwrap_or(u64::MAX),
            set: |settings, number| assign(&mut settings.$($field).+, number),
        }
    };
}

const NETWORK: &str = "Network";
const TLS: &str = "TLS";
const STORAGE: &str = "Storage";
const START: &str = "First start";
const OBSERVING: &str = "Observing";
const LIMITS: &str = "Limits of a request";
const TUNING: &str = "Tuning";
const RELATIONSHIPS: Unit = Unit::Count("relationships");
const CHANGES: Unit = Unit::Count("changes");
const EDGES: Unit = Unit::Count("edges");
/// What `limit` fields hold.
const ROWS_MAX: u64 = u32::MAX as u64;
/// What an address field holds.
const LENGTH_MAX: u64 = usize::MAX as u64;

/// All settings but those of the audit trail.
static SETTINGS: &[Setting] = &[
    Setting {
        name: "grpc-addr",
        heading: NETWORK,
        of: Of::Both,
        is_detail: false,
        kind: Kind::Text {
            shape: "IP:PORT",
            remedy: "write an address such as 127.0.0.1:50051 or [::1]:50051",
            get: |settings| Some(settings.grpc_addr.to_string()),
            set: |settings, text| {
                settings.grpc_addr = super::address(text)?;
                Ok(())
            },
        },
        doc: "Where to listen; beyond loopback only with TLS; port 0 takes a free one",
    },
    Setting {
        name: "http-addr",
        heading: NETWORK,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Text {
            shape: "IP:PORT",
            remedy: "write an address such as 127.0.0.1:8443, or off",
            get: |settings| Some(show_address(settings.http_addr, HTTP_ADDRESS)),
            set: |settings, text| {
                settings.http_addr = Some(any_address(text)?);
                Ok(())
            },
        },
        doc: "Where to listen for HTTP, such as the calls that clients of OpenBao know; beyond loopback only with TLS, port 0 takes a free one, `off` is nowhere. Unless it is said, nothing is if the port is taken",
    },
    Setting {
        name: "preshared-key",
        heading: NETWORK,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Keys { field: |settings| &mut settings.preshared_keys.0 },
        doc: "A key that clients may bring, instead of the root token; repeat it to change keys without a pause. Better set as IDHINI_PRESHARED_KEY, where other users of the machine do not see it and a comma stands between several",
    },
    Setting {
        name: "no-root-token",
        heading: NETWORK,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Switch { field: |settings| &mut settings.no_root_token },
        doc: "Make no root token, and take none that was made; without it the root token may everything. Somebody else has to administrate root by then",
    },
    Setting {
        name: "tls-cert-file",
        heading: TLS,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "FILE",
            get: |settings| settings.transport.cert_file.as_deref(),
            set: |settings, path| settings.transport.cert_file = Some(path),
        },
        doc: "The server's certificate as PEM, behind it those between it and its authority; taken anew when the file changes",
    },
    Setting {
        name: "tls-key-file",
        heading: TLS,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "FILE",
            get: |settings| settings.transport.key_file.as_deref(),
            set: |settings, path| settings.transport.key_file = Some(path),
        },
        doc: "Its private key as PEM, not encrypted",
    },
    Setting {
        name: "tls-ca-dir",
        heading: TLS,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "DIR",
            get: |settings| settings.transport.ca_dir.as_deref(),
            set: |settings, path| settings.transport.ca_dir = Some(path),
        },
        doc: "Instead of both: the directory of an authority that `idhini ca init` made, by which the server issues certificates to itself",
    },
    Setting {
        name: "tls-names",
        heading: TLS,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Text {
            shape: "NAMES",
            remedy: "write DNS names, addresses or a SPIFFE id with commas between, such as idhini.example,10.0.0.5",
            get: |settings| together(&settings.transport.names),
            set: |settings, text| {
                settings.transport.names = names(text)?;
                Ok(())
            },
        },
        doc: "What these certificates are for; unless it is said, the address that is listened on, the machine's name, and localhost",
    },
    Setting {
        name: "tls-lifetime",
        heading: TLS,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Time {
            is_endless: false,
            get: |settings| Some(settings.transport.lifetime_seconds),
            set: |settings, seconds| {
                settings.transport.lifetime_seconds = seconds.unwrap_or(settings.transport.lifetime_seconds);
            },
        },
        doc: "How long each of these certificates lasts; the next takes its place after two thirds of it",
    },
    Setting {
        name: "tls-client-ca-file",
        heading: TLS,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "FILE",
            get: |settings| settings.transport.client_ca_file.as_deref(),
            set: |settings, path| settings.transport.client_ca_file = Some(path),
        },
        doc: "The authorities of clients' certificates as PEM; taken anew when the file changes",
    },
    Setting {
        name: "tls-client-auth",
        heading: TLS,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Text {
            shape: "WHEN",
            remedy: "write off, optional or required",
            get: |settings| name(&CLIENT_AUTHS, &settings.transport.client_auth?),
            set: |settings, text| {
                settings.transport.client_auth = Some(named(&CLIENT_AUTHS, text)?);
                Ok(())
            },
        },
        doc: "Whether clients show a certificate: `off`, `optional` or `required`; unless it is said, `required` if --tls-client-ca-file is",
    },
    Setting {
        name: "tls-peer-pins",
        heading: TLS,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Text {
            shape: "PINS",
            remedy: "write names or fingerprints with commas between, such as billing.example,sha256:9F86…",
            get: |settings| together(&settings.transport.peer_pins),
            set: |settings, text| {
                settings.transport.peer_pins = pins(text)?;
                Ok(())
            },
        },
        doc: "Take no clients' certificates but these: by name, or by fingerprint as sha256:HEX",
    },
    Setting {
        name: "tls-min-version",
        heading: TLS,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Text {
            shape: "VERSION",
            remedy: "write 1.2 or 1.3",
            get: |settings| name(&VERSIONS, &settings.transport.min_version),
            set: |settings, text| {
                settings.transport.min_version = named(&VERSIONS, text)?;
                Ok(())
            },
        },
        doc: "The oldest TLS that clients may speak, 1.2 or 1.3",
    },
    Setting {
        name: "drain-time",
        heading: NETWORK,
        of: Of::Both,
        is_detail: true,
        kind: Kind::Time {
            is_endless: false,
            get: |settings| Some(settings.drain_seconds),
            set: |settings, seconds| settings.drain_seconds = seconds.unwrap_or(settings.drain_seconds),
        },
        doc: "How long calls under way may take after the server was told to stop",
    },
    Setting {
        name: "data-dir",
        heading: STORAGE,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "DIR",
            get: |settings| Some(&settings.data_dir),
            set: |settings, path| settings.data_dir = path,
        },
        doc: "The directory that holds everything; made if it is not there, and held by one server at a time",
    },
    Setting {
        name: "ephemeral",
        heading: STORAGE,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Switch { field: |settings| &mut settings.ephemeral },
        doc: "Keep everything in memory instead; it is gone when the server stops",
    },
    Setting {
        name: "history",
        heading: STORAGE,
        of: Of::Both,
        is_detail: false,
        kind: Kind::Time {
            is_endless: true,
            get: |settings| settings.node.namespace.history_seconds,
            set: |settings, seconds| settings.node.namespace.history_seconds = seconds,
        },
        doc: "How long the past can be asked about, such as 90m, 24h or 7d, or `forever`",
    },
    Setting {
        name: "stores-max",
        heading: STORAGE,
        of: Of::ServeTesting,
        is_detail: false,
        kind: number!(1..=LENGTH_MAX, Unit::Count("stores"), stores_max),
        doc: "Stores that are kept; the one that was idle for longest goes when another token needs one",
    },
    Setting {
        name: "schema",
        heading: START,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "FILE",
            get: |settings| settings.schema.as_deref(),
            set: |settings, path| settings.schema = Some(path),
        },
        doc: "A schema to start with, unless something is stored already",
    },
    Setting {
        name: "relationships",
        heading: START,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Path {
            shape: "FILE",
            get: |settings| settings.relationships.as_deref(),
            set: |settings, path| settings.relationships = Some(path),
        },
        doc: "Relationships to start with, one a line, unless something is stored already; `//` begins a comment",
    },
    Setting {
        name: "log-format",
        heading: OBSERVING,
        of: Of::Both,
        is_detail: false,
        kind: Kind::Text {
            shape: "FORMAT",
            remedy: "write auto, human or json",
            get: |settings| name(&LOG_FORMATS, &settings.observing.log_format),
            set: |settings, text| {
                settings.observing.log_format = named(&LOG_FORMATS, text)?;
                Ok(())
            },
        },
        doc: "How log lines are written: `auto` is for people on a terminal and JSON elsewhere, `human` and `json` are always one of them",
    },
    Setting {
        name: "log-level",
        heading: OBSERVING,
        of: Of::Both,
        is_detail: false,
        kind: Kind::Text {
            shape: "LEVEL",
            remedy: "write error, warn, info, debug or trace",
            get: |settings| name(&LOG_LEVELS, &settings.observing.log_level),
            set: |settings, text| {
                settings.observing.log_level = named(&LOG_LEVELS, text)?;
                Ok(())
            },
        },
        doc: "What is logged; names, ids and contexts of relationships are told at debug and below only",
    },
    Setting {
        name: "metrics-addr",
        heading: OBSERVING,
        of: Of::Serve,
        is_detail: false,
        kind: Kind::Text {
            shape: "IP:PORT",
            remedy: "write a loopback address such as 127.0.0.1:9464, or off",
            get: |settings| Some(show_address(settings.observing.metrics_addr, METRICS_ADDRESS)),
            set: |settings, text| {
                settings.observing.metrics_addr = Some(address(text)?);
                Ok(())
            },
        },
        doc: "Where /metrics, /healthz and /readyz are served; loopback only, port 0 takes a free one, `off` serves none. Unless it is said, none are served if the port is taken",
    },
    Setting {
        name: "otlp-endpoint",
        heading: OBSERVING,
        of: Of::Both,
        is_detail: false,
        kind: Kind::Text {
            shape: "URL",
            remedy: "write an address such as http://127.0.0.1:4317",
            get: |settings| settings.observing.otlp_endpoint.clone(),
            set: |settings, text| {
                settings.observing.otlp_endpoint = Some(endpoint(text)?);
                Ok(())
            },
        },
        doc: "Send traces to this OTLP collector over gRPC, such as http://127.0.0.1:4317; nothing is traced without it",
    },
    Setting {
        name: "otlp-sampling",
        heading: OBSERVING,
        of: Of::Both,
        is_detail: true,
        kind: Kind::Text {
            shape: "RATIO",
            remedy: "write a number from 0 to 1",
            get: |settings| Some(settings.observing.otlp_sampling.to_string()),
            set: |settings, text| {
                settings.observing.otlp_sampling = ratio(text)?;
                Ok(())
            },
        },
        doc: "The part of the traces begun here that is kept, from 0 to 1; a caller that traces decides for itself",
    },
    Setting {
        name: "profiling",
        heading: OBSERVING,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Switch { field: |settings| &mut settings.observing.profiling },
        doc: "Let /debug/pprof/profile?seconds=N take CPU profiles, beside the metrics",
    },
    Setting {
        name: "updates-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=LENGTH_MAX, Unit::Count("updates"), limits.updates_max),
        doc: "Updates of one write",
    },
    Setting {
        name: "preconditions-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(0..=LENGTH_MAX, Unit::Count("preconditions"), limits.preconditions_max),
        doc: "Preconditions of one write or delete",
    },
    Setting {
        name: "page-rows-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=ROWS_MAX, Unit::Count("rows"), limits.page_rows_max),
        doc: "The `limit` field of reads, lookups and deletes",
    },
    Setting {
        name: "export-rows-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=ROWS_MAX, RELATIONSHIPS, limits.export_rows_max),
        doc: "The `limit` field of exports",
    },
    Setting {
        name: "bulk-items-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=LENGTH_MAX, Unit::Count("checks"), limits.bulk_items_max),
        doc: "Items of one bulk check",
    },
    Setting {
        name: "bulk-cost-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=u64::MAX, EDGES, limits.bulk_cost_max),
        doc: "What the items of one bulk check may visit together; once they did, those left are refused, each by itself",
    },
    Setting {
        name: "relationship-context-bytes-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(0..=LENGTH_MAX, Unit::Bytes, limits.relationship_context_bytes_max),
        doc: "The context stored with one relationship, as protobuf",
    },
    Setting {
        name: "import-relationships-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=LENGTH_MAX, RELATIONSHIPS, limits.import_relationships_max),
        doc: "Relationships of one import",
    },
    Setting {
        name: "cost-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=u64::MAX, EDGES, limits.cost_max),
        doc: "What one question may visit",
    },
    Setting {
        name: "precondition-edges-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=u64::MAX, EDGES, node.namespace.precondition_edges_max),
        doc: "What the filters among the preconditions of one request may look at",
    },
    Setting {
        name: "permission-precondition-cost-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=u64::MAX, EDGES, node.namespace.permission_precondition_cost_max),
        doc: "What the checks among the preconditions of one request may visit",
    },
    Setting {
        name: "entry-bytes-max",
        heading: LIMITS,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=ENTRY_BYTES_MAX, Unit::Bytes, node.namespace.entry_bytes_max),
        doc: "Entries of the log that one request makes",
    },
    Setting {
        name: "waiting-bytes-max",
        heading: TUNING,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=u64::MAX, Unit::Bytes, node.namespace.waiting_bytes_max),
        doc: "Requests that wait for the writer, about; more are refused",
    },
    Setting {
        name: "worker-threads",
        heading: TUNING,
        of: Of::Both,
        is_detail: true,
        kind: Kind::Text {
            shape: "COUNT",
            remedy: "write a number from 1 to 1024, or auto",
            get: |settings| Some(settings.worker_threads.map_or(AUTO.to_owned(), |count| count.to_string())),
            set: |settings, text| {
                settings.worker_threads = super::values::threads(text)?;
                Ok(())
            },
        },
        doc: "Threads that answer calls, each with connections of its own; `auto` is as many as the machine has processors",
    },
    Setting {
        name: "rebuild-changes-max",
        heading: TUNING,
        of: Of::Both,
        is_detail: true,
        kind: number!(1..=u64::MAX, CHANGES, node.namespace.rebuild_changes_max),
        doc: "Changes undone or redone to rebuild a revision that is not in memory",
    },
    Setting {
        name: "kept-bytes-max",
        heading: TUNING,
        of: Of::Both,
        is_detail: true,
        kind: number!(0..=u64::MAX, Unit::Bytes, node.namespace.kept_bytes_max),
        doc: "Revisions kept in memory beside the newest, in each namespace; others are rebuilt when they are asked for",
    },
    Setting {
        name: "memory-bytes-max",
        heading: TUNING,
        of: Of::Serve,
        is_detail: true,
        kind: number!(1..=u64::MAX, Unit::Bytes, node.memory_bytes_max),
        doc: "Graphs of open namespaces, all together, before those that are not in use are closed",
    },
    Setting {
        name: "image-changes",
        heading: TUNING,
        of: Of::Serve,
        is_detail: true,
        kind: number!(1..=u64::MAX, CHANGES, node.namespace.image_changes),
        doc: "An image is written after so many changes",
    },
    Setting {
        name: "image-time",
        heading: TUNING,
        of: Of::Serve,
        is_detail: true,
        kind: Kind::Time {
            is_endless: false,
            get: |settings| u64::try_from(settings.node.namespace.image_seconds).ok(),
            set: |settings, seconds| {
                let seconds = seconds.and_then(|seconds| i64::try_from(seconds).ok());
                settings.node.namespace.image_seconds = seconds.unwrap_or(i64::MAX);
            },
        },
        doc: "An image is also written when anything has changed and the last one is so old",
    },
    Setting {
        name: "segment-bytes",
        heading: TUNING,
        of: Of::Serve,
        is_detail: true,
        kind: number!(1..=SEGMENT_BYTES_MAX, Unit::Bytes, segment_bytes),
        doc: "A new segment of the log begins when one has so many bytes",
    },
];
