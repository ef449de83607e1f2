//! Schemas: written, read, compared, checked, formatted, tested.

use std::path::{Path, PathBuf};

use idhini_schema::Schema;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::reflection_schema_diff::Diff;
use serde_json::json;

use super::Asked;
use crate::arguments::{Consistency, ReadSchema, SchemaCommand};
use crate::client::Server;
use crate::clock::now;
use crate::failure::{Failure, STATUS_MALFORMED};
use crate::files::{read_schema, read_text};
use crate::output;
use crate::validation::{self, ValidationFile};

/// Something differs, or does not hold.
const STATUS_DIFFERS: u8 = 1;

pub(super) async fn run(asked: Asked<'_>, command: SchemaCommand) -> Result<u8, Failure> {
    match command {
        SchemaCommand::Write { file } => write(asked, &file).await.map(|()| 0),
        SchemaCommand::Read(of) => read(asked, &of).await.map(|()| 0),
        SchemaCommand::Diff { before, after } => diff(asked, &before, after.as_deref()).await,
        SchemaCommand::Validate { files } => Ok(validate(asked, &files)),
        SchemaCommand::Format { file, write, check } => format(asked, &file, write, check),
        SchemaCommand::Test { files } => test(asked, &files),
    }
}

async fn write(asked: Asked<'_>, file: &Path) -> Result<(), Failure> {
    let schema = read_schema(file)?;
    let server = Server::connect(asked.connection).await?;
    let request = server.request(v1::WriteSchemaRequest { schema });
    let answer = server.schemas().write_schema(request).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line("schema");
    output::line(&answer.written_at.unwrap_or_default().token);
    Ok(())
}

pub(super) async fn read(asked: Asked<'_>, of: &ReadSchema) -> Result<(), Failure> {
    let consistency = Consistency { as_of: of.as_of, ..Consistency::default() };
    let (server, _) = Server::connect(asked.connection).await?.asked(&consistency);
    let answer = server.schemas().read_schema(server.request(v1::ReadSchemaRequest {})).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line(answer.schema_text.trim_end());
    Ok(())
}

/// Of two files in process; of one, by the server.
async fn diff(asked: Asked<'_>, before: &Path, after: Option<&Path>) -> Result<u8, Failure> {
    let answer = match after {
        Some(after) => {
            let (before, after) = (parsed(before)?, parsed(after)?);
            let diffs = idhini_server::schema_differences(&before, &after);
            v1::DiffSchemaResponse { diffs, read_at: None }
        }
        None => {
            let (server, consistency) = Server::connect(asked.connection).await?.asked(&Default::default());
            let request = v1::DiffSchemaRequest { consistency, comparison_schema: read_schema(before)? };
            server.schemas().diff_schema(server.request(request)).await?.into_inner()
        }
    };
    if asked.connection.json {
        output::message(&answer)?;
    } else {
        for diff in answer.diffs.iter().filter_map(|diff| diff.diff.as_ref()) {
            let (word, text) = told(diff);
            output::line_of(word, &text, asked.style);
        }
        if answer.diffs.is_empty() {
            output::line("nothing differs");
        }
    }
    Ok(if answer.diffs.is_empty() { 0 } else { STATUS_DIFFERS })
}

fn parsed(path: &Path) -> Result<Schema, Failure> {
    let text = read_schema(path)?;
    Schema::parse(&text).map_err(|error| {
        Failure::Schema(idhini_schema::ImportError { path: path.to_string_lossy().into_owned(), error })
    })
}

