//! Which token does a server of this machine want? The file in which servers leave it for the command line.
//!
//! ```toml
//! [[server]]
//! address = "127.0.0.1:50051"
//! token = "idhini_root_…"
//! namespace = "team_a"
//! tls = true
//! ca-file = "/etc/idhini/ca/ca.pem"
//! ```
//! The namespace is what is asked about unless something else is said; people write it, servers never do.
//!
//! How a server is reached over TLS is said as on the command line: `tls`, `ca-file`, `client-cert`, `client-key`,
//! `tls-pin`. A server writes the first two; people may write the others.
//!
//! A server is known by its token, not by its address: when another listens there, the entry stays and loses its address,
//! and gets one again at the server's next start.
//!
//! # Invariants
//! * The file is its owner's alone: one with a looser mode than 0600 is neither believed nor written.
//! * It is replaced as a whole, by one process at a time: a reader sees the old one or the new one.
//! * An address is in one entry at most, unless a person wrote it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use idhini_server::PinError;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use crate::arguments::Security;

/// The variable that names the file.
const VARIABLE: &str = "IDHINI_CLIENT_FILE";
/// Below the user's configuration directory.
const BELOW: &str = "idhini/client.toml";
/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Servers of one file.
const ENTRIES_MAX: usize = 1_000;
/// What others may do with it: nothing.
const MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const OTHERS: u32 = 0o077;
/// How often, and how long apart, the file is asked for while another process changes it.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const COMMENT: &str = "# Tokens of servers on this machine, for the command line; written by `idhini serve`. Whoever has one may do\n# everything there: keep this file to yourself.\n";

/// A server's token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it listens, or did last; none if another server listens there now.
    pub(crate) address: Option<String>,
    pub(crate) token: String,
    /// Whether the token ends with the server.
    pub(crate) is_ephemeral: bool,
    /// What is asked about with it unless something else is said.
    pub(crate) namespace: Option<String>,
    pub(crate) security: Security,
}

/// Where a server listens, and how it is reached there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) address: &'a str,
    pub(crate) security: &'a Security,
}

impl Entry {
    /// The server is here now; answers whether that is new. What only a person says of it stays while it speaks TLS.
    pub(crate) fn put(&mut self, place: Place<'_>) -> bool {
        let before = (self.address.clone(), self.security.clone());
        self.address = Some(place.address.to_owned());
        self.security = match place.security.is_on() {
            true => place.security.clone().or(std::mem::take(&mut self.security)),
            false => Security::default(),
        };
        before != (self.address.clone(), self.security.clone())
    }
}

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientFileError {
    #[error("there is no home directory to keep tokens in")]
    Nowhere,
    #[error("{}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("{} holds tokens, and others than its owner may use it: its mode is {mode:o}", path.display())]
    Loose { path: PathBuf, mode: u32 },
    #[error("{} is no file of tokens: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{} has {ENTRIES_MAX} servers", path.display())]
    Full { path: PathBuf },
    #[error("{} is being changed by another process that does not end", path.display())]
    Busy { path: PathBuf },
}

impl ClientFileError {
    /// What helps.
    pub(crate) fn remedy(&self) -> String {
        match self {
            ClientFileError::Nowhere => format!("set {VARIABLE} to a file that may be written"),
            ClientFileError::Disk { .. } => {
                format!("make it readable and writable for you, or set {VARIABLE}")
            }
            ClientFileError::Loose { path, .. } => format!("chmod 600 {}", path.display()),
            ClientFileError::Damaged { .. } => {
                "correct it, or move it away and make a new token with `idhini token reset`".to_owned()
            }
            ClientFileError::Full { .. } => "take servers out that are gone".to_owned(),
            ClientFileError::Busy { .. } => "see which process has its lock file open".to_owned(),
        }
    }
}

/// The file, which need not be there yet.
pub(crate) struct ClientFile {
    path: PathBuf,
}

