//! The services: `authzed.api.v1` and `idhini.v1` over a namespace, authenticated and limited.
//!
//! Bytes → wire → model → replica → engine → model → wire → bytes. Nothing is evaluated here.
//!
//! # Invariants
//! * An error is never a denial, a denial never an error, and nothing defaults to allow.
//! * Beyond loopback there is TLS and nobody is answered whom nobody knows; anything else is refused before it is bound.
//! * Only this crate names status codes.

mod admin;
mod admission;
mod audit;
mod auth;
mod checks;
mod conversation;
mod deadline;
mod experimental;
mod gateway;
mod heads;
mod inadmissible;
mod lane;
mod listen;
mod load;
mod lookups;
mod meta;
mod newcomers;
mod options;
mod own;
mod pin;
mod pipeline;
mod quotas;
mod reflection;
mod refusal;
mod relationships;
mod requests;
mod schema;
mod seal;
mod searches;
mod sent;
mod service;
mod single;
mod telemetry;
mod tenants;
mod tls;
mod trace;
mod watch;
mod workers;

pub use auth::Keys;
pub use lane::GiveWay;
pub use listen::{ListenError, Listener};
pub use options::{
    CONTEXT_BYTES_MAX, Limits, MESSAGE_BYTES_MAX, METADATA_BYTES_MAX, Options, SCHEMA_BYTES_MAX,
};
pub use own::Randomness;
pub use reflection::schema_differences;
pub use seal::SealOptions;
pub use telemetry::{
    Continue, LogObserver, Monitoring, MonitoringListener, Process, Profiled, Profiler, Served, Telemetry,
};
pub use tenants::{NewNode, NewStore, Offer, STORES_MAX, Tree};
pub use tls::{
    CertificateFacts, ClientAuth, Fingerprint, Pin, PinError, Tls, TlsError, TlsMaterial, TlsOptions,
    TlsPart, certificate_facts,
};
