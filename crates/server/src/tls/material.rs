//! What is TLS spoken with: a certificate with its chain, its key, and the authorities of clients?
//!
//! # Invariants
//! * It is judged as a whole before any of it is used: the key is that of the certificate, which counts now.

use std::fmt;

use idhini_model::Timestamp;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, Error, InconsistentKeys};

use super::names::{CertificateFacts, certificate_facts};
use super::pins::Fingerprint;

/// A certificate, the way to its authority, its key, and whose certificates clients may have.
pub struct TlsMaterial {
    /// The server's own first.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) client_authorities: Vec<CertificateDer<'static>>,
}

/// Which part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPart {
    /// The certificate, with those between it and its authority.
    Certificate,
    /// Its private key.
    Key,
    /// The certificates of clients' authorities.
    ClientAuthorities,
}

/// Why something cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is nothing of the kind in it.
    #[error("there is no {0} in it, as PEM")]
    Missing(TlsPart),
    /// It is no PEM.
    #[error("it is no PEM: {source}")]
    Malformed {
        /// In which part.
        part: TlsPart,
        /// What is wrong.
        source: pem::Error,
    },
    /// It is none that can be used.
    #[error("the {part} cannot be used: {source}")]
    Unusable {
        /// Which part.
        part: TlsPart,
        /// What is wrong.
        source: Error,
    },
    /// Certificate and key do not belong together.
    #[error("the key is not that of the certificate")]
    OtherKey,
    /// It counts no longer.
    #[error("the certificate has ended, at {until}")]
    Ended {
        /// When it ended.
        until: Timestamp,
    },
    /// It does not count yet.
    #[error("the certificate begins only at {from}")]
    NotYet {
        /// When it begins.
        from: Timestamp,
    },
    /// The cryptography itself fails.
    #[error("TLS cannot be set up: {0}")]
    Provider(#[source] Error),
}

impl TlsMaterial {
    /// From files' bytes; of authorities there may be none.
    ///
    /// # Errors
    /// [`TlsError::Missing`] and [`TlsError::Malformed`]. Whether it can be used is judged where it is.
    pub fn of_pem(
        certificate: &[u8],
        key: &[u8],
        client_authorities: Option<&[u8]>,
    ) -> Result<TlsMaterial, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::Missing(TlsPart::Key),
            source => TlsError::Malformed { part: TlsPart::Key, source },
        })?;
        let certificates = certificates(certificate, TlsPart::Certificate)?;
        let client_authorities = match client_authorities {
            Some(text) => certificates_of_authorities(text)?,
            None => Vec::new(),
        };
        Ok(TlsMaterial { certificates, key, client_authorities })
    }

    /// As it is: the server's certificate first, behind it those up to its authority.
    #[must_use]
    pub fn new(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        client_authorities: Vec<CertificateDer<'static>>,
    ) -> TlsMaterial {
        TlsMaterial { certificates, key, client_authorities }
    }

    fn own(&self) -> Result<&CertificateDer<'static>, TlsError> {
        self.certificates.first().ok_or(TlsError::Missing(TlsPart::Certificate))
    }

    pub(super) fn fingerprint(&self) -> Result<Fingerprint, TlsError> {
        self.own().map(|own| Fingerprint::of(own))
    }

    /// What the certificate says, if it counts now.
    pub(super) fn judge(&self, now: Timestamp) -> Result<CertificateFacts, TlsError> {
        let (part, source) = (TlsPart::Certificate, Error::InvalidCertificate(CertificateError::BadEncoding));
        let facts = certificate_facts(self.own()?).ok_or(TlsError::Unusable { part, source })?;
        let (from, until) = (facts.from, facts.until);
        if now > until {
            return Err(TlsError::Ended { until });
        }
        if now < from {
            return Err(TlsError::NotYet { from });
        }
        Ok(facts)
    }
}

impl TlsError {
    /// What is to be changed.
    #[must_use]
    pub fn part(&self) -> TlsPart {
        match self {
            TlsError::Missing(part) | TlsError::Malformed { part, .. } | TlsError::Unusable { part, .. } => {
                *part
            }
            TlsError::OtherKey => TlsPart::Key,
            TlsError::Ended { .. } | TlsError::NotYet { .. } | TlsError::Provider(_) => TlsPart::Certificate,
        }
    }

    /// Why a certificate and a key are not taken together.
    pub(super) fn of_identity(error: Error) -> TlsError {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::OtherKey,
            source @ Error::InvalidCertificate(_) => {
                TlsError::Unusable { part: TlsPart::Certificate, source }
            }
            source => TlsError::Unusable { part: TlsPart::Key, source },
        }
    }
}

impl fmt::Display for TlsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsPart::Certificate => "certificate",
            TlsPart::Key => "private key",
            TlsPart::ClientAuthorities => "certificate of an authority",
        })
    }
}

/// The key stays secret.
impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TlsMaterial { certificates, client_authorities, .. } = self;
        f.debug_struct("TlsMaterial")
            .field("certificates", &certificates.len())
            .field("client_authorities", &client_authorities.len())
            .finish_non_exhaustive()
    }
}

fn certificates_of_authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(text, TlsPart::ClientAuthorities)
}

/// At least one.
fn certificates(text: &[u8], part: TlsPart) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    match found.map_err(|source| TlsError::Malformed { part, source })? {
        none if none.is_empty() => Err(TlsError::Missing(part)),
        some => Ok(some),
    }
}
