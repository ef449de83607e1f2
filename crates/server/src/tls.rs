//! Who is at the other end of a connection, and can nobody read on the way?
//!
//! rustls with one provider of cryptography. A handshake is done by the worker that the connection was handed to, so that
//! accepting waits for nobody. What is shown (certificate, key, authorities of clients) is replaced as a whole while the
//! server runs: handshakes that begin afterwards see the new one, connections that are open stay.
//!
//! # Invariants
//! * What cannot be used is never taken: the one before stays, and a metric tells of it.
//! * A client's certificate is verified at each connection, against the authorities and pins that stand then: where
//!   certificates are asked for, no session is resumed.
//! * A bad certificate is refused, also where none is needed: nobody becomes a stranger by showing a bad one.
//! * Keys are shown to nobody, and no handshake takes longer than `HANDSHAKE_MAX` or is one of more than `HANDSHAKES_MAX`.
//!
//! Cost: some hundred microseconds of a worker a handshake; then what encrypting takes.

mod counts;
mod material;
mod names;
mod pins;
mod verifier;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::{fmt, io};

use idhini_model::{SubjectRef, Timestamp};
use idhini_replica::Clock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::counts::HandshakeFailure;
pub(crate) use self::counts::TlsCounts;
pub use self::material::{TlsError, TlsMaterial, TlsPart};
pub use self::names::{CertificateFacts, certificate_facts};
pub use self::pins::{Fingerprint, Pin, PinError};
use self::verifier::{client_verifier, no_client_verifier};
use crate::telemetry::Telemetry;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long somebody may take to hear why there was none.
const PARTING_MAX: Duration = Duration::from_secs(1);
/// Handshakes under way on one worker; who comes when there are so many is turned away.
const HANDSHAKES_MAX: usize = 1_024;
/// What is spoken over it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// What is known by a certificate in the control plane.
const CERTIFICATE: &str = "certificate";

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// None is asked for.
    Off,
    /// Whoever shows one is known by it; whoever shows none brings a token.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// How TLS is spoken.
#[derive(Clone)]
pub struct TlsOptions {
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// If there are any, a client's certificate has to be one of these, beside being verified.
    pub peer_pins: Vec<Pin>,
    /// Whether clients may speak TLS 1.2; they may always speak 1.3.
    pub is_tls12_allowed: bool,
    /// What certificates are judged at.
    pub clock: Clock,
}

/// What a listener shows of itself, and what it asks of its clients.
pub struct Tls {
    options: TlsOptions,
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    current: RwLock<Current>,
    counts: Arc<TlsCounts>,
}

/// What is shown.
struct Current {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
    from: Timestamp,
    until: Timestamp,
}

/// A verified client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `certificate:NAME`.
    pub(crate) subject: SubjectRef,
    /// When its certificate ends.
    pub(crate) until: Timestamp,
}

/// Room for the handshakes of one worker.
pub(crate) struct Handshakes(Semaphore);

/// rustls' view of our clock.
struct Time(Clock);

