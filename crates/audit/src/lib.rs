//! The audit trail: who did what, on which namespace and revision, how it ended and why, and has anybody changed that since?
//!
//! [`Trail`] is what a server tells; [`verify`] and [`query`] read what is in the files. Docs: `docs/audit.md`.
//!
//! # Invariants
//! * A record is never formatted, hashed or written on the thread of whoever tells.
//! * Records are chained by hash; a signed [`Checkpoint`] fixes all of them up to it.
//! * A sink that is full, broken or hung holds up nobody; when none is able, intents are refused.
//!
//! Reading order: `event`, `list`, `line`, `trail`, `budget`, `sink`, `writer`, `file`, `verify`.

mod budget;
mod checkpoint;
mod courier;
mod event;
mod file;
mod folder;
mod hex;
mod keys;
mod line;
mod list;
mod options;
mod outlet;
pub mod query;
mod reading;
mod sink;
mod syslog;
mod trail;
pub mod verify;
mod writer;

pub use self::budget::RefusalOf;
pub use self::checkpoint::{Checkpoint, CheckpointError};
pub use self::event::{
    Actor, DETAIL_BYTES_MAX, DETAILS_BYTES_MAX, Detail, Event, Outcome, PARTS_MAX, TEXT_BYTES_MAX, noted,
};
pub use self::keys::{KeyError, Keys, PublicKey, PublicKeyError, SecretHash, Seeds};
pub use self::line::{Hash, LINE_BYTES_MAX};
pub use self::list::{LIST_BYTES_MAX, List};
pub use self::options::{
    CHECKPOINT_SECONDS_MAX, CheckpointsTo, FileOptions, Options, OptionsError, SyslogAddress,
    SyslogAddressError,
};
pub use self::reading::ReadError;
pub use self::sink::Ability;
pub use self::trail::{Clock, Intent, OpenError, Report, Settled, Surroundings, Trail, Unavailable};

#[cfg(test)]
mod tests;
