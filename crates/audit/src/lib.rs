//! The audit trail: who did what, on which namespace and revision, how it ended and why, and has anybody changed that since?
//!
//! [`Trail`] is what a server tells; [`verify`] and [`query`] read what is in the files. Docs: `docs/audit.md`.
//!
//! # Invariants
//! * A record is never formatted, hashed or written on the thread of whoever tells.
//! * Records are chained by hash; a signed [`Checkpoint`] fixes all of them up to it.
//! * A sink that is full, broken or hung holds up nobody; when none is able, intents are refused.
//!
//! Reading order: `event`, `line`, `trail`, `sink`, `writer`, `file`, `verify`.

mod checkpoint;
mod courier;
mod event;
mod file;
mod folder;
mod hex;
mod keys;
mod line;
mod options;
mod outlet;
pub mod query;
mod reading;
mod sink;
mod syslog;
mod trail;
pub mod verify;
mod writer;

pub use self::checkpoint::{Checkpoint, CheckpointError};
pub use self::event::{Actor, DETAILS_BYTES_MAX, Detail, Event, Outcome, TEXT_BYTES_MAX};
pub use self::keys::{KeyError, Keys, PublicKey, PublicKeyError, SecretHash, Seeds};
pub use self::line::{Hash, LINE_BYTES_MAX};
pub use self::options::{
    CHECKPOINT_SECONDS_MAX, CheckpointsTo, FileOptions, Options, OptionsError, SyslogAddress,
    SyslogAddressError,
};
pub use self::reading::ReadError;
pub use self::sink::Ability;
pub use self::trail::{Clock, Intent, OpenError, Report, Settled, Surroundings, Trail, Unavailable};

#[cfg(test)]
mod tests;
