//! What does the server show of itself, and is it still what it should show?
//!
//! A certificate and its key are files, or are issued by an authority of our own. Every second the files are looked at:
//! what has changed and stayed as it is for a second is taken. A certificate of our own authority is renewed after two
//! thirds of its life.
//!
//! # Invariants
//! * What cannot be read or used changes nothing but a metric and a line of the log; it is tried again, also unchanged.
//! * A connection is never dropped for a new certificate.
//! * No text of a key file is in any message.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use idhini_audit::{Detail, Trail};
use idhini_graph::Digest;
use idhini_model::Timestamp;
use idhini_replica::Clock;
use idhini_server::{ClientAuth, Telemetry, Tls, TlsError, TlsMaterial, TlsOptions, TlsPart};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::audit;
use crate::authority::{self, Authority, AuthorityError, BACKDATED_SECONDS, Name, Usage};
use crate::configuration::{ListenAddress, Settings, Version};

/// How often files are looked at.
const ROUND: Duration = Duration::from_secs(1);
/// How long after it failed the same is tried again, in seconds.
const RETRY_SECONDS: i64 = 60;
/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Keeps a listener's TLS what it should be.
pub(crate) struct Keeper {
    paths: Paths,
    identity: Identity,
    client_auth: ClientAuth,
    clock: Clock,
    tls: Arc<Tls>,
    /// What is shown was made of these.
    shown: Contents,
    /// When it is renewed, if it is by itself, and when it was made.
    renewal: Option<Renewal>,
    /// As of the last round.
    seen: Found,
    /// What failed, and when the same is tried again.
    failed: Option<(Found, Timestamp)>,
    /// Where it is put on record what was taken, if it is.
    trail: Option<Trail>,
}

/// Where it comes from.
enum Identity {
    /// The files are the certificate and its key.
    Given,
    /// The files are an authority's, which certifies these names for so long.
    Own { names: Vec<Name>, lifetime_seconds: u64 },
}

struct Paths {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// Of the files.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// What the files were when they were looked at.
type Found = Result<Contents, Unreadable>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Unreadable {
    path: PathBuf,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Renewal {
    made_at: Timestamp,
    due_at: Timestamp,
}

/// Why there is nothing to speak TLS with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsFailure {
    #[error("cannot read `{}`: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("`{}`: {source}", path.display())]
    Part { path: PathBuf, part: TlsPart, source: TlsError },
    #[error("the authority in `{}`: {source}", path.display())]
    Authority { path: PathBuf, source: AuthorityError },
}

impl TlsFailure {
    /// What helps.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            TlsFailure::File { .. } => "name files that are there and that the server may read",
            TlsFailure::Part { source: TlsError::OtherKey, .. } => {
                "name the key that the certificate was made for, with --tls-key-file"
            }
            TlsFailure::Part { source: TlsError::Ended { .. } | TlsError::NotYet { .. }, .. } => {
                "name a certificate that counts now, with --tls-cert-file, and see whether the machine's clock is right"
            }
            TlsFailure::Part { part: TlsPart::Certificate, .. } => {
                "name a file with -----BEGIN CERTIFICATE----- in it, with --tls-cert-file"
            }
            TlsFailure::Part { part: TlsPart::Key, .. } => {
                "name a file with -----BEGIN PRIVATE KEY----- in it, not encrypted, with --tls-key-file"
            }
            TlsFailure::Part { part: TlsPart::ClientAuthorities, .. } => {
                "name a file with certificates of authorities in it, with --tls-client-ca-file"
            }
            TlsFailure::Authority { .. } => {
                "make an authority with `idhini ca init DIR`, and name it with --tls-ca-dir"
            }
        }
    }
}