fn told(diff: &Diff) -> (&'static str, String) {
    let relation = |of: &v1::ReflectionRelation| format!("{}#{}", of.parent_definition_name, of.name);
    let permission = |of: &v1::ReflectionPermission| format!("{}#{}", of.parent_definition_name, of.name);
    let parameter =
        |of: &v1::ReflectionCaveatParameter| format!("{}({} {})", of.parent_caveat_name, of.name, of.r#type);
    let subject = |of: &v1::ReflectionRelationSubjectTypeChange| {
        let relation = of.relation.as_ref().map(relation).unwrap_or_default();
        let subject = of.changed_subject_type.as_ref().map(type_text).unwrap_or_default();
        format!("relation {relation}: {subject}")
    };
    match diff {
        Diff::DefinitionAdded(d) => ("added", format!("definition {}", d.name)),
        Diff::DefinitionRemoved(d) => ("removed", format!("definition {}", d.name)),
        Diff::DefinitionDocCommentChanged(d) => ("changed", format!("comment of definition {}", d.name)),
        Diff::RelationAdded(r) => ("added", format!("relation {}", relation(r))),
        Diff::RelationRemoved(r) => ("removed", format!("relation {}", relation(r))),
        Diff::RelationDocCommentChanged(r) => ("changed", format!("comment of relation {}", relation(r))),
        Diff::RelationSubjectTypeAdded(c) => ("added", subject(c)),
        Diff::RelationSubjectTypeRemoved(c) => ("removed", subject(c)),
        Diff::PermissionAdded(p) => ("added", format!("permission {}", permission(p))),
        Diff::PermissionRemoved(p) => ("removed", format!("permission {}", permission(p))),
        Diff::PermissionDocCommentChanged(p) => {
            ("changed", format!("comment of permission {}", permission(p)))
        }
        Diff::PermissionExprChanged(p) => ("changed", format!("rule of permission {}", permission(p))),
        Diff::CaveatAdded(c) => ("added", format!("caveat {}", c.name)),
        Diff::CaveatRemoved(c) => ("removed", format!("caveat {}", c.name)),
        Diff::CaveatDocCommentChanged(c) => ("changed", format!("comment of caveat {}", c.name)),
        Diff::CaveatExprChanged(c) => {
            ("changed", format!("expression of caveat {}: {}", c.name, c.expression))
        }
        Diff::CaveatParameterAdded(p) => ("added", format!("parameter {}", parameter(p))),
        Diff::CaveatParameterRemoved(p) => ("removed", format!("parameter {}", parameter(p))),
        Diff::CaveatParameterTypeChanged(c) => {
            let now = c.parameter.as_ref().map(parameter).unwrap_or_default();
            ("changed", format!("parameter {now}, was {}", c.previous_type))
        }
    }
}

fn type_text(of: &v1::ReflectionTypeReference) -> String {
    use v1::reflection_type_reference::Typeref;
    let kind = match &of.typeref {
        Some(Typeref::OptionalRelationName(relation)) => format!("#{relation}"),
        Some(Typeref::IsPublicWildcard(true)) => ":*".to_owned(),
        _ => String::new(),
    };
    let caveat = match of.optional_caveat_name.as_str() {
        "" => String::new(),
        name => format!(" with {name}"),
    };
    format!("{}{kind}{caveat}", of.subject_definition_name)
}

/// Names the first mistake of each file.
fn validate(asked: Asked<'_>, files: &[PathBuf]) -> u8 {
    let mut status = 0;
    for path in files {
        let outcome = read_schema(path);
        if let Err(failure) = &outcome {
            status = STATUS_MALFORMED;
            if !asked.connection.json {
                output::failure(failure, asked.style);
            }
        }
        let name = path.to_string_lossy();
        match (asked.connection.json, &outcome) {
            (true, outcome) => {
                let error = outcome.as_ref().err().map(ToString::to_string);
                output::json_line(&json!({ "file": name, "isValid": error.is_none(), "error": error }));
            }
            (false, Ok(_)) => output::line_of("passed", &name, asked.style),
            (false, Err(_)) => {}
        }
    }
    status
}

fn format(asked: Asked<'_>, file: &Path, is_written: bool, is_checked: bool) -> Result<u8, Failure> {
    // Only printing puts imported files in the place of their imports.
    let text = if is_written || is_checked { read_text(file)? } else { read_schema(file)? };
    let schema = Schema::parse(&text).map_err(|error| {
        Failure::Schema(idhini_schema::ImportError { path: file.to_string_lossy().into_owned(), error })
    })?;
    let canonical = format!("{}\n", schema.canonical_text().trim_end());
    if is_checked {
        let is_canonical = canonical == text;
        let verdict = if is_canonical { "is" } else { "is not" };
        match asked.connection.json {
            true => {
                output::json_line(&json!({ "file": file.to_string_lossy(), "isCanonical": is_canonical }))
            }
            false => output::line(&format!("{} {verdict} in canonical form", file.display())),
        }
        return Ok(if is_canonical { 0 } else { STATUS_DIFFERS });
    }
    if is_written {
        std::fs::write(file, canonical).map_err(|source| Failure::Write { path: file.to_owned(), source })?;
        return Ok(0);
    }
    match asked.connection.json {
        true => output::message(&v1::ReadSchemaResponse { schema_text: canonical, read_at: None })?,
        false => output::line(canonical.trim_end()),
    }
    Ok(0)
}

/// Runs validation files; a file that cannot be read ends the run.
fn test(asked: Asked<'_>, files: &[PathBuf]) -> Result<u8, Failure> {
    let mut status = 0;
    for path in files {
        let file = ValidationFile::read(path)?;
        let outcome = validation::run(&file, now());
        if !outcome.failures.is_empty() {
            status = STATUS_DIFFERS;
        }
        if asked.connection.json {
            let failures = outcome.failures.iter();
            let failures = failures.map(|(line, what)| json!({ "line": line, "what": what }));
            output::json_line(&json!({
                "file": file.path, "assertions": outcome.assertions, "expectations": outcome.expectations,
                "failures": failures.collect::<Vec<_>>(),
            }));
            continue;
        }
        for (line, what) in &outcome.failures {
            output::line_of("failed", &format!("{}:{line}: {what}", file.path), asked.style);
        }
        let word = if outcome.failures.is_empty() { "passed" } else { "failed" };
        let text = format!(
            "{}: {} assertions, {} expected relations, {} failures",
            file.path,
            outcome.assertions,
            outcome.expectations,
            outcome.failures.len()
        );
        output::line_of(word, &text, asked.style);
    }
    Ok(status)
}