impl ClientFile {
    /// That of this user.
    ///
    /// # Errors
    /// [`ClientFileError::Nowhere`].
    pub(crate) fn of_user() -> Result<ClientFile, ClientFileError> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = variable(VARIABLE)
            .or_else(|| Some(variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute())?.join(BELOW)))
            .or_else(|| Some(variable("HOME")?.join(".config").join(BELOW)))
            .ok_or(ClientFileError::Nowhere)?;
        Ok(ClientFile { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the server at an address.
    ///
    /// # Errors
    /// If there is a file and it cannot be used.
    pub(crate) fn entry(&self, address: &str) -> Result<Option<Entry>, ClientFileError> {
        let names = names(address);
        let is_there = |entry: &Entry| entry.address.as_ref().is_some_and(|address| names.contains(address));
        Ok(self.read()?.into_iter().find(is_there))
    }

    /// All entries; none if there is no file.
    pub(crate) fn read(&self) -> Result<Vec<Entry>, ClientFileError> {
        let disk = |source| ClientFileError::Disk { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            opened => opened.map_err(disk)?,
        };
        let mode = file.metadata().map_err(disk)?.permissions().mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(ClientFileError::Loose { path: self.path.clone(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(disk)?;
        let damaged = |what: String| ClientFileError::Damaged { path: self.path.clone(), what };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(damaged(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        parse(&text).map_err(damaged)
    }

    /// Changes the entries; `change` says whether anything is to be written.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Entry>) -> bool) -> Result<(), ClientFileError> {
        let disk = |source| ClientFileError::Disk { path: self.path.clone(), source };
        // Where a link leads, so that the link stays.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let directory = match path.parent() {
            Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
            _ => PathBuf::from("."),
        };
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&directory).map_err(disk)?;
        let lock =
            private().create(true).truncate(false).open(path.with_added_extension("lock")).map_err(disk)?;
        self.hold(&lock)?;
        let mut entries = self.read()?;
        if !change(&mut entries) {
            return Ok(());
        }
        while entries.len() > ENTRIES_MAX {
            let oldest = entries.iter().position(|entry| entry.is_ephemeral);
            entries.remove(oldest.ok_or_else(|| ClientFileError::Full { path: self.path.clone() })?);
        }
        let unfinished = path.with_added_extension("unfinished");
        let write = || {
            match std::fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = private().create_new(true).open(&unfinished)?;
            file.write_all(text(&entries).as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(&directory)?.sync_all()
        };
        write().map_err(disk)
    }

    /// Waits for whoever changes the file at present.
    fn hold(&self, lock: &File) -> Result<(), ClientFileError> {
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(()),
                Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(ClientFileError::Disk { path: self.path.clone(), source });
                }
            }
        }
        Err(ClientFileError::Busy { path: self.path.clone() })
    }
}

/// Takes an address from whoever had it; answers whether anybody had.
pub(crate) fn vacate(entries: &mut Vec<Entry>, address: &str) -> bool {
    let mut had = false;
    for entry in entries.iter_mut().filter(|entry| entry.address.as_deref() == Some(address)) {
        entry.address = None;
        had = true;
    }
    // Nothing brings these back.
    entries.retain(|entry| !entry.is_ephemeral || entry.address.is_some());
    had
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(MODE);
    options
}

/// What a server at this address may have written down.
fn names(address: &str) -> Vec<String> {
    let mut names = vec![address.to_owned()];
    if let Some(port) = address.strip_prefix("localhost:") {
        names.extend([format!("127.0.0.1:{port}"), format!("[::1]:{port}")]);
    }
    // Whoever listens everywhere listens here.
    for (local, everywhere) in [("127.0.0.1:", "0.0.0.0"), ("[::1]:", "[::]"), ("localhost:", "0.0.0.0")] {
        if let Some(port) = address.strip_prefix(local) {
            names.push(format!("{everywhere}:{port}"));
        }
    }
    names
}

/// No text of the file but names of keys is repeated in the reason.
fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line} is no TOML")
    })?;
    let mut entries = Vec::new();
    for (name, value) in document.get_ref() {
        let servers = match (name.get_ref().as_ref(), value.get_ref()) {
            ("server", DeValue::Array(servers)) => servers,
            ("server", _) => return Err("`server` is written [[server]]".to_owned()),
            (other, _) => return Err(format!("it has `{other}`, and knows only [[server]]")),
        };
        for server in servers.iter() {
            let server = server.get_ref();
            let text = |name: &str| {
                let value = server.as_table().and_then(|table| table.get(name));
                value.and_then(|value| value.get_ref().as_str()).map(str::to_owned)
            };
            let switch = |name: &str| {
                let value = server.as_table().and_then(|table| table.get(name));
                value.and_then(|value| value.get_ref().as_bool()) == Some(true)
            };
            let path = |name: &str| text(name).map(PathBuf::from);
            let pins = text("tls-pin").unwrap_or_default();
            let pins = pins.split(',').map(str::trim).filter(|pin| !pin.is_empty()).map(str::parse);
            entries.push(Entry {
                address: text("address"),
                token: text("token").ok_or("a server has no token")?,
                is_ephemeral: switch("ephemeral"),
                namespace: text("namespace"),
                security: Security {
                    is_tls: switch("tls"),
                    ca_file: path("ca-file"),
                    client_cert: path("client-cert"),
                    client_key: path("client-key"),
                    tls_pin: pins
                        .collect::<Result<_, PinError>>()
                        .map_err(|error| format!("a `tls-pin` is none: {error}"))?,
                },
            });
        }
    }
    Ok(entries)
}

fn text(entries: &[Entry]) -> String {
    let mut text = COMMENT.to_owned();
    for Entry { address, token, is_ephemeral, namespace, security } in entries {
        text.push_str("\n[[server]]\n");
        // A JSON string is a TOML string; addresses and tokens have no control characters.
        if let Some(address) = address {
            text.push_str(&format!("address = {}\n", Value::from(address.as_str())));
        }
        text.push_str(&format!("token = {}\n", Value::from(token.as_str())));
        if *is_ephemeral {
            text.push_str("ephemeral = true\n");
        }
        if let Some(namespace) = namespace {
            text.push_str(&format!("namespace = {}\n", Value::from(namespace.as_str())));
        }
        if security.is_tls {
            text.push_str("tls = true\n");
        }
        let Security { ca_file, client_cert, client_key, tls_pin, .. } = security;
        for (name, path) in [("ca-file", ca_file), ("client-cert", client_cert), ("client-key", client_key)] {
            if let Some(path) = path {
                text.push_str(&format!("{name} = {}\n", Value::from(path.to_string_lossy())));
            }
        }
        if !tls_pin.is_empty() {
            let pins: Vec<String> = tls_pin.iter().map(ToString::to_string).collect();
            text.push_str(&format!("tls-pin = {}\n", Value::from(pins.join(","))));
        }
    }
    text
}

#[cfg(test)]
mod tests;
