//! Whom does a certificate name?
//!
//! A client is known by its SPIFFE id, else by its first DNS name, else by its common name: a name of one kind is never
//! read where one of a better kind stands, and never taken for one.
//!
//! # Invariants
//! * A name is taken as it is written or not at all: printable ASCII without a space, nothing folded, no `*`.
//! * Only a SPIFFE id has `:` or `/`: no common name and no DNS name can look like one.
//! * A certificate with two SPIFFE ids names nobody (SPIFFE, X.509-SVID, section 2).

use idhini_model::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What SPIFFE ids begin with.
const SPIFFE: &str = "spiffe://";
/// Longest name; the control plane grants roles to none that are longer.
const NAME_BYTES_MAX: usize = 1_024;

/// What a certificate says; nothing of it is verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// When it begins to count.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    spiffe_ids: Vec<String>,
    dns_names: Vec<String>,
    common_name: Option<String>,
}

/// Reads a certificate; `None` if it is none.
#[must_use]
pub fn certificate_facts(certificate: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (mut spiffe_ids, mut dns_names) = (Vec::new(), Vec::new());
    // Of an extension that stands there twice nobody knows which counts.
    if let Some(names) = certificate.subject_alternative_name().ok()? {
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(uri) if uri.starts_with(SPIFFE) => spiffe_ids.push((*uri).to_owned()),
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                _ => {}
            }
        }
    }
    let mut common = certificate.subject().iter_common_name();
    let common_name = match (common.next(), common.next()) {
        (Some(one), None) => one.as_str().ok().map(str::to_owned),
        _ => None,
    };
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_seconds(time.timestamp());
    let validity = certificate.validity();
    Some(CertificateFacts {
        from: at(validity.not_before),
        until: at(validity.not_after),
        spiffe_ids,
        dns_names,
        common_name,
    })
}

impl CertificateFacts {
    /// What a client is known by.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        match (&*self.spiffe_ids, &*self.dns_names) {
            ([id], _) => Some(id.as_str()).filter(|id| is_name(id)),
            ([_, _, ..], _) => None,
            ([], [name, ..]) => Some(name.as_str()).filter(|name| is_plain(name)),
            ([], []) => self.common_name.as_deref().filter(|name| is_plain(name)),
        }
    }

    /// Whether this is one of the names that a server is known by: its SPIFFE id or one of its DNS names.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let mut all = self.spiffe_ids.iter().chain(&self.dns_names);
        is_name(name) && all.any(|one| one == name)
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
}

fn is_plain(name: &str) -> bool {
    is_name(name) && !name.contains([':', '/'])
}
