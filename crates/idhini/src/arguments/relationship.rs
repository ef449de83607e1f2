//! What can be said to `relationship`?

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use idhini_model::{Relationship, ResourceRef, SubjectRef, Timestamp};
use idhini_wire::authzed::api::v1;

use super::Consistency;

/// Ends the beginning of an object id.
const PREFIX_MARK: char = '%';

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
    /// Create the relationships of a file in one transaction: all of them, or none
    BulkImport(BulkImport),
    /// Print all relationships of one moment, in a form that bulk-import reads
    BulkExport(BulkExport),
}

/// Which relationships.
#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    /// The objects, such as document, document:readme, or document:read% for all whose id begins so
    #[arg(value_name = "TYPE[:ID]")]
    pub(crate) resource: String,
    /// The relation, such as viewer
    pub(crate) relation: Option<String>,
    /// Who stands in it, such as user, user:tom or group:eng#member
    #[arg(value_name = "TYPE[:ID][#RELATION]")]
    pub(crate) subject: Option<String>,
    /// The same, where no relation is named
    #[arg(long, value_name = "TYPE[:ID][#RELATION]", conflicts_with = "subject")]
    pub(crate) subject_filter: Option<String>,
    /// Ask for so many at a time, at most 1,000
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page_limit: Option<u32>,
    #[command(flatten)]
    pub(crate) consistency: Consistency,
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
    #[arg(long, visible_alias = "expiration-time", value_name = "TIME")]
    pub(crate) expires_at: Option<Timestamp>,
}

/// How relationships stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One a line, as document:readme#viewer@user:tom; `//` begins a comment
    Lines,
    /// A validation file: YAML with the schema as well
    Validation,
}

/// What is imported.
#[derive(Debug, Args)]
pub(crate) struct BulkImport {
    /// The file; `-` or nothing reads standard input
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// How the file is written; by its name (.yaml and .yml are validation files) unless said
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write the schema of a validation file first
    #[arg(long)]
    pub(crate) with_schema: bool,
    /// Relationships in one message; all of them are one transaction
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch_size: u32,
}

/// What is exported.
#[derive(Debug, Args)]
pub(crate) struct BulkExport {
    /// The file; `-` or nothing prints to standard output
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// How the file is written; by its name (.yaml and .yml are validation files) unless said
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Only these, such as document, document:readme#viewer or document#viewer@user:tom
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Relationships in one message of the server
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page_limit: Option<u32>,
    #[command(flatten)]
    pub(crate) consistency: Consistency,
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
        let subject = self.subject.as_deref().or(self.subject_filter.as_deref());
        let mut filter = resource_filter(&self.resource);
        filter.optional_relation = self.relation.clone().unwrap_or_default();
        filter.optional_subject_filter = subject.map(subject_filter);
        filter
    }
}

/// A filter in one word: `TYPE[:ID][#RELATION][@TYPE[:ID][#RELATION]]`; the server judges the names.
pub(crate) fn filter(text: &str) -> v1::RelationshipFilter {
    let (of, subject) = match text.split_once('@') {
        Some((of, subject)) => (of, Some(subject)),
        None => (text, None),
    };
    let (resource, relation) = of.split_once('#').unwrap_or((of, ""));
    let mut filter = resource_filter(resource);
    filter.optional_relation = relation.to_owned();
    filter.optional_subject_filter = subject.map(subject_filter);
    filter
}

fn resource_filter(text: &str) -> v1::RelationshipFilter {
    let (resource_type, id) = text.split_once(':').unwrap_or((text, ""));
    let mut filter = v1::RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() };
    match id.strip_suffix(PREFIX_MARK) {
        Some(prefix) => filter.optional_resource_id_prefix = prefix.to_owned(),
        None => filter.optional_resource_id = id.to_owned(),
    }
    filter
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