impl Keeper {
    /// Reads what is set; `None` where nothing is, and plaintext is spoken.
    ///
    /// # Errors
    /// If it cannot be used.
    pub(crate) fn begin(
        settings: &Settings,
        telemetry: &Telemetry,
        clock: Clock,
    ) -> Result<Option<Keeper>, TlsFailure> {
        let transport = &settings.transport;
        let client_ca = transport.client_ca_file.clone();
        let (paths, identity) = match (&transport.ca_dir, &transport.cert_file, &transport.key_file) {
            (Some(directory), _, _) => {
                let lifetime_seconds = transport.lifetime_seconds;
                let identity = Identity::Own { names: names(settings), lifetime_seconds };
                let file = |name| directory.join(name);
                let (certificate, key) = (file(authority::CERTIFICATE), file(authority::KEY));
                (Paths { certificate, key, client_ca }, identity)
            }
            (None, Some(certificate), Some(key)) => {
                let paths = Paths { certificate: certificate.clone(), key: key.clone(), client_ca };
                (paths, Identity::Given)
            }
            _ => return Ok(None),
        };
        let options = TlsOptions {
            client_auth: transport.client_auth(),
            peer_pins: transport.peer_pins.clone(),
            is_tls12_allowed: transport.min_version == Version::Tls12,
            clock: Arc::clone(&clock),
        };
        let client_auth = options.client_auth;
        let shown = paths.read().map_err(TlsFailure::from)?;
        let (material, renewal) = identity.make(&paths, &shown, client_auth, clock())?;
        let tls = Tls::new(options, &material, telemetry).map_err(|source| paths.failure(source))?;
        let keeper = Keeper {
            seen: Ok(shown.clone()),
            failed: None,
            trail: None,
            tls: Arc::new(tls),
            paths,
            identity,
            client_auth,
            clock,
            shown,
            renewal,
        };
        keeper.tell("shown");
        Ok(Some(keeper))
    }

    pub(crate) fn tls(&self) -> &Arc<Tls> {
        &self.tls
    }

    /// What is taken from now on is put on record there.
    pub(crate) fn telling(self, trail: Option<Trail>) -> Keeper {
        Keeper { trail, ..self }
    }

    /// Looks at the files now and then, for as long as it is polled.
    pub(crate) async fn keep(mut self) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            // A disk that hangs holds up nothing else.
            let looked = tokio::task::spawn_blocking(move || {
                self.round();
                self
            });
            match looked.await {
                Ok(keeper) => self = keeper,
                // It can only have panicked: what is shown stays.
                Err(_) => return,
            }
        }
    }

    /// Looks at the files once, and does what is due.
    fn round(&mut self) {
        let now = (self.clock)();
        let found = self.paths.read();
        let is_settled = found == self.seen;
        self.seen.clone_from(&found);
        // Whoever writes several files may be in the middle of it.
        if !is_settled {
            return;
        }
        let is_due = self.renewal.is_some_and(|renewal| renewal.is_due(now));
        if !is_due && found.as_ref() == Ok(&self.shown) {
            if self.failed.take().is_some() {
                self.tls.restore();
                self.tell("shown again");
            }
            return;
        }
        if self.failed.as_ref().is_some_and(|(failed, again)| *failed == found && now < *again) {
            return;
        }
        match self.take(&found, now) {
            Ok(()) => {
                self.failed = None;
                self.tell("taken");
                self.put_on_record();
            }
            Err(failure) => {
                tracing::warn!(
                    "the newest TLS certificate cannot be used, the one before is shown on: {failure}; {}",
                    failure.remedy()
                );
                self.failed = Some((found, seconds_after(now, self.retry_seconds())));
            }
        }
    }

    fn take(&mut self, found: &Found, now: Timestamp) -> Result<(), TlsFailure> {
        let made = found.clone().map_err(TlsFailure::from).and_then(|contents| {
            let (material, renewal) = self.identity.make(&self.paths, &contents, self.client_auth, now)?;
            Ok((contents, material, renewal))
        });
        // What is never offered is not counted there.
        let (contents, material, renewal) = made.inspect_err(|_| self.tls.keep())?;
        self.tls.replace(&material).map_err(|source| self.paths.failure(source))?;
        self.shown = contents;
        self.renewal = renewal;
        Ok(())
    }

    /// Sooner where certificates are short.
    fn retry_seconds(&self) -> i64 {
        match self.identity {
            Identity::Given => RETRY_SECONDS,
            Identity::Own { lifetime_seconds, .. } => {
                i64::try_from(lifetime_seconds / 10).unwrap_or(RETRY_SECONDS).clamp(1, RETRY_SECONDS)
            }
        }
    }

    /// Not held up by the trail: a server that shows a certificate until it ends, as no sink takes records, is there for
    /// nobody.
    fn put_on_record(&self) {
        let Some(trail) = &self.trail else { return };
        let (fingerprint, until) = self.tls.shown();
        let text = |text: String| Detail::Text(text.into());
        let mut details =
            vec![("fingerprint", text(fingerprint.to_string())), ("until", text(until.to_string()))];
        let files = [
            ("certificate_file", Some(&self.shown.certificate)),
            ("client_ca_file", self.shown.client_ca.as_ref()),
        ];
        for (name, bytes) in files {
            details.extend(bytes.map(|bytes| (name, text(Digest::of(bytes).to_string()))));
        }
        audit::told(trail, "TakeCertificate", details);
    }

    fn tell(&self, what: &str) {
        let (fingerprint, until) = self.tls.shown();
        tracing::info!("TLS certificate {what}: {fingerprint}, until {until}");
    }
}

