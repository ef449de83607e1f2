//! How is a server observed: where do its log, its traces and its metrics go?

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::loopback;

/// Where metrics are served unless it is said.
pub(crate) const METRICS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Where everything over HTTP is served unless it is said.
pub(crate) const HTTP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// Listens nowhere.
const OFF: &str = "off";

/// What is said about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observing {
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: LogLevel,
    pub(crate) otlp_endpoint: Option<String>,
    /// The part of the traces begun here that is kept.
    pub(crate) otlp_sampling: f64,
    /// None if nothing was said: then a port that is taken is no failure.
    pub(crate) metrics_addr: Option<ListenAddress>,
    pub(crate) profiling: bool,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Where else than at its own address a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    Off,
    At(SocketAddr),
}

/// As they are written.
pub(super) const LOG_FORMATS: [(&str, LogFormat); 3] =
    [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
pub(super) const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

impl Default for Observing {
    fn default() -> Observing {
        Observing {
            log_format: LogFormat::Auto,
            log_level: LogLevel::Info,
            otlp_endpoint: None,
            otlp_sampling: 1.0,
            metrics_addr: None,
            profiling: false,
        }
    }
}

/// The name of one of these.
pub(super) fn name<T: PartialEq>(all: &[(&str, T)], value: &T) -> Option<String> {
    all.iter().find(|(_, known)| known == value).map(|(name, _)| (*name).to_owned())
}

/// One of these, by name.
///
/// # Errors
/// If there is none.
pub(super) fn named<T: Copy>(all: &[(&str, T)], text: &str) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("there is no `{text}`"))
}

pub(super) fn show_address(address: Option<ListenAddress>, unless_said: SocketAddr) -> String {
    match address.unwrap_or(ListenAddress::At(unless_said)) {
        ListenAddress::Off => OFF.to_owned(),
        ListenAddress::At(address) => address.to_string(),
    }
}

/// An address that need not be a loopback one.
///
/// # Errors
/// If it is none.
pub(super) fn any_address(text: &str) -> Result<ListenAddress, String> {
    if text == OFF { Ok(ListenAddress::Off) } else { super::address(text).map(ListenAddress::At) }
}

/// # Errors
/// If it is none.
pub(super) fn address(text: &str) -> Result<ListenAddress, String> {
    if text == OFF { Ok(ListenAddress::Off) } else { loopback(text).map(ListenAddress::At) }
}

/// # Errors
/// If it is none.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let is_one = text.strip_prefix("http://").is_some_and(|rest| !rest.is_empty());
    match is_one && text.parse::<http::Uri>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is not a plain HTTP address")),
    }
}

/// # Errors
/// If it is none.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(format!("`{text}` is not a number from 0 to 1")),
    }
}
