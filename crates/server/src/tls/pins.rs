//! Which certificate is meant, of all that are verified? One with this fingerprint, or of this name.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use rustls::pki_types::CertificateDer;

/// What fingerprints begin with.
const SHA256_PREFIX: &str = "sha256:";

/// SHA-256 of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; SHA256_OUTPUT_LEN]);

/// What a certificate is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// This certificate and no other.
    Fingerprint(Fingerprint),
    /// Any of this name: a SPIFFE id, a DNS name or a common name, as a client is known by.
    Name(String),
}

/// Why a text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not as many digits as a fingerprint has.
    #[error(
        "a fingerprint is `{SHA256_PREFIX}` and 64 hexadecimal digits, with or without colons between them"
    )]
    Fingerprint,
    /// Not a name either.
    #[error("a name has printable ASCII, without spaces, commas and `*`")]
    Name,
}

impl Fingerprint {
    /// Of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Fingerprint {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
        Fingerprint(bytes)
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Pin, PinError> {
        let digits = match text.get(..SHA256_PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(SHA256_PREFIX) => &text[SHA256_PREFIX.len()..],
            // Whoever leaves the prefix out means no name.
            _ if is_digits(text) => return Err(PinError::Fingerprint),
            _ => return name(text),
        };
        let digits: String = digits.chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        if digits.len() != 2 * bytes.len() || !digits.is_ascii() {
            return Err(PinError::Fingerprint);
        }
        for (byte, digits) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let mut digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
            let value = digits.try_fold(0, |value, digit| Some(value * 16 + digit?));
            *byte = value.and_then(|value| u8::try_from(value).ok()).ok_or(PinError::Fingerprint)?;
        }
        Ok(Pin::Fingerprint(Fingerprint(bytes)))
    }
}

fn is_digits(text: &str) -> bool {
    text.len() >= 2 * SHA256_OUTPUT_LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
}

fn name(text: &str) -> Result<Pin, PinError> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'*' | b',');
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(Pin::Name(text.to_owned())),
        false => Err(PinError::Name),
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Fingerprint(fingerprint) => fingerprint.fmt(f),
            Pin::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHA256_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write!(text, "{self}")?;
        f.write_str(&text)
    }
}
