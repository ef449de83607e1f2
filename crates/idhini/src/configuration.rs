//! What is a server to be, and who said so?
//!
//! A setting is a row of [`table`]. It is said by a flag, by a variable of the environment, or in a file, in this order of
//! precedence, and has a default otherwise. The names follow from one another: `--grpc-addr`, `IDHINI_GRPC_ADDR`,
//! `grpc-addr = …`.
//!
//! # Invariants
//! * A start sees either all settings good, or all mistakes at once, each with its place and its remedy.
//! * What nobody knows is a mistake, never passed over: a misspelt limit is no limit.
//! * What is overruled is judged like what counts.
//! * Keys are never shown, nor anything that might be one.

mod auditing;
mod contradictions;
mod environment;
mod file;
mod flags;
mod mistake;
mod observing;
mod print;
mod table;
mod transport;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use idhini_changelog::embedded::Options as LogOptions;
use idhini_replica::NodeOptions;
use idhini_server::{Limits, STORES_MAX};

pub(crate) use self::auditing::Auditing;
pub(crate) use self::flags::{ServeFlags, ServeTestingFlags};
pub(crate) use self::mistake::{Mistake, Mistakes};
pub(crate) use self::observing::{
    HTTP_ADDRESS, ListenAddress, LogFormat, LogLevel, METRICS_ADDRESS, Observing,
};
pub(crate) use self::print::{Format, print};
use self::table::Setting;
pub(crate) use self::transport::{Transport, Version};
pub(crate) use self::values::seconds;

/// Where a server listens, and where its clients look for it.
const DEFAULT_PORT: u16 = 50051;
/// How long calls under way may take after the server was told to stop, in seconds.
const DRAIN_SECONDS: u64 = 10;

/// What a server is to be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) grpc_addr: SocketAddr,
    pub(crate) transport: Transport,
    /// None if nothing was said: then a port that is taken is no failure.
    pub(crate) http_addr: Option<ListenAddress>,
    pub(crate) preshared_keys: PresharedKeys,
    /// Whether the root token counts for nothing.
    pub(crate) no_root_token: bool,
    pub(crate) drain_seconds: u64,
    /// As many as the machine has processors, if nothing is said.
    pub(crate) worker_threads: Option<NonZeroUsize>,
    pub(crate) data_dir: PathBuf,
    pub(crate) ephemeral: bool,
    pub(crate) schema: Option<PathBuf>,
    pub(crate) relationships: Option<PathBuf>,
    /// Without what is drawn at random.
    pub(crate) node: NodeOptions,
    pub(crate) segment_bytes: u64,
    pub(crate) limits: Limits,
    pub(crate) stores_max: usize,
    pub(crate) observing: Observing,
    pub(crate) auditing: Auditing,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            grpc_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            transport: Transport::default(),
            http_addr: None,
            preshared_keys: PresharedKeys::default(),
            no_root_token: false,
            drain_seconds: DRAIN_SECONDS,
            worker_threads: None,
            data_dir: PathBuf::from("./idhini.data"),
            ephemeral: false,
            schema: None,
            relationships: None,
            node: NodeOptions::default(),
            segment_bytes: LogOptions::new(0).segment_bytes,
            limits: Limits::default(),
            stores_max: STORES_MAX,
            observing: Observing::default(),
            auditing: Auditing::default(),
        }
    }
}

impl Settings {
    /// Threads that answer calls.
    pub(crate) fn workers(&self) -> NonZeroUsize {
        let of_machine = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.worker_threads.unwrap_or_else(of_machine)
    }
}

/// Keys that clients may bring.
#[derive(Clone, Default)]
pub(crate) struct PresharedKeys(pub(crate) Vec<String>);

/// Keys stay secret.
impl fmt::Debug for PresharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresharedKeys({})", self.0.len())
    }
}

/// Which command is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Serve,
    ServeTesting,
}

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize, column: usize },
    Environment,
    Flag,
}

/// A value as it was said; several for a setting that takes several.
struct Said {
    values: Vec<OsString>,
    origin: Origin,
}

/// What one of the places says: rows by their place in the table.
type Layer = Vec<(&'static Setting, Said)>;

/// Settings, and who said each.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) settings: Settings,
    origins: Vec<(&'static Setting, Origin)>,
}

impl Configuration {
    /// Reads what the flags, the environment and the file say.
    ///
    /// # Errors
    /// All mistakes.
    pub(crate) fn read(server: Server, flags: &flags::Flags) -> Result<Configuration, Mistakes> {
        let mut mistakes = Vec::new();
        let environment = environment::read(server, std::env::vars_os(), &mut mistakes);
        let file = match flags.config.clone().or(environment.config) {
            Some(path) => file::read(server, &path, &mut mistakes),
            None => Layer::new(),
        };
        Configuration::of(server, [file, environment.layer, flags.layer()], mistakes)
    }

    /// Of layers, the least first.
    fn of(server: Server, layers: [Layer; 3], mut mistakes: Vec<Mistake>) -> Result<Configuration, Mistakes> {
        let mut settings = Settings::default();
        let mut origins: Vec<(&Setting, Origin)> = table::of(server).map(|s| (s, Origin::Default)).collect();
        for (setting, said) in layers.into_iter().flatten() {
            let mut good = settings.clone();
            setting.kind.clear(&mut good);
            let faults = said.values.iter().filter_map(|value| setting.kind.set(&mut good, value).err());
            let faults: Vec<String> = faults.collect();
            // A value that is no good still counts as said, so that nothing is complained about that follows from it.
            if faults.is_empty() {
                settings = good;
            }
            mistakes.extend(faults.into_iter().map(|what| Mistake::of_value(setting, &said.origin, &what)));
            if let Some((_, origin)) = origins.iter_mut().find(|(row, _)| std::ptr::eq(*row, setting)) {
                *origin = said.origin;
            }
        }
        let configuration = Configuration { settings, origins };
        mistakes.extend(contradictions::find(server, &configuration));
        if mistakes.is_empty() { Ok(configuration) } else { Err(Mistakes(mistakes)) }
    }

    /// What is not as by default, `name=value` each; of keys only how many.
    pub(crate) fn said(&self) -> Vec<String> {
        let said = self.origins.iter().filter(|(_, origin)| *origin != Origin::Default);
        said.map(|(setting, _)| format!("{}={}", setting.name, print::value(setting, &self.settings)))
            .collect()
    }

    /// Who said a setting.
    fn origin(&self, name: &str) -> &Origin {
        let found = self.origins.iter().find(|(setting, _)| setting.name == name);
        found.map_or(&Origin::Default, |(_, origin)| origin)
    }
}

impl Origin {
    /// Where a setting stands, for people.
    fn place(&self, setting: &Setting) -> String {
        match self {
            Origin::Default => "default".to_owned(),
            Origin::File { path, line, column } => place_in(path, *line, *column),
            Origin::Environment => setting.variable(),
            Origin::Flag => setting.flag(),
        }
    }
}

/// An address to listen on.
///
/// # Errors
/// If it is none.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is an invalid address"))
}

/// An address to listen on where there is neither TLS nor authentication.
///
/// # Errors
/// Why it is none: beyond loopback everything would be readable, and for everybody.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!("{address} is not a loopback address, and this is served on loopback only")),
    }
}

fn place_in(path: &Path, line: usize, column: usize) -> String {
    format!("{}:{line}:{column}", path.display())
}

#[cfg(test)]
mod tests;
