//! Which certificates of clients are taken? Those of an authority, and where there are pins, of these only the pinned.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::material::{TlsError, TlsMaterial, TlsPart};
use super::names::certificate_facts;
use super::pins::{Fingerprint, Pin};

/// Verifies as its authority says, and then looks whether the certificate is one of those that are meant.
#[derive(Debug)]
struct Pinned {
    by_authority: Arc<dyn ClientCertVerifier>,
    pins: Vec<Pin>,
}

pub(super) fn no_client_verifier() -> Arc<dyn ClientCertVerifier> {
    WebPkiClientVerifier::no_client_auth()
}

pub(super) fn client_verifier(
    material: &TlsMaterial,
    provider: &Arc<CryptoProvider>,
    is_required: bool,
    pins: &[Pin],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let part = TlsPart::ClientAuthorities;
    let mut roots = RootCertStore::empty();
    for authority in &material.client_authorities {
        roots.add(authority.clone()).map_err(|source| TlsError::Unusable { part, source })?;
    }
    if roots.is_empty() {
        return Err(TlsError::Missing(part));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if is_required { builder } else { builder.allow_unauthenticated() };
    let by_authority = builder
        .build()
        .map_err(|error| TlsError::Unusable { part, source: Error::General(error.to_string()) })?;
    Ok(match pins {
        [] => by_authority,
        pins => Arc::new(Pinned { by_authority, pins: pins.to_vec() }),
    })
}

impl Pinned {
    fn is_meant(&self, certificate: &CertificateDer<'_>) -> bool {
        let fingerprint = Fingerprint::of(certificate);
        let facts = certificate_facts(certificate);
        let name = facts.as_ref().and_then(|facts| facts.identity());
        self.pins.iter().any(|pin| match pin {
            Pin::Fingerprint(pinned) => *pinned == fingerprint,
            Pin::Name(pinned) => Some(pinned.as_str()) == name,
        })
    }
}

impl ClientCertVerifier for Pinned {
    fn offer_client_auth(&self) -> bool {
        self.by_authority.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.by_authority.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.by_authority.verify_client_cert(end_entity, intermediates, now)?;
        match self.is_meant(end_entity) {
            true => Ok(verified),
            false => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}
