//! An authority of our own, for those who have none: whom does it certify, and until when?
//!
//! A directory with a certificate and its key. Whoever has the key can be anybody to those who trust the certificate.
//!
//! # Invariants
//! * Private keys are written for their owner alone (0600), shown nowhere, and never in a log.
//! * An authority is never written over; what it issued is replaced as a whole, the key first.
//! * No certificate lasts longer than the authority's own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use idhini_model::Timestamp;
use idhini_server::{CertificateFacts, certificate_facts};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What the files of a directory are called.
pub(crate) const CERTIFICATE: &str = "ca.pem";
pub(crate) const KEY: &str = "ca-key.pem";
/// Clocks of others may be behind by so much, in seconds.
pub(crate) const BACKDATED_SECONDS: i64 = 5 * 60;
/// Characters of a line of PEM.
const LINE: usize = 64;
/// Longest name of a host, and of a SPIFFE id.
const DNS_BYTES_MAX: usize = 253;
const SPIFFE_BYTES_MAX: usize = 1_024;
const SPIFFE: &str = "spiffe://";
/// What others may do with a directory or a key: nothing. Certificates are for everybody.
const DIRECTORY_MODE: u32 = 0o700;
const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Dns(String),
    Ip(IpAddr),
    Spiffe(String),
}

/// What a certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Usage {
    /// For servers and clients alike
    Both,
    /// For servers only
    Server,
    /// For clients only
    Client,
}

/// Certificates and the key that signs them.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    facts: CertificateFacts,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) until: Timestamp,
}

/// Why nothing is certified.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error("{CERTIFICATE} is no certificate as PEM")]
    Certificate,
    #[error("{KEY} is no private key as PEM that can be used")]
    Key,
    #[error("{KEY} is not the key of {CERTIFICATE}")]
    OtherKey,
    #[error("its certificate has ended, at {until}")]
    Ended { until: Timestamp },
    #[error("a certificate cannot be made: {0}")]
    Making(#[from] rcgen::Error),
}

impl Name {
    /// An address, a SPIFFE id, or else a DNS name.
    ///
    /// # Errors
    /// Why it is none of these.
    pub(crate) fn read(text: &str) -> Result<Name, String> {
        match text.parse() {
            Ok(ip) => Ok(Name::Ip(ip)),
            Err(_) if text.starts_with(SPIFFE) => Name::spiffe(text),
            Err(_) => Name::dns(text),
        }
    }

    /// # Errors
    /// Why it is none.
    pub(crate) fn dns(text: &str) -> Result<Name, String> {
        let fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        match text.len() <= DNS_BYTES_MAX && text.split('.').all(fits) {
            true => Ok(Name::Dns(text.to_owned())),
            false => Err(format!("`{text}` is not a name such as idhini.example")),
        }
    }

    /// # Errors
    /// Why it is none.
    pub(crate) fn spiffe(text: &str) -> Result<Name, String> {
        let domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        let segment = |part: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !matches!(part, "" | "." | "..") && part.bytes().all(fits)
        };
        let parts = text.strip_prefix(SPIFFE).map(|rest| rest.split('/'));
        let is_one = parts.is_some_and(|mut parts| {
            let of_domain = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(domain));
            of_domain && parts.all(segment)
        });
        match is_one && text.len() <= SPIFFE_BYTES_MAX {
            true => Ok(Name::Spiffe(text.to_owned())),
            false => Err(format!("`{text}` is not a SPIFFE id such as spiffe://example.org/billing")),
        }
    }

    fn for_certificate(&self) -> Result<SanType, AuthorityError> {
        Ok(match self {
            Name::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Name::Ip(address) => SanType::IpAddress(*address),
            Name::Spiffe(id) => SanType::URI(id.as_str().try_into()?),
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::Dns(text) | Name::Spiffe(text) => f.write_str(text),
            Name::Ip(address) => address.fmt(f),
        }
    }
}

impl Authority {
    /// A new one of this name, and what to write down of it.
    pub(crate) fn make(name: &str, lifetime_seconds: u64, now: Timestamp) -> Result<Issued, AuthorityError> {
        let (mut params, until) = lasting(lifetime_seconds, now, None);
        params.distinguished_name.push(DnType::CommonName, name);
        // It certifies nobody who certifies others.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Issued { certificate, key: as_der(&key), until })
    }

    /// What is in files.
    pub(crate) fn of_pem(certificate: &[u8], key: &[u8]) -> Result<Authority, AuthorityError> {
        let certificate =
            CertificateDer::from_pem_slice(certificate).map_err(|_| AuthorityError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| AuthorityError::Key)?;
        let facts = certificate_facts(&certificate).ok_or(AuthorityError::Certificate)?;
        let pair = KeyPair::try_from(&key).map_err(|_| AuthorityError::Key)?;
        let provider = aws_lc_rs::default_provider();
        CertifiedKey::from_der(vec![certificate.clone()], key, &provider)
            .map_err(|_| AuthorityError::OtherKey)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, pair)?;
        Ok(Authority { certificate, issuer, facts })
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Certifies these names, from now on.
    pub(crate) fn issue(
        &self,
        names: &[Name],
        usage: Usage,
        lifetime_seconds: u64,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let CertificateFacts { until, .. } = self.facts;
        if now >= until {
            return Err(AuthorityError::Ended { until });
        }
        let (mut params, until) = lasting(lifetime_seconds, now, Some(until));
        params.subject_alt_names = names.iter().map(Name::for_certificate).collect::<Result<_, _>>()?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok(Issued { certificate, key: as_der(&key), until })
    }
}

impl Issued {
    /// Both as PEM, the key second.
    pub(crate) fn as_pem(&self) -> (String, String) {
        (pem("CERTIFICATE", &self.certificate), pem("PRIVATE KEY", self.key.secret_der()))
    }
}

fn as_der(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

/// From a little before now, for so long, and when that is over; never beyond `end`.
fn lasting(lifetime_seconds: u64, now: Timestamp, end: Option<Timestamp>) -> (CertificateParams, Timestamp) {
    let lifetime = i64::try_from(lifetime_seconds).unwrap_or(i64::MAX);
    // The last moment that has a name here; certificates could name one more day.
    const LAST: i64 = 253_402_207_200;
    let until = now.seconds().saturating_add(lifetime).min(end.map_or(LAST, Timestamp::seconds)).min(LAST);
    let at = |seconds: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.max(0).unsigned_abs());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = at(now.seconds().saturating_sub(BACKDATED_SECONDS));
    params.not_after = at(until);
    (params, Timestamp::from_seconds(until))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Makes a directory that is its owner's, if it is not there.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Writes a certificate and its key so that whoever reads has the old file or the new one of each.
pub(crate) fn write(issued: &Issued, certificate: &Path, key: &Path) -> Result<(), (PathBuf, io::Error)> {
    let (certificate_text, key_text) = issued.as_pem();
    replace(key, &key_text, KEY_MODE).map_err(|error| (key.to_owned(), error))?;
    replace(certificate, &certificate_text, CERTIFICATE_MODE).map_err(|error| (certificate.to_owned(), error))
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let unfinished = path.with_added_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(above)?.sync_all()
}

#[cfg(test)]
mod tests;
