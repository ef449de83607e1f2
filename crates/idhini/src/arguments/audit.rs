//! What can be said to `audit`?

use std::path::PathBuf;

use clap::{Args, Subcommand};
use idhini_audit::PublicKey;
use idhini_model::Timestamp;

/// Which trail, and which key is it signed with?
#[derive(Debug, Args)]
pub(crate) struct Trail {
    /// The directory of the trail's files, as the server's --audit-dir
    #[arg(value_name = "DIR", env = "IDHINI_AUDIT_DIR")]
    pub(crate) directory: PathBuf,
    /// The public key, as `idhini audit checkpoint` printed it
    #[arg(long, value_name = "KEY", conflicts_with = "data_dir")]
    pub(crate) key: Option<PublicKey>,
    /// The server's data directory, which has the key
    #[arg(long, value_name = "DIR", env = "IDHINI_DATA_DIR", default_value = "./idhini.data")]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find any record that was edited, dropped or moved; status 1 if there is one
    Verify {
        #[command(flatten)]
        trail: Trail,
        /// A file of checkpoints that were kept elsewhere, a line each: shows what was cut from the end. `-` is standard input
        #[arg(long, value_name = "FILE")]
        kept: Vec<PathBuf>,
        /// What a server cut off at a start and is no unfinished record was looked at: it is told, and no fault
        #[arg(long)]
        accept_cuts: bool,
    },
    /// Print the newest signed checkpoint, to be kept elsewhere, and the public key to verify with
    Checkpoint {
        #[command(flatten)]
        trail: Trail,
    },
    /// Print records, the oldest first
    Query(Query),
    /// Print what a secret is called in records; reads it from standard input
    Hash {
        /// The server's data directory, which has the key
        #[arg(long, value_name = "DIR", env = "IDHINI_DATA_DIR", default_value = "./idhini.data")]
        data_dir: PathBuf,
    },
}

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// The directory of the trail's files, as the server's --audit-dir
    #[arg(value_name = "DIR", env = "IDHINI_AUDIT_DIR")]
    pub(crate) directory: PathBuf,
    /// Who called: a token's accessor, a certificate's name, or an address
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// On which namespace
    #[arg(long = "of-namespace", value_name = "PATH")]
    pub(crate) namespace: Option<String>,
    /// On which object, such as document:readme, or on which type of objects
    #[arg(long)]
    pub(crate) resource: Option<String>,
    /// Which call, such as WriteRelationships
    #[arg(long)]
    pub(crate) call: Option<String>,
    /// How it ended; `none` is without an end on record
    #[arg(long, value_parser = ["accepted", "refused", "unknown", "none"])]
    pub(crate) outcome: Option<String>,
    /// The request id
    #[arg(long)]
    pub(crate) request: Option<String>,
    /// From this moment on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// Up to this moment
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
}
