//! What can be said on the command line? Arguments are those of `zed` where `zed` has them.

mod access;
mod audit;
mod authority;
mod backup;
mod migrate;
mod namespace;
mod questions;
mod relationship;
mod schema;
mod security;

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use idhini_replica::control::NamespacePath;

pub(crate) use self::access::{AuthCommand, CanI, CreateToken, GrantArguments, RotateToken, TokenCommand};
pub(crate) use self::audit::{AuditCommand, Query, Trail};
pub(crate) use self::authority::{AuthorityCommand, InitAuthority, Issue};
pub(crate) use self::backup::{Backup, BackupCommand, Debug, Restore, To};
pub(crate) use self::migrate::Migrate;
pub(crate) use self::namespace::{
    CreateNamespace, LockMode, LockNamespace, NamespaceCommand, PatchNamespace, UnlockNamespace,
};
pub(crate) use self::questions::{
    AsOf, Check, Consistency, Expand, HistoryOf, LookupResources, LookupSubjects, PastCommand,
    PastRelationships, PastSchema, Question, Watch, WatchKind,
};
pub(crate) use self::relationship::{
    BulkExport, BulkImport, Format, ReadArguments, RelationshipArguments, RelationshipCommand, filter,
};
pub(crate) use self::schema::{ReadSchema, SchemaCommand};
pub(crate) use self::security::Security;
use crate::configuration::{ServeFlags, ServeTestingFlags};

/// Who may do what: an authorization server after Google's Zanzibar, and its command line.
#[derive(Debug, Parser)]
#[command(name = "idhini", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server is asked.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connection {
    /// Where the server listens
    #[arg(
        long,
        global = true,
        env = "IDHINI_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "HOST:PORT",
        visible_alias = "endpoint"
    )]
    pub(crate) addr: String,
    /// The server's root token or preshared key, unless it is in the client file; better set as IDHINI_TOKEN, where other
    /// users of the machine do not see it
    #[arg(long, global = true, env = "IDHINI_TOKEN", hide_env_values = true, default_value = "")]
    pub(crate) token: String,
    #[command(flatten)]
    pub(crate) security: Security,
    /// The namespace that is asked about, such as team_a/subteam_b; unless said, the client file's, else the token's home
    // Commands may have a `namespace` of their own, which is not this one.
    #[arg(
        id = "asked_namespace",
        long = "namespace",
        global = true,
        env = "IDHINI_NAMESPACE",
        default_value = "",
        hide_default_value = true,
        value_name = "PATH",
        value_parser = path
    )]
    pub(crate) namespace: String,
    /// Print the API's own messages as JSON, one a line, instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Whether the key was given as --token, not as IDHINI_TOKEN.
    #[arg(skip)]
    pub(crate) is_token_flagged: bool,
}

impl Arguments {
    /// From this process's command line and environment.
    pub(crate) fn read() -> Result<Arguments, clap::Error> {
        let matches = Arguments::command().try_get_matches()?;
        let mut arguments = Arguments::from_arg_matches(&matches)?;
        let source = matches.value_source("token");
        arguments.connection.is_token_flagged = source == Some(ValueSource::CommandLine);
        Ok(arguments)
    }
}

/// A namespace's path as it was said; none if it is empty.
///
/// # Errors
/// Why it is none.
pub(crate) fn path(text: &str) -> Result<String, String> {
    let path: Result<NamespacePath, _> = text.parse();
    path.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// How long something is to last, such as 90m or 7d.
///
/// # Errors
/// Why it is none.
fn lasting(text: &str) -> Result<u64, String> {
    crate::configuration::seconds(text).ok_or_else(|| "write a time such as 10s, 90m, 24h or 7d".to_owned())
}

/// Where to read on about the command that somebody meant: the one whose names stand among the arguments.
pub(crate) fn next_step(arguments: impl Iterator<Item = OsString>) -> String {
    let mut command = Arguments::command();
    let mut path = vec![command.get_name().to_owned()];
    for argument in arguments.skip(1) {
        let Some(found) = command.find_subcommand(&argument).cloned() else { continue };
        path.push(found.get_name().to_owned());
        command = found;
    }
    format!("see `{} --help`", path.join(" "))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    Serve(ServeFlags),
    /// Run a server for test suites: each token has an empty store of its own, in memory, from its first call on
    ServeTesting(ServeTestingFlags),
    /// Show how a server would be configured
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create, list, lock, unlock or delete namespaces: tenants, each sealed off
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Create, list, renew, rotate or revoke tokens, or make a new root token
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make an authority, and certify servers and clients by it
    #[command(subcommand)]
    Ca(AuthorityCommand),
    /// Ask who may do what to Idhini itself; grant or take back roles
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Write, read, compare, check or test a schema
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Create, touch, delete, read, import or export relationships
    #[command(subcommand)]
    Relationship(RelationshipCommand),
    #[command(flatten)]
    Question(Question),
    /// The same questions, named as in `zed`
    #[command(subcommand, hide = true)]
    Permission(Question),
    /// Ask what another command would have answered at a moment in the past
    AsOf(AsOf),
    /// Follow what changes, until interrupted
    Watch(Watch),
    /// Print what changed about an object, when, and by which entry of the log
    History(HistoryOf),
    /// Back up a running server, or check a backup
    Backup(Backup),
    /// Make a data directory from a backup
    Restore(Restore),
    /// Move from a running SpiceDB to this server: schema, relationships, and what changes until you cut over
    Migrate(Migrate),
    /// Verify or search the audit trail of a server
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print what is in a data directory, also in one that a server holds, or in a server's memory
    #[command(subcommand)]
    Debug(Debug),
    /// Print what a shell needs to complete these commands
    ///
    /// For bash: idhini completion bash > /etc/bash_completion.d/idhini
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print this program's version, and the server's if one is reached
    Version,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print each setting of `idhini serve` with its value, and who said so
    Print {
        #[command(flatten)]
        flags: ServeFlags,
        /// Print a file for --config instead, which explains each setting
        #[arg(long)]
        toml: bool,
    },
}
