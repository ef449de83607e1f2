//! What does a server start with, if nothing is stored yet?
//!
//! # Invariants
//! * Nothing is written before both files are read and judged.
//! * A start that ended between the schema and the relationships is made good by the next one with the same schema.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use idhini_model::{Relationship, Revision};
use idhini_replica::{Namespace, ReplicaError, Wanted};
use idhini_schema::Schema;

use crate::configuration::Settings;
use crate::failure::Failure;
use crate::files::{read_schema, read_text};

/// The revision of a first schema.
const SCHEMA_ONLY: Revision = Revision(1);

/// Loads the files that the command line names, if nothing was ever written but, at most, this schema.
pub(super) async fn load(namespace: &Arc<Namespace>, settings: &Settings) -> Result<(), Failure> {
    let Some(schema_path) = &settings.schema else { return Ok(()) };
    let head = namespace.head();
    // Only a schema comes first.
    let is_begun = head.revision() == SCHEMA_ONLY && settings.relationships.is_some();
    if head.revision() > Revision(0) && !is_begun {
        ignored(settings);
        return Ok(());
    }
    let text = read_schema(schema_path)?;
    let schema = Schema::parse(&text).map_err(ReplicaError::from).map_err(unfit(schema_path))?;
    let stored = head.schema().map(|stored| stored.canonical_text());
    if is_begun && stored != Some(schema.canonical_text()) {
        ignored(settings);
        return Ok(());
    }
    let relationships = match &settings.relationships {
        Some(path) => read_relationships(path, &schema)?,
        None => Vec::new(),
    };
    namespace.write_schema(text, Wanted::always()).await.map_err(unfit(schema_path))?;
    if let Some(path) = &settings.relationships {
        namespace.import(relationships, Wanted::always()).await.map_err(unfit(path))?;
    }
    Ok(())
}

fn ignored(settings: &Settings) {
    let text = format!(
        "--schema and --relationships are only for an empty directory: {} has data already",
        settings.data_dir.display()
    );
    tracing::warn!("{text}");
}

fn unfit(path: &Path) -> impl FnOnce(ReplicaError) -> Failure + use<'_> {
    |source| Failure::Bootstrap { path: path.to_owned(), source }
}

/// The relationships of a file, each of which the schema admits, none of them twice.
fn read_relationships(path: &Path, schema: &Schema) -> Result<Vec<Relationship>, Failure> {
    let mut relationships: Vec<Relationship> = Vec::new();
    let mut lines = HashMap::new();
    for (at, text) in read_text(path)?.lines().enumerate() {
        let text = text.trim();
        if text.is_empty() || text.starts_with("//") {
            continue;
        }
        let (path, line) = (|| path.to_owned(), at + 1);
        let relationship: Relationship =
            text.parse().map_err(|source| Failure::Line { path: path(), line, source })?;
        let admitted = schema.validate_relationship(&relationship);
        admitted.map_err(|source| Failure::Inadmissible { path: path(), line, source })?;
        let Relationship { resource, relation, subject, .. } = &relationship;
        if let Some(first) = lines.insert((resource.clone(), relation.clone(), subject.clone()), line) {
            let relationship = Box::new(relationship);
            return Err(Failure::Twice { path: path(), line, first, relationship });
        }
        relationships.push(relationship);
    }
    Ok(relationships)
}
