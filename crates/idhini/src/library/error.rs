//! Why was it not done?

use std::io;

use idhini_changelog::DirectoryError;
use idhini_changelog::embedded::OpenError as LogError;
use idhini_engine::EngineError;
use idhini_model::Timestamp;
use idhini_replica::{IdentityError, OpenError, ReplicaError};

/// Why something was not done. None of these is a denial.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory cannot be had; another process, a server perhaps, may hold it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The directory does not say which store it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log in the directory cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What the log holds cannot be followed, or the images not be listed.
    #[error(transparent)]
    Namespace(#[from] OpenError),
    /// The system does not give what is needed.
    #[error("the system gives no {what}: {source}; look at the machine's limits")]
    System {
        /// What.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The request was refused; nothing has changed, unless it is one that says that this is not known.
    #[error(transparent)]
    Refused(#[from] ReplicaError),
    /// The question has no answer.
    #[error(transparent)]
    Unanswered(#[from] EngineError),
    /// The past was asked about.
    #[error("{asked} is still to come; ask about a moment that has passed")]
    StillToCome {
        /// As asked.
        asked: Timestamp,
    },
}
