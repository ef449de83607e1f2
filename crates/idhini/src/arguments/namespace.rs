//! What can be said to `namespace`?

use clap::{Args, Subcommand, ValueEnum};
use idhini_model::Timestamp;

use super::{lasting, path};

#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    /// Make a namespace below one that is there
    Create(CreateNamespace),
    /// List the namespaces directly in one
    List {
        /// Which; the one that is asked about unless said
        #[arg(value_parser = path)]
        path: Option<String>,
    },
    /// Draw all namespaces below one
    Tree {
        /// Which; the one that is asked about unless said
        #[arg(value_parser = path)]
        path: Option<String>,
    },
    /// Print what is known of a namespace
    Show {
        /// Which; the one that is asked about unless said
        #[arg(value_parser = path)]
        path: Option<String>,
    },
    /// Set or drop custom metadata
    Set(PatchNamespace),
    /// Lock a namespace and all below it; prints the key that unlocks it, once
    Lock(LockNamespace),
    /// Take a namespace's own lock away
    Unlock(UnlockNamespace),
    /// Print what a namespace is locked by: exit status 0 by nothing, 1 by itself or from above
    Status {
        /// Which; the one that is asked about unless said
        #[arg(value_parser = path)]
        path: Option<String>,
    },
    /// Delete a namespace that has none below it, with all that is in it
    Delete {
        /// Which, such as team_a/subteam_b
        #[arg(value_parser = path)]
        path: String,
    },
}

/// What is to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateNamespace {
    /// Where, such as team_a/subteam_b
    #[arg(value_parser = path)]
    pub(crate) path: String,
    /// Custom metadata; repeat it for more
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) metadata: Vec<(String, String)>,
}

/// What is to be changed.
#[derive(Debug, Args)]
pub(crate) struct PatchNamespace {
    /// Which; the one that is asked about unless said
    #[arg(value_parser = path)]
    pub(crate) path: Option<String>,
    /// Custom metadata to set; repeat it for more
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = pair, required_unless_present = "dropped")]
    pub(crate) metadata: Vec<(String, String)>,
    /// A key of the custom metadata to drop; repeat it for more
    #[arg(long = "drop", value_name = "KEY")]
    pub(crate) dropped: Vec<String>,
}

/// What a lock refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LockMode {
    /// Everything
    All,
    /// What changes something; reads and checks go on
    Writes,
}

/// What is to be locked.
#[derive(Debug, Args)]
pub(crate) struct LockNamespace {
    /// Which, such as team_a
    #[arg(value_parser = path)]
    pub(crate) path: String,
    /// What is refused
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) mode: LockMode,
    /// Why; whoever is refused and belongs there hears it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// How long it lasts, such as 90m or 7d; until it is unlocked unless said
    #[arg(long = "for", value_name = "TIME", value_parser = lasting, conflicts_with = "until")]
    pub(crate) lasting: Option<u64>,
    /// Until when it lasts
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
}

/// What is to be unlocked.
#[derive(Debug, Args)]
pub(crate) struct UnlockNamespace {
    /// Which, such as team_a
    #[arg(value_parser = path)]
    pub(crate) path: String,
    /// The key that locking answered; administrators need none. Better set as IDHINI_UNLOCK_KEY, where other users of the
    /// machine do not see it
    #[arg(
        long,
        env = "IDHINI_UNLOCK_KEY",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) key: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}