impl Renewal {
    /// After two thirds of what lies between.
    fn of(made_at: Timestamp, until: Timestamp) -> Renewal {
        let life = until.seconds().saturating_sub(made_at.seconds());
        Renewal { made_at, due_at: seconds_after(made_at, (life / 3 * 2 + life % 3 * 2 / 3).max(1)) }
    }

    /// Also where the clock was set back so far that it does not count yet.
    fn is_due(self, now: Timestamp) -> bool {
        now >= self.due_at || now < seconds_after(self.made_at, -BACKDATED_SECONDS)
    }
}

impl Identity {
    /// What to show.
    fn make(
        &self,
        paths: &Paths,
        contents: &Contents,
        client_auth: ClientAuth,
        now: Timestamp,
    ) -> Result<(TlsMaterial, Option<Renewal>), TlsFailure> {
        let Contents { certificate, key, client_ca } = contents;
        let (names, lifetime_seconds) = match self {
            Identity::Given => {
                let material = TlsMaterial::of_pem(certificate, key, client_ca.as_deref());
                return Ok((material.map_err(|source| paths.failure(source))?, None));
            }
            Identity::Own { names, lifetime_seconds } => (names, *lifetime_seconds),
        };
        let issued = || {
            let authority = Authority::of_pem(certificate, key)?;
            let issued = authority.issue(names, Usage::Server, lifetime_seconds, now)?;
            Ok((authority.certificate().clone(), issued))
        };
        let directory = paths.certificate.parent().unwrap_or(Path::new(".")).to_owned();
        let (own, issued) = issued().map_err(|source| TlsFailure::Authority { path: directory, source })?;
        let renewal = Renewal::of(now, issued.until);
        let authorities = match (client_ca, client_auth) {
            (Some(text), _) => authorities(text).map_err(|source| paths.failure(source))?,
            (None, ClientAuth::Off) => Vec::new(),
            // Whom it certified.
            (None, ClientAuth::Optional | ClientAuth::Required) => vec![own],
        };
        Ok((TlsMaterial::new(vec![issued.certificate], issued.key, authorities), Some(renewal)))
    }
}

impl Paths {
    fn read(&self) -> Found {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }

    /// With the file that is to be changed.
    fn failure(&self, source: TlsError) -> TlsFailure {
        let part = source.part();
        let path = match (part, &self.client_ca) {
            (TlsPart::Key, _) => &self.key,
            (TlsPart::ClientAuthorities, Some(path)) => path,
            (TlsPart::Certificate | TlsPart::ClientAuthorities, _) => &self.certificate,
        };
        TlsFailure::Part { path: path.clone(), part, source }
    }
}

impl From<Unreadable> for TlsFailure {
    fn from(Unreadable { path, why }: Unreadable) -> TlsFailure {
        TlsFailure::File { path, why }
    }
}

fn authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let part = TlsPart::ClientAuthorities;
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>();
    found.map_err(|source| TlsError::Malformed { part, source })
}

fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let unreadable = |error: io::Error| Unreadable { path: path.to_owned(), why: error.to_string() };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(unreadable(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")))),
        false => Ok(bytes),
    }
}

/// What certificates of our own are for.
fn names(settings: &Settings) -> Vec<Name> {
    let names = &settings.transport.names;
    if !names.is_empty() {
        // They were read before.
        return names.iter().filter_map(|name| Name::read(name).ok()).collect();
    }
    let machine = rustix::system::uname().nodename().to_str().ok().and_then(|name| Name::dns(name).ok());
    let mut names = vec![Name::Dns("localhost".to_owned())];
    let local = ["127.0.0.1", "::1"].into_iter().filter_map(|ip| ip.parse().ok()).map(Name::Ip);
    let http = match settings.http_addr {
        Some(ListenAddress::At(address)) => Some(address),
        Some(ListenAddress::Off) | None => None,
    };
    let listened = std::iter::once(settings.grpc_addr).chain(http).map(|address| address.ip());
    let listened = listened.filter(|ip| !ip.is_unspecified()).map(Name::Ip);
    for name in machine.into_iter().chain(listened).chain(local) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn seconds_after(moment: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_seconds(moment.seconds().saturating_add(seconds))
}

#[cfg(test)]
mod tests;
