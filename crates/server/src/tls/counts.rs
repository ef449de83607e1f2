//! How do handshakes go, and is what is shown what should be shown?

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use idhini_model::Timestamp;

/// Why a handshake came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// Too many were under way.
    TooMany,
    /// The client's certificate is missing, not verified, or none that is pinned.
    ClientCertificate,
    /// The client did not like what it saw.
    RefusedByClient,
    /// The client left.
    Closed,
    /// What came was not TLS, or none that both speak.
    Protocol,
}

/// Counted since the start.
#[derive(Debug, Default)]
pub(crate) struct TlsCounts {
    is_on: AtomicBool,
    handshakes: AtomicU64,
    failures: [AtomicU64; HandshakeFailure::ALL.len()],
    reloads: AtomicU64,
    reload_failures: AtomicU64,
    is_old: AtomicBool,
    /// Seconds since 1970.
    begins_at: AtomicI64,
    ends_at: AtomicI64,
}

/// What is told of it.
#[derive(Debug)]
pub(crate) struct TlsCounted {
    pub(crate) handshakes: u64,
    pub(crate) failures: [(&'static str, u64); HandshakeFailure::ALL.len()],
    pub(crate) reloads: u64,
    pub(crate) reload_failures: u64,
    pub(crate) is_old: bool,
    pub(crate) begins_at: i64,
    pub(crate) ends_at: i64,
}

impl HandshakeFailure {
    const ALL: [HandshakeFailure; 6] = [
        HandshakeFailure::Timeout,
        HandshakeFailure::TooMany,
        HandshakeFailure::ClientCertificate,
        HandshakeFailure::RefusedByClient,
        HandshakeFailure::Closed,
        HandshakeFailure::Protocol,
    ];

    fn name(self) -> &'static str {
        match self {
            HandshakeFailure::Timeout => "timeout",
            HandshakeFailure::TooMany => "too_many",
            HandshakeFailure::ClientCertificate => "client_certificate",
            HandshakeFailure::RefusedByClient => "refused_by_client",
            HandshakeFailure::Closed => "closed",
            HandshakeFailure::Protocol => "protocol",
        }
    }

    pub(crate) fn of(error: &io::Error) -> HandshakeFailure {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
                HandshakeFailure::ClientCertificate
            }
            Some(rustls::Error::AlertReceived(_)) => HandshakeFailure::RefusedByClient,
            Some(_) => HandshakeFailure::Protocol,
            None => HandshakeFailure::Closed,
        }
    }
}

impl TlsCounts {
    pub(crate) fn shaken(&self) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, failure: HandshakeFailure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Something is shown that counts from then until then.
    pub(crate) fn took(&self, from: Timestamp, until: Timestamp) {
        self.begins_at.store(from.seconds(), Ordering::Relaxed);
        self.ends_at.store(until.seconds(), Ordering::Relaxed);
        self.is_old.store(false, Ordering::Relaxed);
        // The first is none that replaces another.
        if self.is_on.swap(true, Ordering::Relaxed) {
            self.reloads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// There is nothing new any more.
    pub(crate) fn restored(&self) {
        self.is_old.store(false, Ordering::Relaxed);
    }

    /// There is something new that cannot be used.
    pub(crate) fn kept(&self) {
        self.is_old.store(true, Ordering::Relaxed);
        self.reload_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing where there is no TLS.
    pub(crate) fn counted(&self) -> Option<TlsCounted> {
        self.is_on.load(Ordering::Relaxed).then(|| TlsCounted {
            handshakes: self.handshakes.load(Ordering::Relaxed),
            failures: HandshakeFailure::ALL
                .map(|failure| (failure.name(), self.failures[failure as usize].load(Ordering::Relaxed))),
            reloads: self.reloads.load(Ordering::Relaxed),
            reload_failures: self.reload_failures.load(Ordering::Relaxed),
            is_old: self.is_old.load(Ordering::Relaxed),
            begins_at: self.begins_at.load(Ordering::Relaxed),
            ends_at: self.ends_at.load(Ordering::Relaxed),
        })
    }
}
