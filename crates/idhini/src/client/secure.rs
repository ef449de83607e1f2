//! TLS to a server: whom is it taken for, and what is shown to it?
//!
//! # Invariants
//! * A server is verified by its authority and the name in the address, unless pins say what it has to be instead.
//! * A fingerprint says which certificate it is: with one alone no authority is asked. A certificate that has ended is
//!   refused also then.
//! * A server may refuse what is shown only after it was shaken hands with (TLS 1.3): it is greeted before it is asked
//!   anything, so that its reason is known.

use std::io;
use std::path::{Path, PathBuf};
use std::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use idhini::clock::now;
use idhini_server::{CertificateFacts, Fingerprint, Pin, certificate_facts};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::arguments::Security;
use crate::failure::Failure;

/// What is spoken over it.
const PROTOCOL: &[u8] = b"h2";
/// What is read of a connection that is over, for the reason that may stand there.
const LAST_BYTES: usize = 16;

/// Verifies servers.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None where a fingerprint is all that counts.
    roots: Option<RootCertStore>,
    pins: Vec<Pin>,
}

/// A connection that keeps why the other side ended it: whoever reads it passes on only that it did.
struct Kept<S> {
    stream: S,
    ended: Ended,
}

/// Why the server ended the connection, once it did.
type Ended = Arc<OnceLock<Error>>;

/// Connects as is said.
pub(super) async fn connect(
    endpoint: &Endpoint,
    security: &Security,
) -> Result<Result<Channel, tonic::transport::Error>, Failure> {
    let connector = TlsConnector::from(Arc::new(config(security)?));
    let ended = Ended::default();
    let connect = {
        let ended = Arc::clone(&ended);
        tower::service_fn(move |uri: Uri| {
            let (connector, ended) = (connector.clone(), Arc::clone(&ended));
            async move {
                let stream = secured(&connector, &uri).await?;
                Ok::<_, io::Error>(TokioIo::new(Kept { stream, ended }))
            }
        })
    };
    let channel = match endpoint.connect_with_connector(connect).await {
        Ok(channel) => channel,
        Err(error) => return Ok(Err(error)),
    };
    // What it answers is nobody's business: it may have no such call.
    let greeting = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    match (greeting, ended.get()) {
        (Err(_), Some(source)) => Err(Failure::ShutOut { source: source.clone() }),
        _ => Ok(Ok(channel)),
    }
}

impl<S: AsyncRead + Unpin> Kept<S> {
    /// The first error that tells why is the one that counts.
    fn keep<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done
            && let Some(error) = tls_error(error)
        {
            let _ = self.ended.set(error.clone());
        }
        done
    }

    /// Whoever cannot write any more was told why before: it is still to be read.
    fn keep_written<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &done {
            let mut bytes = [0; LAST_BYTES];
            let read = pin::Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut bytes));
            let _ = self.keep(read);
        }
        done
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Kept<S> {
    fn poll_read(
        mut self: pin::Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = pin::Pin::new(&mut self.stream).poll_read(context, buffer);
        self.keep(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Kept<S> {
    fn poll_write(
        mut self: pin::Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin::Pin::new(&mut self.stream).poll_write(context, bytes);
        self.keep_written(context, written)
    }

    fn poll_flush(mut self: pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = pin::Pin::new(&mut self.stream).poll_flush(context);
        self.keep_written(context, flushed)
    }

    fn poll_shutdown(mut self: pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: pin::Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin::Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.keep_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

async fn secured(connector: &TlsConnector, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let malformed = || io::Error::other("the address has no host and port");
    let authority = uri.authority().ok_or_else(malformed)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let socket = TcpStream::connect((host.as_str(), authority.port_u16().ok_or_else(malformed)?)).await?;
    socket.set_nodelay(true)?;
    connector.connect(name, socket).await
}

fn config(security: &Security) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let has_fingerprint = security.tls_pin.iter().any(|pin| matches!(pin, Pin::Fingerprint(_)));
    let roots = match &security.ca_file {
        Some(path) => Some(roots_of(path)?),
        None if has_fingerprint => None,
        None => Some(roots_of_machine()),
    };
    let verifier = Verifier { provider: Arc::clone(&provider), roots, pins: security.tls_pin.clone() };
    let failed = |path: &Path, what: String| Failure::TlsFile { path: path.to_owned(), what };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::System { what: "TLS", source: io::Error::other(error) })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (&security.client_cert, &security.client_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(path), Some(key_path)) => {
            let certificates = certificates(path)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key_path)?)
                .map_err(|error| failed(key_path, format!("it has no private key as PEM: {error}")))?;
            builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| failed(key_path, format!("it is not the key of the certificate: {error}")))?
        }
        (Some(path), None) => {
            return Err(failed(path, "a certificate is of no use without its key".to_owned()));
        }
        (None, Some(path)) => {
            return Err(failed(path, "a key is of no use without its certificate".to_owned()));
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

fn roots_of(path: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| Failure::TlsFile { path: path.to_owned(), what: error.to_string() })?;
    }
    Ok(roots)
}

/// What cannot be read there certifies nobody.
fn roots_of_machine() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = |what: String| Failure::TlsFile { path: path.to_owned(), what };
    let found = CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<Vec<_>, _>>();
    match found.map_err(|error| failed(format!("it is no PEM: {error}")))? {
        none if none.is_empty() => Err(failed("it has no certificate as PEM".to_owned())),
        some => Ok(some),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::File { path: PathBuf::from(path), source })
}

impl Verifier {
    fn is_fingerprint(&self, certificate: &CertificateDer<'_>) -> bool {
        let fingerprint = Fingerprint::of(certificate);
        self.pins.iter().any(|pin| matches!(pin, Pin::Fingerprint(pinned) if *pinned == fingerprint))
    }

    fn is_named(&self, facts: &CertificateFacts) -> bool {
        self.pins.iter().any(|pin| matches!(pin, Pin::Name(name) if facts.is_named(name)))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        time: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let bad = Error::InvalidCertificate;
        let facts = certificate_facts(end_entity).ok_or(bad(CertificateError::BadEncoding))?;
        match &self.roots {
            Some(roots) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, time, algorithms)?;
                if self.pins.is_empty() {
                    verify_server_name(&parsed, server_name)?;
                    return Ok(ServerCertVerified::assertion());
                }
            }
            // Without an authority a name says nothing.
            None if !self.is_fingerprint(end_entity) => {
                return Err(bad(CertificateError::ApplicationVerificationFailure));
            }
            None if facts.until < now() => return Err(bad(CertificateError::Expired)),
            None => {}
        }
        match self.is_fingerprint(end_entity) || self.is_named(&facts) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(bad(CertificateError::ApplicationVerificationFailure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS error at the bottom of another one, if there is one.
pub(crate) fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // An error of input and output does not tell what it holds, only what is below that.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(held) = held
            && let Some(found) = tls_error(held)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}
