//! What can be asked, of when, and what can be followed?

use clap::{Args, Subcommand, ValueEnum};
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp};

use super::{BulkExport, ReadArguments, ReadSchema};

/// Questions about permissions.
#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// Ask whether a subject has a permission: exit status 0 has, 1 no, 2 conditional
    Check(Check),
    /// List the objects of a type on which a subject has a permission
    LookupResources(LookupResources),
    /// List the subjects of a type that have a permission on an object
    LookupSubjects(LookupSubjects),
    /// Draw how a permission of an object is put together
    Expand(Expand),
}

/// Of when an answer is; without any of these, the newest.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub(crate) struct Consistency {
    /// At least as fresh as this token of an earlier write
    #[arg(long, value_name = "TOKEN")]
    pub(crate) consistency_at_least: Option<String>,
    /// Exactly at this token of an earlier write or answer
    #[arg(long, value_name = "TOKEN")]
    pub(crate) consistency_at_exactly: Option<String>,
    /// The newest there is, which is what is asked for anyway
    #[arg(long)]
    pub(crate) consistency_full: bool,
    /// Whatever is at hand
    #[arg(long)]
    pub(crate) consistency_min_latency: bool,
    /// As it was at a moment in the past, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<Timestamp>,
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
    /// Draw why
    #[arg(long)]
    pub(crate) explain: bool,
    /// Values for caveats, such as {"day":"tuesday"}
    #[arg(long, visible_alias = "caveat-context", value_name = "JSON", value_parser = Context::from_json)]
    pub(crate) context: Option<Context>,
    #[command(flatten)]
    pub(crate) consistency: Consistency,
}

/// Which objects?
#[derive(Debug, Args)]
pub(crate) struct LookupResources {
    /// The type of the objects, such as document
    #[arg(value_name = "TYPE")]
    pub(crate) resource_type: String,
    /// The permission or relation, such as view
    pub(crate) permission: String,
    /// Who asks, such as user:tom or group:eng#member
    pub(crate) subject: SubjectRef,
    /// Values for caveats, such as {"day":"tuesday"}
    #[arg(long, visible_alias = "caveat-context", value_name = "JSON", value_parser = Context::from_json)]
    pub(crate) context: Option<Context>,
    /// Ask for so many at a time, at most 1,000
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page_limit: Option<u32>,
    /// Go on behind an answer that --json printed, with the same arguments
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) consistency: Consistency,
}

/// Which subjects?
#[derive(Debug, Args)]
pub(crate) struct LookupSubjects {
    /// The object, such as document:readme
    pub(crate) resource: ResourceRef,
    /// The permission or relation, such as view
    pub(crate) permission: String,
    /// The type of the subjects, such as user or group#member
    #[arg(value_name = "TYPE[#RELATION]")]
    pub(crate) subject_type: String,
    /// Values for caveats, such as {"day":"tuesday"}
    #[arg(long, visible_alias = "caveat-context", value_name = "JSON", value_parser = Context::from_json)]
    pub(crate) context: Option<Context>,
    /// Leave out what only `*` grants
    #[arg(long)]
    pub(crate) exclude_wildcards: bool,
    /// Ask for so many at a time, at most 1,000
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page_limit: Option<u32>,
    /// Go on behind an answer that --json printed, with the same arguments
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) consistency: Consistency,
}

/// Which permission of which object; either may stand first.
#[derive(Debug, Args)]
pub(crate) struct Expand {
    /// The permission or relation, such as view
    pub(crate) permission: String,
    /// The object, such as document:readme; it may stand first as well
    pub(crate) resource: String,
    #[command(flatten)]
    pub(crate) consistency: Consistency,
}

/// A moment, and what is asked about it.
#[derive(Debug, Args)]
pub(crate) struct AsOf {
    /// The moment, such as 2026-01-31T12:00:00Z
    pub(crate) time: Timestamp,
    #[command(subcommand)]
    pub(crate) command: PastCommand,
}

/// What can be asked about the past.
#[derive(Debug, Subcommand)]
pub(crate) enum PastCommand {
    #[command(flatten)]
    Question(Question),
    /// Read or export relationships
    #[command(subcommand)]
    Relationship(PastRelationships),
    /// Read the schema
    #[command(subcommand)]
    Schema(PastSchema),
}

/// What can be read of the past's schema.
#[derive(Debug, Subcommand)]
pub(crate) enum PastSchema {
    /// Print the schema
    Read(ReadSchema),
}

/// What can be read of the past.
#[derive(Debug, Subcommand)]
pub(crate) enum PastRelationships {
    /// Print relationships, one a line
    Read(ReadArguments),
    /// Print all relationships, in a form that bulk-import reads
    BulkExport(BulkExport),
}

impl PastCommand {
    /// Of when the question is, and whether a flag says so already.
    pub(crate) fn as_of(&mut self) -> (bool, &mut Option<Timestamp>) {
        let consistency = match self {
            PastCommand::Question(Question::Check(of)) => &mut of.consistency,
            PastCommand::Question(Question::LookupResources(of)) => &mut of.consistency,
            PastCommand::Question(Question::LookupSubjects(of)) => &mut of.consistency,
            PastCommand::Question(Question::Expand(of)) => &mut of.consistency,
            PastCommand::Relationship(PastRelationships::Read(of)) => &mut of.consistency,
            PastCommand::Relationship(PastRelationships::BulkExport(of)) => &mut of.consistency,
            PastCommand::Schema(PastSchema::Read(of)) => return (of.as_of.is_some(), &mut of.as_of),
        };
        (consistency.is_said(), &mut consistency.as_of)
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WatchKind {
    /// Relationships that come, change and go
    Relationships,
    /// That the schema was written
    Schema,
    /// That everything up to a token was told
    Checkpoints,
}

/// What is followed.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only objects of these types, such as document
    #[arg(value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only these, such as document:readme or document#viewer@user:tom; repeat it for more
    #[arg(long = "filter", value_name = "FILTER", conflicts_with = "types")]
    pub(crate) filters: Vec<String>,
    /// What is told, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_value = "relationships,schema")]
    pub(crate) kinds: Vec<WatchKind>,
    /// What to start behind: a token, or `beginning` for everything there is and then what changes; now unless said
    #[arg(long, visible_alias = "revision", value_name = "TOKEN|beginning")]
    pub(crate) from: Option<String>,
}

/// Whose history.
#[derive(Debug, Args)]
pub(crate) struct HistoryOf {
    /// The object, such as document:readme, user:tom or group:eng#member; as the resource and as the subject
    #[arg(value_name = "RESOURCE|SUBJECT")]
    pub(crate) of: SubjectRef,
    /// What came after this moment; all that is kept unless said
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// What came up to this moment
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
}

impl Consistency {
    /// Whether any of the flags was given.
    pub(crate) fn is_said(&self) -> bool {
        let Consistency { consistency_at_least, consistency_at_exactly, as_of, .. } = self;
        let is_flagged = self.consistency_full || self.consistency_min_latency;
        is_flagged || consistency_at_least.is_some() || consistency_at_exactly.is_some() || as_of.is_some()
    }
}
