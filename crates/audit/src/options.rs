//! Where does a trail go, and what may be lost of it?

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest time between two checkpoints while there are new records.
pub const CHECKPOINT_SECONDS_MAX: u64 = 60;

/// What a trail is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Rotated files, if wanted.
    pub file: Option<FileOptions>,
    /// A syslog, if wanted.
    pub syslog: Option<SyslogAddress>,
    /// Standard output, if wanted.
    pub stdout: bool,
    /// Where checkpoints are sent beside the trail, so that they show what was cut from its end.
    pub checkpoints: Option<CheckpointsTo>,
    /// A checkpoint is written at least so often while there are new records; at most [`CHECKPOINT_SECONDS_MAX`].
    pub checkpoint_seconds: u64,
    /// Decisions of the last so many milliseconds may be lost in a crash.
    pub loss_ms_max: u64,
    /// Records that wait for one sink; decisions beyond are dropped and counted.
    pub queue_records_max: usize,
    /// Intents that may be without an outcome at one time; further mutating calls are refused.
    pub intents_max: usize,
    /// Refusals of one actor that are recorded each second; those beyond are counted, with whose they were.
    pub refusals_per_second_max: u32,
    /// A sink that does not answer for so long is not able.
    pub hang_ms_max: u64,
    /// A sink that is not able is tried again after so long.
    pub retry_ms: u64,
}

/// Files of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Their directory, made if it is not there. Nothing else may be in it.
    pub directory: PathBuf,
    /// A new file begins when one has so many bytes.
    pub rotate_bytes: u64,
    /// Files that are kept, the one being written included; `None` keeps all.
    pub keep_files: Option<usize>,
}

/// Where checkpoints are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointsTo {
    /// Appended to this file, a line each.
    File(PathBuf),
    /// To a syslog.
    Syslog(SyslogAddress),
}

/// Where a syslog listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A datagram socket in the file system, such as `/dev/log`.
    Unix(PathBuf),
    /// Over TCP, octets counted (RFC 6587).
    Tcp(SocketAddr),
    /// Over UDP: nobody learns whether anything arrives, so this alone is no trail.
    Udp(SocketAddr),
}

/// Why options are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Nothing would be recorded.
    #[error("the audit trail has no sink; name a directory for its files, a syslog, or standard output")]
    NoSink,
    /// Nothing would be known to be recorded.
    #[error(
        "the audit trail goes to a syslog over UDP alone, which never says whether it has a record; add files or standard output, or use tcp: or unix:"
    )]
    NoProof,
    /// A number is out of its range.
    #[error("{name} is {value}; write a number from {min} to {max}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

/// Why a text is no address of a syslog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyslogAddressError {
    /// Of no known kind.
    #[error("`{0}` is no address of a syslog; write unix:/dev/log, tcp:127.0.0.1:601 or udp:127.0.0.1:514")]
    Unknown(String),
    /// Records would be readable on the way.
    #[error(
        "{0} is beyond this machine, where records could be read on the way; let a syslog here pass them on"
    )]
    BeyondLoopback(SocketAddr),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            file: None,
            syslog: None,
            stdout: false,
            checkpoints: None,
            checkpoint_seconds: 30,
            loss_ms_max: 1000,
            queue_records_max: 1 << 16,
            intents_max: 10_000,
            refusals_per_second_max: 100,
            hang_ms_max: 2000,
            retry_ms: 1000,
        }
    }
}

impl FileOptions {
    /// Files in this directory, with the usual numbers.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> FileOptions {
        FileOptions { directory: directory.into(), rotate_bytes: 64 << 20, keep_files: None }
    }
}

impl Options {
    /// Whether a trail can be made of these.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn check(&self) -> Result<(), OptionsError> {
        let is_udp = matches!(self.syslog, Some(SyslogAddress::Udp(_)));
        if self.file.is_none() && !self.stdout {
            match self.syslog {
                None => return Err(OptionsError::NoSink),
                Some(_) if is_udp => return Err(OptionsError::NoProof),
                Some(_) => {}
            }
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let ranges = [
            ("the time between checkpoints in seconds", self.checkpoint_seconds, 1, CHECKPOINT_SECONDS_MAX),
            ("the loss of decisions in milliseconds", self.loss_ms_max, 2, 60_000),
            ("the number of waiting records", count(self.queue_records_max), 1, 1 << 24),
            ("the number of open intents", count(self.intents_max), 1, 1 << 20),
            ("the time limit of a sink in milliseconds", self.hang_ms_max, 10, 600_000),
            ("the time until a sink is tried again in milliseconds", self.retry_ms, 1, 600_000),
        ];
        let of_file = self.file.as_ref().map(|file| {
            let keep = count(file.keep_files.unwrap_or(usize::MAX));
            [
                ("the bytes of an audit file", file.rotate_bytes, 1, 1 << 40),
                ("the number of audit files", keep, 2, u64::MAX),
            ]
        });
        for (name, value, min, max) in ranges.into_iter().chain(of_file.into_iter().flatten()) {
            if !(min..=max).contains(&value) {
                return Err(OptionsError::OutOfRange { name, value, min, max });
            }
        }
        Ok(())
    }
}

