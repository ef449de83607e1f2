//! What can be said to `backup`, `restore` and `debug`?

use std::path::PathBuf;

use clap::{Args, Subcommand};
use idhini_model::{Revision, Timestamp};

/// Which backup.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    /// The backup's directory: an empty one, or one to add to what is new
    #[arg(required = true)]
    pub(crate) directory: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Open every image and apply every entry of a backup
    Verify {
        /// The backup's directory
        directory: PathBuf,
    },
}

/// Which backup, to where, to when.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup's directory
    pub(crate) directory: PathBuf,
    /// The data directory to make: an empty one, or one that is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The moment or the revision to go back to, such as 2026-01-31T12:00:00Z or 42; the newest unless said
    #[arg(long, value_name = "TIME|REVISION", value_parser = to)]
    pub(crate) to: Option<To>,
    /// Go back to the moment with namespaces, locks, tokens and grants too; without it these stay as they were last, so
    /// that no token that was revoked is good again
    #[arg(long, requires = "to")]
    pub(crate) control_plane: bool,
}

/// When to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Moment(Timestamp),
    Revision(Revision),
}

fn to(text: &str) -> Result<To, String> {
    match (text.parse::<u64>(), text.parse::<Timestamp>()) {
        (Ok(revision), _) => Ok(To::Revision(Revision(revision))),
        (_, Ok(moment)) => Ok(To::Moment(moment)),
        (_, Err(error)) => Err(format!("neither a revision nor a moment: {error}")),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Debug {
    /// The segments of the log, or its entries
    Log {
        /// The data directory
        #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
        data_dir: PathBuf,
        /// Print each entry instead
        #[arg(long)]
        entries: bool,
    },
    /// What is held in memory, and for what: by the server, or by what a directory holds once it is opened
    Memory {
        /// The data directory, instead of asking a server; nothing in it is changed
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// The images, each of them opened
    Images {
        /// The data directory
        #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
        data_dir: PathBuf,
    },
}
