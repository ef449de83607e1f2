//! What can be said to `token` and `auth`?

use clap::{Args, Subcommand};

use super::{lasting, path};
use crate::root_token::Reset;

/// What is done about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; prints it, once
    Create(CreateToken),
    /// List the tokens whose home is a namespace
    List {
        /// Which; the one that is asked about unless said
        #[arg(value_parser = path)]
        path: Option<String>,
    },
    /// Print what is known of a token
    Show {
        /// Its name, which `token list` prints; your own unless said
        accessor: Option<String>,
    },
    /// Let a token last for its lifetime from now on
    Renew {
        /// Its name, which `token list` prints; your own unless said
        accessor: Option<String>,
    },
    /// Give a token another text; prints it, once
    Rotate(RotateToken),
    /// End a token at once, on open streams too
    Revoke {
        /// Its name, which `token list` prints
        #[arg(required_unless_present = "own")]
        accessor: Option<String>,
        /// Your own
        #[arg(long, conflicts_with = "accessor")]
        own: bool,
    },
    /// Make a new root token for a data directory that no server holds; the one before is good no more
    Reset(Reset),
}

/// What is to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// The namespace that it is of; the one that is asked about unless said
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(crate) home: Option<String>,
    /// What it may do, in its home and below: admin, schema_writer, writer, reader, checker or auditor; repeat it for more
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) description: String,
    /// How long it lasts unless it is renewed, such as 90m or 30d; until it is revoked unless said
    #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
    pub(crate) lasting: Option<u64>,
}

/// What is to be rotated.
#[derive(Debug, Args)]
pub(crate) struct RotateToken {
    /// Its name, which `token list` prints; your own unless said
    pub(crate) accessor: Option<String>,
    /// How long the text before stays good, such as 10m; not at all unless said
    #[arg(long, value_name = "TIME", value_parser = lasting)]
    pub(crate) overlap: Option<u64>,
}

/// Who may do what to Idhini itself.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Ask whether you, or somebody else, may do something: exit status 0 yes, 1 no
    CanI(CanI),
    /// Let somebody play a role in a namespace and in all below it
    Grant(GrantArguments),
    /// Take a role back that was granted in a namespace itself
    Revoke(GrantArguments),
    /// List what was granted in a namespace itself
    Grants {
        /// Which; the one that is asked about unless said
        #[arg(value_parser = path)]
        path: Option<String>,
    },
}

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct CanI {
    /// administer, write_schema, write, read, read_schema, check, audit or belong; all of them are listed unless said
    pub(crate) right: Option<String>,
    /// Where; in the namespace that is asked about unless said
    #[arg(value_parser = path)]
    pub(crate) path: Option<String>,
    /// Whether somebody else may, such as token:ACCESSOR or external:ann; administrators may ask
    #[arg(long = "as", value_name = "SUBJECT", default_value = "", hide_default_value = true)]
    pub(crate) subject: String,
    /// Print the grants that it follows from
    #[arg(long)]
    pub(crate) explain: bool,
}

/// What is granted to whom.
#[derive(Debug, Args)]
pub(crate) struct GrantArguments {
    /// admin, schema_writer, writer, reader, checker or auditor
    pub(crate) role: String,
    /// token:ACCESSOR, certificate:NAME or external:ID
    pub(crate) subject: String,
    /// Where; in the namespace that is asked about unless said
    #[arg(value_parser = path)]
    pub(crate) path: Option<String>,
}