impl FromStr for SyslogAddress {
    type Err = SyslogAddressError;

    fn from_str(text: &str) -> Result<SyslogAddress, SyslogAddressError> {
        let unknown = || SyslogAddressError::Unknown(text.chars().take(64).collect());
        let socket = |address: &str| {
            let address: SocketAddr = address.parse().map_err(|_| unknown())?;
            match address.ip().is_loopback() {
                true => Ok(address),
                false => Err(SyslogAddressError::BeyondLoopback(address)),
            }
        };
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(SyslogAddress::Unix(PathBuf::from(path))),
            Some(("tcp", address)) => socket(address).map(SyslogAddress::Tcp),
            Some(("udp", address)) => socket(address).map(SyslogAddress::Udp),
            _ => Err(unknown()),
        }
    }
}

impl std::fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyslogAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            SyslogAddress::Tcp(address) => write!(f, "tcp:{address}"),
            SyslogAddress::Udp(address) => write!(f, "udp:{address}"),
        }
    }
}

impl FromStr for CheckpointsTo {
    type Err = SyslogAddressError;

    /// `syslog:` and an address of one, or the path of a file.
    fn from_str(text: &str) -> Result<CheckpointsTo, SyslogAddressError> {
        match text.strip_prefix("syslog:") {
            Some(address) => address.parse().map(CheckpointsTo::Syslog),
            None => Ok(CheckpointsTo::File(PathBuf::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckpointsTo, FileOptions, Options, OptionsError, SyslogAddress, SyslogAddressError};

    #[test]
    fn an_address_of_a_syslog_is_read_back_as_it_is_shown() {
        for text in ["unix:/dev/log", "tcp:127.0.0.1:601", "udp:[::1]:514"] {
            assert_eq!(text.parse::<SyslogAddress>().unwrap().to_string(), text);
        }
        for bad in ["", "/dev/log", "unix:", "unix:log", "tcp:601", "udp:localhost:514", "http://127.0.0.1"] {
            assert!(matches!(bad.parse::<SyslogAddress>(), Err(SyslogAddressError::Unknown(_))), "{bad}");
        }
        let beyond = "tcp:10.0.0.1:601".parse::<SyslogAddress>();
        assert!(matches!(beyond, Err(SyslogAddressError::BeyondLoopback(_))));
    }

    #[test]
    fn checkpoints_go_to_a_file_or_a_syslog() {
        assert_eq!("/a/b".parse(), Ok(CheckpointsTo::File("/a/b".into())));
        let syslog = CheckpointsTo::Syslog(SyslogAddress::Unix("/dev/log".into()));
        assert_eq!("syslog:unix:/dev/log".parse(), Ok(syslog));
        assert!("syslog:/dev/log".parse::<CheckpointsTo>().is_err());
    }

    #[test]
    fn a_trail_that_would_prove_nothing_is_no_trail() {
        let none = Options::default();
        assert_eq!(none.check(), Err(OptionsError::NoSink));
        let udp = Options { syslog: Some("udp:127.0.0.1:514".parse().unwrap()), ..none.clone() };
        assert_eq!(udp.check(), Err(OptionsError::NoProof));
        assert_eq!(Options { stdout: true, ..udp }.check(), Ok(()));
        let file = Options { file: Some(FileOptions::new("/a")), ..none };
        assert_eq!(file.check(), Ok(()));
        let late = Options { checkpoint_seconds: 61, ..file.clone() };
        assert!(matches!(late.check(), Err(OptionsError::OutOfRange { value: 61, .. })));
        let one = FileOptions { keep_files: Some(1), ..FileOptions::new("/a") };
        assert!(Options { file: Some(one), ..file }.check().is_err());
    }
}
