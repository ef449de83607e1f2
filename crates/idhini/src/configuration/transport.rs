//! How is what a server says protected on its way, and how do clients prove who they are?

use std::path::PathBuf;

use idhini_server::{ClientAuth, Pin};

/// How long a certificate lasts that the server issues to itself, in seconds: a day.
const LIFETIME_SECONDS: u64 = 24 * 60 * 60;
/// Between several names or pins.
const SEPARATOR: char = ',';

/// What is said about it.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
    /// The directory of the own authority.
    pub(crate) ca_dir: Option<PathBuf>,
    /// What the certificate is for that the own authority issues; by the address and the machine's name if empty.
    pub(crate) names: Vec<String>,
    pub(crate) lifetime_seconds: u64,
    pub(crate) client_ca_file: Option<PathBuf>,
    /// None if nothing was said: then certificates are required of clients if their authorities are named.
    pub(crate) client_auth: Option<ClientAuth>,
    pub(crate) peer_pins: Vec<Pin>,
    pub(crate) min_version: Version,
}

/// Of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// As they are written.
pub(super) const CLIENT_AUTHS: [(&str, ClientAuth); 3] =
    [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
pub(super) const VERSIONS: [(&str, Version); 2] = [("1.2", Version::Tls12), ("1.3", Version::Tls13)];

impl Default for Transport {
    fn default() -> Transport {
        Transport {
            cert_file: None,
            key_file: None,
            ca_dir: None,
            names: Vec::new(),
            lifetime_seconds: LIFETIME_SECONDS,
            client_ca_file: None,
            client_auth: None,
            peer_pins: Vec::new(),
            min_version: Version::Tls13,
        }
    }
}

impl Transport {
    /// Whether there is something to speak TLS with.
    pub(crate) fn is_secured(&self) -> bool {
        self.cert_file.is_some() || self.ca_dir.is_some()
    }

    /// What is asked of clients.
    pub(crate) fn client_auth(&self) -> ClientAuth {
        let unless_said = if self.client_ca_file.is_some() { ClientAuth::Required } else { ClientAuth::Off };
        self.client_auth.unwrap_or(unless_said)
    }
}

/// # Errors
/// Which of them is none.
pub(super) fn pins(text: &str) -> Result<Vec<Pin>, String> {
    let pin = |text: &str| text.trim().parse().map_err(|error| format!("`{text}` is not a pin: {error}"));
    text.split(SEPARATOR).map(pin).collect()
}

/// # Errors
/// Which of them is none.
pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    let name = |text: &str| {
        let name = text.trim();
        crate::authority::Name::read(name).map(|_| name.to_owned())
    };
    text.split(SEPARATOR).map(name).collect()
}

/// Several, as they are written.
pub(super) fn together(all: impl IntoIterator<Item = impl ToString>) -> Option<String> {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    Some(all.join(",")).filter(|text| !text.is_empty())
}