impl Tls {
    /// Begins with this.
    ///
    /// # Errors
    /// [`TlsError`] if it cannot be used.
    pub fn new(options: TlsOptions, material: &TlsMaterial, telemetry: &Telemetry) -> Result<Tls, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?;
        let current = current(&options, &provider, &ticketer, material)?;
        let counts = Arc::clone(&telemetry.tls);
        counts.took(current.from, current.until);
        Ok(Tls { options, provider, ticketer, current: RwLock::new(current), counts })
    }

    /// Shows this from the next handshake on. Connections that are open stay.
    ///
    /// # Errors
    /// [`TlsError`] if it cannot be used: what was shown before is shown on, and a metric tells that it is old.
    pub fn replace(&self, material: &TlsMaterial) -> Result<(), TlsError> {
        let made = current(&self.options, &self.provider, &self.ticketer, material);
        let current = made.inspect_err(|_| self.counts.kept())?;
        self.counts.took(current.from, current.until);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(())
    }

    /// There is something new that nobody could even read: what is shown stays, and a metric tells that it is old.
    pub fn keep(&self) {
        self.counts.kept();
    }

    /// What was new and could not be used is gone: what is shown is the newest again.
    pub fn restore(&self) {
        self.counts.restored();
    }

    /// Which certificate is shown, and when it ends.
    #[must_use]
    pub fn shown(&self) -> (Fingerprint, Timestamp) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (current.fingerprint, current.until)
    }

    /// Whether nobody is let in without a certificate.
    pub(crate) fn needs_certificate(&self) -> bool {
        self.options.client_auth == ClientAuth::Required
    }

    /// Shakes hands with a client; `None` if that comes to nothing, which is counted.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
        handshakes: &Handshakes,
    ) -> Option<(TlsStream<S>, Option<Peer>)> {
        match self.shake_hands(socket, handshakes).await {
            Ok(stream) => {
                self.counts.shaken();
                let peer = self.peer(&stream);
                Some((stream, peer))
            }
            Err(failure) => {
                self.counts.failed(failure);
                None
            }
        }
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
        handshakes: &Handshakes,
    ) -> Result<TlsStream<S>, HandshakeFailure> {
        let _room = handshakes.0.try_acquire().map_err(|_| HandshakeFailure::TooMany)?;
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config);
        let shaking = TlsAcceptor::from(config).accept(socket).into_fallible();
        let shaken =
            tokio::time::timeout(HANDSHAKE_MAX, shaking).await.map_err(|_| HandshakeFailure::Timeout)?;
        match shaken {
            Ok(stream) => Ok(stream),
            Err((error, socket)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                let failure = HandshakeFailure::of(&error);
                if failure != HandshakeFailure::Closed {
                    // There is nobody to complain to.
                    let _ = tokio::time::timeout(PARTING_MAX, part(socket)).await;
                }
                Err(failure)
            }
        }
    }

    /// Whom the client's certificate names.
    fn peer<S>(&self, stream: &TlsStream<S>) -> Option<Peer> {
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates()?.first()?;
        let facts = certificate_facts(shown)?;
        match facts.identity() {
            Some(name) => Some(Peer { subject: SubjectRef::object(CERTIFICATE, name), until: facts.until }),
            None => {
                tracing::debug!(
                    "a client's certificate names nobody: it has no single SPIFFE id, no DNS name and no common name"
                );
                None
            }
        }
    }
}

impl Handshakes {
    pub(crate) fn new() -> Handshakes {
        Handshakes(Semaphore::new(HANDSHAKES_MAX))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_auth", &self.options.client_auth).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TlsOptions { client_auth, peer_pins, is_tls12_allowed, .. } = self;
        f.debug_struct("TlsOptions")
            .field("client_auth", client_auth)
            .field("peer_pins", peer_pins)
            .field("is_tls12_allowed", is_tls12_allowed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from((self.0)().seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Closes a socket that more may come from: closed at once, it would be reset, and why with it.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) -> io::Result<()> {
    socket.shutdown().await?;
    let mut bytes = [0; 1_024];
    while socket.read(&mut bytes).await? > 0 {}
    Ok(())
}

fn current(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    ticketer: &Arc<dyn ProducesTickets>,
    material: &TlsMaterial,
) -> Result<Current, TlsError> {
    let CertificateFacts { from, until, .. } = material.judge((options.clock)())?;
    let fingerprint = material.fingerprint()?;
    let config = Arc::new(config(options, provider, ticketer, material)?);
    Ok(Current { config, fingerprint, from, until })
}

fn config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    ticketer: &Arc<dyn ProducesTickets>,
    material: &TlsMaterial,
) -> Result<ServerConfig, TlsError> {
    let versions: &[_] = if options.is_tls12_allowed { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let verifier = match options.client_auth {
        ClientAuth::Off => no_client_verifier(),
        asked => client_verifier(material, provider, asked == ClientAuth::Required, &options.peer_pins)?,
    };
    let time = Arc::new(Time(Arc::clone(&options.clock)));
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), time)
        .with_protocol_versions(versions)
        .map_err(TlsError::Provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(material.certificates.clone(), material.key.clone_key())
        .map_err(TlsError::of_identity)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match options.client_auth {
        ClientAuth::Off => config.ticketer = Arc::clone(ticketer),
        // A ticket would stand for a certificate that was verified against what stood then.
        ClientAuth::Optional | ClientAuth::Required => config.send_tls13_tickets = 0,
    }
    Ok(config)
}

#[cfg(test)]
mod tests;
