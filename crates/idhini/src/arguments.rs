//! What can be said on the command line? Arguments are those of `zed` where `zed` has them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use idhini_model::{Context, Relationship, ResourceRef, Revision, SubjectRef, Timestamp};
use idhini_wire::authzed::api::v1;

use crate::configuration::{ServeFlags, ServeTestingFlags};
use crate::root_token::TokenCommand;

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
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Where the server listens
    #[arg(
        long,
        global = true,
        env = "IDHINI_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "HOST:PORT"
    )]
    pub(crate) addr: String,
    /// The server's root token or preshared key, unless it is in the client file; better set as IDHINI_TOKEN, where other
    /// users of the machine do not see it
    #[arg(long, global = true, env = "IDHINI_TOKEN", hide_env_values = true, default_value = "")]
    pub(crate) token: String,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
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
    /// Make a new root token
    #[command(subcommand)]
    Token(TokenCommand),
    /// Read or write the schema
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Create, touch, delete or read relationships
    #[command(subcommand)]
    Relationship(RelationshipCommand),
    /// Back up a running server, or check a backup
    Backup(Backup),
    /// Make a data directory from a backup
    Restore(Restore),
    /// Print what is in a data directory, also in one that a server holds
    #[command(subcommand)]
    Debug(Debug),
    /// Ask whether a subject has a permission: exit status 0 has, 1 no, 2 conditional
    Check(Check),
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

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Replace the schema with that of a file; `-` reads standard input
    Write {
        /// The file
        file: PathBuf,
    },
    /// Print the schema
    Read,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RelationshipCommand {
    /// Create a relationship; refused if it exists
    Create(RelationshipArguments),
    /// Create a relationship or replace its caveat and expiration
    Touch(RelationshipArguments),
    /// Delete a relationship; absent is fine
    Delete(RelationshipArguments),
    /// Print relationships, one a line
    Read(ReadArguments),
}

/// Which relationships.
#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// The objects, such as document or document:readme
    #[arg(value_name = "TYPE[:ID]")]
    pub(crate) resource: String,
    /// The relation, such as viewer
    pub(crate) relation: Option<String>,
    /// Who stands in it, such as user, user:tom or group:eng#member
    #[arg(value_name = "TYPE[:ID][#RELATION]")]
    pub(crate) subject: Option<String>,
}

/// One relationship.
#[derive(Debug, Args)]
pub(crate) struct RelationshipArguments {
    /// The object, such as document:readme
    pub(crate) resource: ResourceRef,
    /// The relation, such as viewer
    pub(crate) relation: String,
    /// Who stands in it, such as user:tom, group:eng#member or user:*
    pub(crate) subject: SubjectRef,
    /// The condition under which it counts, such as only_on:{"day":"tuesday"}
    #[arg(long, value_name = "NAME[:JSON]")]
    pub(crate) caveat: Option<String>,
    /// When it stops counting, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// Which backup.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct Backup {
    /// The backup's directory: an empty one, or one to add to what is new
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
    /// The images, each of them opened
    Images {
        /// The data directory
        #[arg(long, env = "IDHINI_DATA_DIR", default_value = "./idhini.data", value_name = "DIR")]
        data_dir: PathBuf,
    },
}

/// One question.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The object, such as document:readme
    pub(crate) resource: ResourceRef,
    /// The permission or relation, such as view
    pub(crate) permission: String,
    /// Who asks, such as user:tom or group:eng#member
    pub(crate) subject: SubjectRef,
    /// Say why
    #[arg(long)]
    pub(crate) explain: bool,
    /// Values for caveats, such as {"day":"tuesday"}
    #[arg(long, visible_alias = "caveat-context", value_name = "JSON", value_parser = Context::from_json)]
    pub(crate) context: Option<Context>,
    /// At least as fresh as this token of an earlier write
    #[arg(long, value_name = "TOKEN", conflicts_with = "consistency_at_exactly")]
    pub(crate) consistency_at_least: Option<String>,
    /// Exactly at this token of an earlier write or answer
    #[arg(long, value_name = "TOKEN")]
    pub(crate) consistency_at_exactly: Option<String>,
}

impl RelationshipArguments {
    /// The relationship named, its text read the way relationships are written.
    pub(crate) fn relationship(&self) -> Result<Relationship, idhini_model::ParseError> {
        let mut text = format!("{}#{}@{}", self.resource, self.relation, self.subject);
        if let Some(caveat) = &self.caveat {
            text.push_str(&format!("[{caveat}]"));
        }
        let mut relationship: Relationship = text.parse()?;
        relationship.expires_at = self.expires_at;
        Ok(relationship)
    }
}

impl ReadArguments {
    /// The filter; the server judges the names.
    pub(crate) fn filter(&self) -> v1::RelationshipFilter {
        let (resource_type, resource_id) = self.resource.split_once(':').unwrap_or((&self.resource, ""));
        v1::RelationshipFilter {
            resource_type: resource_type.to_owned(),
            optional_resource_id: resource_id.to_owned(),
            optional_relation: self.relation.clone().unwrap_or_default(),
            optional_subject_filter: self.subject.as_deref().map(subject_filter),
            ..Default::default()
        }
    }
}

fn subject_filter(text: &str) -> v1::SubjectFilter {
    let (object, relation) = match text.split_once('#') {
        Some((object, relation)) => (object, Some(relation)),
        None => (text, None),
    };
    let (subject_type, subject_id) = object.split_once(':').unwrap_or((object, ""));
    v1::SubjectFilter {
        subject_type: subject_type.to_owned(),
        optional_subject_id: subject_id.to_owned(),
        optional_relation: relation
            .map(|relation| v1::subject_filter::RelationFilter { relation: relation.to_owned() }),
    }
}
