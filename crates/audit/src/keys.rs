//! Which keys does a trail have? One signs checkpoints, one hashes secrets; who verifies needs only the public one.
//!
//! ```text
//! audit-key   idhini audit key 1
//!             signing 64 hexadecimal digits: the seed of an Ed25519 key
//!             hashing 64 hexadecimal digits: the key of BLAKE3
//!             checksum 64 hexadecimal digits: BLAKE3 of the lines before
//! ```
//!
//! # Invariants
//! * Neither key is shown by `Debug`, an error or a record.
//! * A key file that is damaged is never replaced by a new one: then nothing that was signed before could be verified.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::hex;

const TITLE: &str = "idhini audit key 1\n";
/// What a public key looks like as text.
const PUBLIC_PREFIX: &str = "idhini-audit-ed25519:";
/// Only its owner's business.
const FILE_MODE: u32 = 0o600;
/// Such files are far shorter.
const BYTES_MAX: u64 = 4096;

/// The keys of a data directory's trail.
pub struct Keys {
    signing: Ed25519KeyPair,
    public: PublicKey,
    hashing: [u8; 32],
}

/// What a key is made of: drawn at random, once.
pub struct Seeds {
    /// Of the key that signs.
    pub signing: [u8; 32],
    /// The key that hashes.
    pub hashing: [u8; 32],
}

/// The key that checkpoints are verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A secret's keyed hash: the same secret has the same in all records of a data directory, and nobody without the key can
/// try secrets against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file is not what was written.
    #[error(
        "{} is damaged: {what}; restore it, or move it and the audit files away to begin a new trail",
        .path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The disk does not do it.
    #[error("{}: {source}", .path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no public key of an audit trail; one is printed by `idhini audit checkpoint`")]
pub struct PublicKeyError;

impl Keys {
    /// Keys of these seeds.
    ///
    /// # Errors
    /// If the library of signatures does not take the seed, which it takes whatever it is.
    pub fn new(seeds: &Seeds) -> io::Result<Keys> {
        let signing = Ed25519KeyPair::from_seed_unchecked(&seeds.signing).map_err(io::Error::other)?;
        let public = signing.public_key().as_ref().try_into().map_err(io::Error::other)?;
        Ok(Keys { signing, public: PublicKey(public), hashing: seeds.hashing })
    }

    /// Those that a file holds; `None` if there is no such file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Option<Keys>, KeyError> {
        let disk = |source| KeyError::Disk { path: path.to_owned(), source };
        let damaged = |what| KeyError::Damaged { path: path.to_owned(), what };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk(error)),
            Ok(metadata) if metadata.len() > BYTES_MAX => return Err(damaged("it is too long")),
            Ok(_) => {}
        }
        let bytes = fs::read(path).map_err(disk)?;
        let text = String::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
        let (lines, checksum) = text.rsplit_once("checksum ").ok_or(damaged("it has no checksum"))?;
        if checksum.trim_end() != blake3::hash(lines.as_bytes()).to_hex().as_str() {
            return Err(damaged("its checksum does not fit"));
        }
        let fields = lines.strip_prefix(TITLE).ok_or(damaged("its first line"))?;
        let field = |name: &str| fields.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let seeds = Seeds {
            signing: field("signing").and_then(hex::read).ok_or(damaged("its signing key"))?,
            hashing: field("hashing").and_then(hex::read).ok_or(damaged("its hashing key"))?,
        };
        Keys::new(&seeds).map(Some).map_err(disk)
    }

    /// Those that a file holds, made at the first time; durable on return.
    ///
    /// # Errors
    /// [`KeyError`], or what drawing seeds failed with.
    pub fn read_or_make<E: From<KeyError>>(
        path: &Path,
        seeds: impl FnOnce() -> Result<Seeds, E>,
    ) -> Result<Keys, E> {
        if let Some(keys) = Keys::read(path)? {
            return Ok(keys);
        }
        let seeds = seeds()?;
        let disk = |source| KeyError::Disk { path: path.to_owned(), source };
        seeds.write(path).map_err(disk)?;
        Ok(Keys::new(&seeds).map_err(disk)?)
    }

    /// The key to verify with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// A secret's keyed hash, as it stands in records.
    #[must_use]
    pub fn secret_hash(&self, secret: &[u8]) -> SecretHash {
        SecretHash(*blake3::keyed_hash(&self.hashing, secret).as_bytes())
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        let signed = self.signing.sign(text);
        for (into, byte) in signature.iter_mut().zip(signed.as_ref()) {
            *into = *byte;
        }
        signature
    }
}

/// Keys stay secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("public", &self.public).finish_non_exhaustive()
    }
}

impl fmt::Debug for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeds").finish_non_exhaustive()
    }
}

impl Seeds {
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut text =
            format!("{TITLE}signing {}\nhashing {}\n", hex::text(&self.signing), hex::text(&self.hashing));
        text.push_str(&format!("checksum {}\n", blake3::hash(text.as_bytes()).to_hex()));
        let unfinished = path.with_extension("unfinished");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        File::open(above.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl PublicKey {
    /// What records call it by.
    #[must_use]
    pub fn id(&self) -> String {
        hex::text(blake3::hash(&self.0).as_bytes()).chars().take(16).collect()
    }

    pub(crate) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(text, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", hex::text(&self.0))
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<PublicKey, PublicKeyError> {
        let digits = text.trim().strip_prefix(PUBLIC_PREFIX).ok_or(PublicKeyError)?;
        hex::read(digits).map(PublicKey).ok_or(PublicKeyError)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::text(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{KeyError, Keys, PublicKey, Seeds};
    use crate::tests::scratch::Scratch;

    fn seeds(byte: u8) -> Result<Seeds, KeyError> {
        Ok(Seeds { signing: [byte; 32], hashing: [byte + 1; 32] })
    }

    #[test]
    fn keys_are_made_once_and_are_their_owners_alone() {
        let scratch = Scratch::new();
        let path = scratch.path("audit-key");
        let made = Keys::read_or_make(&path, || seeds(7)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Keys::read_or_make::<KeyError>(&path, || panic!("there is a key")).unwrap();
        assert_eq!(made.public(), again.public());
        assert_eq!(made.secret_hash(b"a"), again.secret_hash(b"a"));
        assert_ne!(made.secret_hash(b"a"), made.secret_hash(b"b"));
        let other = Keys::new(&seeds(9).unwrap()).unwrap();
        assert_ne!(made.secret_hash(b"a"), other.secret_hash(b"a"));
    }

    #[test]
    fn a_damaged_key_is_no_reason_to_make_another() {
        let scratch = Scratch::new();
        let path = scratch.path("audit-key");
        Keys::read_or_make(&path, || seeds(7)).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let read = Keys::read_or_make(&path, || seeds(9));
            assert!(matches!(read, Err(KeyError::Damaged { .. })), "{at}");
            assert_eq!(std::fs::read(&path).unwrap(), bad);
        }
    }

    #[test]
    fn neither_key_is_shown() {
        let keys = Keys::new(&seeds(0xab).unwrap()).unwrap();
        let shown = format!("{keys:?} {:?}", seeds(0xab).unwrap());
        assert!(!shown.contains("abab") && !shown.contains("171") && !shown.contains("172"), "{shown}");
        assert_eq!(keys.public().to_string().parse(), Ok(keys.public()));
        assert!("idhini-audit-ed25519:12".parse::<PublicKey>().is_err());
    }
}
