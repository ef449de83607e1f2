//! What does a validation file say? A schema, relationships, and what must follow from them, each with its line.
//!
//! The form is SpiceDB's: `schema` or `schemaFile`, `relationships`, `assertions` and `validation`.
//!
//! # Invariants
//! * Every assertion, expectation and relationship knows the line it stands in.
//! * A key that is not known is an error: what is not understood is not passed over as if it held.

mod expected;
mod run;
mod yaml;

use std::path::Path;

use idhini_model::{Context, Relationship, ResourceRef, SubjectRef};
use idhini_schema::Schema;

pub(crate) use self::expected::{ExpectedRelation, ExpectedSubject};
pub(crate) use self::run::run;
use self::yaml::{Mistake, Node, Value};
use crate::failure::Failure;
use crate::files::{read_schema, read_text};

/// Largest file taken, in bytes.
const FILE_BYTES_MAX: usize = 256 << 20;

/// A validation file.
#[derive(Debug)]
pub(crate) struct ValidationFile {
    /// As it was named.
    pub(crate) path: String,
    pub(crate) schema: Schema,
    /// As it was written.
    pub(crate) schema_text: String,
    /// Each with its line.
    pub(crate) relationships: Vec<(usize, Relationship)>,
    pub(crate) assertions: Vec<Assertion>,
    pub(crate) expected: Vec<ExpectedRelation>,
}

/// What a check must answer.
#[derive(Debug)]
pub(crate) struct Assertion {
    pub(crate) line: usize,
    pub(crate) wanted: idhini_engine::Permissionship,
    pub(crate) resource: ResourceRef,
    pub(crate) permission: String,
    pub(crate) subject: SubjectRef,
    pub(crate) context: Context,
}

/// Where the texts of scalars stand in the file.
struct Source<'a> {
    lines: Vec<&'a str>,
}

impl ValidationFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Failure::Validation`] with the line of the first mistake.
    pub(crate) fn read(path: &Path) -> Result<ValidationFile, Failure> {
        let text = read_text(path)?;
        let name = path.to_string_lossy().into_owned();
        let failed = |Mistake { line, column, message }| Failure::Validation {
            path: name.clone(),
            line,
            column,
            message,
        };
        if text.len() > FILE_BYTES_MAX {
            return Err(failed(Mistake::at(1, format!("the file has more than {FILE_BYTES_MAX} bytes"))));
        }
        let source = Source { lines: text.lines().collect() };
        let sections = Sections::of(yaml::parse(&text).map_err(failed)?).map_err(failed)?;
        let (schema, schema_text) = match (&sections.schema, &sections.schema_file) {
            (Some(node), None) => source.schema(node).map_err(failed)?,
            (None, Some(node)) => {
                let folder = path.parent().unwrap_or(Path::new("."));
                let text = read_schema(&folder.join(scalar(node).map_err(failed)?))?;
                (
                    Schema::parse(&text)
                        .map_err(|error| failed(Mistake::at(node.line, error.to_string())))?,
                    text,
                )
            }
            (Some(_), Some(second)) => {
                return Err(failed(Mistake::at(
                    second.line,
                    "both `schema` and `schemaFile`: leave one out",
                )));
            }
            (None, None) => {
                return Err(failed(Mistake::at(1, "no `schema` and no `schemaFile`: add one of them")));
            }
        };
        let relationships = source.relationships(sections.relationships.as_ref(), &schema).map_err(failed)?;
        Ok(ValidationFile {
            assertions: assertions(sections.assertions.as_ref()).map_err(failed)?,
            expected: expected::read(sections.validation.as_ref()).map_err(failed)?,
            path: name,
            schema,
            schema_text,
            relationships,
        })
    }
}

#[derive(Default)]
struct Sections {
    schema: Option<Node>,
    schema_file: Option<Node>,
    relationships: Option<Node>,
    assertions: Option<Node>,
    validation: Option<Node>,
}

impl Sections {
    fn of(document: Option<Node>) -> Result<Sections, Mistake> {
        let mut sections = Sections::default();
        let Some(document) = document else { return Ok(sections) };
        for (key, node) in entries(document)? {
            let place = match scalar(&key)? {
                "schema" => &mut sections.schema,
                "schemaFile" => &mut sections.schema_file,
                "relationships" => &mut sections.relationships,
                "assertions" => &mut sections.assertions,
                "validation" => &mut sections.validation,
                other => {
                    let known = "schema, schemaFile, relationships, assertions and validation";
                    return Err(Mistake::at(key.line, format!("`{other}` is not known here; {known} are")));
                }
            };
            if place.replace(node).is_some() {
                return Err(Mistake::at(key.line, "this section is there twice"));
            }
        }
        Ok(sections)
    }
}

impl Source<'_> {
    /// The lines of a scalar's text, each with the line of the file that it stands in: folding and quoting move them, so
    /// they are looked up.
    fn place<'t>(&self, node: &Node, text: &'t str) -> Vec<(usize, &'t str)> {
        let mut at = node.line.saturating_sub(1);
        let find = |line: &'t str| {
            let wanted = line.trim();
            let found =
                (at..self.lines.len()).find(|n| !wanted.is_empty() && self.lines[*n].contains(wanted));
            if let Some(found) = found {
                at = found;
            }
            (at + 1, line)
        };
        text.lines().map(find).collect()
    }

    fn schema(&self, node: &Node) -> Result<(Schema, String), Mistake> {
        let text = scalar(node)?.to_owned();
        let schema = Schema::parse(&text).map_err(|error| {
            let placed = self.place(node, &text);
            let (line, inside) =
                placed.get(error.line.saturating_sub(1) as usize).copied().unwrap_or((node.line, ""));
            let raw = self.lines.get(line - 1).copied().unwrap_or_default();
            let indent = raw.find(inside.trim()).unwrap_or(0);
            let own = inside.len() - inside.trim_start().len();
            let column = (error.column as usize + indent).saturating_sub(own);
            Mistake { line, column: Some(column), message: error.message }
        })?;
        Ok((schema, text))
    }

    fn relationships(
        &self,
        node: Option<&Node>,
        schema: &Schema,
    ) -> Result<Vec<(usize, Relationship)>, Mistake> {
        let Some(node) = node else { return Ok(Vec::new()) };
        let mut found: Vec<(usize, Relationship)> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        for (line, text) in self.place(node, scalar(node)?) {
            let text = text.trim();
            if text.is_empty() || text.starts_with("//") || text.starts_with('#') {
                continue;
            }
            let relationship: Relationship =
                text.parse().map_err(|error| Mistake::at(line, format!("not a relationship: {error}")))?;
            schema
                .validate_relationship(&relationship)
                .map_err(|error| Mistake::at(line, error.to_string()))?;
            let Relationship { resource, relation, subject, .. } = &relationship;
            if let Some(first) = seen.insert((resource.clone(), relation.clone(), subject.clone()), line) {
                return Err(Mistake::at(line, format!("the same relationship as in line {first}")));
            }
            found.push((line, relationship));
        }
        Ok(found)
    }
}

fn scalar(node: &Node) -> Result<&str, Mistake> {
    match &node.value {
        Value::Scalar(text) => Ok(text),
        _ => Err(Mistake::at(node.line, "a text is expected here")),
    }
}

fn entries(node: Node) -> Result<Vec<(Node, Node)>, Mistake> {
    match node.value {
        Value::Mapping(entries) => Ok(entries),
        Value::Scalar(text) if text.is_empty() => Ok(Vec::new()),
        _ => Err(Mistake::at(node.line, "`key: value` is expected here")),
    }
}

/// The items of a list; a key without a value has none.
fn items(node: &Node) -> Result<&[Node], Mistake> {
    match &node.value {
        Value::Sequence(items) => Ok(items),
        Value::Scalar(text) if text.is_empty() || text == "null" || text == "~" => Ok(&[]),
        _ => Err(Mistake::at(node.line, "a list is expected here, each item behind a `-`")),
    }
}

fn mapping(node: &Node) -> Result<&[(Node, Node)], Mistake> {
    match &node.value {
        Value::Mapping(entries) => Ok(entries),
        Value::Scalar(text) if text.is_empty() || text == "null" || text == "~" => Ok(&[]),
        _ => Err(Mistake::at(node.line, "`key: value` is expected here")),
    }
}

fn assertions(node: Option<&Node>) -> Result<Vec<Assertion>, Mistake> {
    use idhini_engine::Permissionship::{Conditional, Has, No};
    let mut found = Vec::new();
    let Some(node) = node else { return Ok(found) };
    for (key, list) in mapping(node)? {
        let wanted = match scalar(key)? {
            "assertTrue" => Has,
            "assertFalse" => No,
            "assertCaveated" => Conditional,
            other => {
                let known = "assertTrue, assertFalse and assertCaveated";
                return Err(Mistake::at(key.line, format!("`{other}` is not known here; {known} are")));
            }
        };
        for item in items(list)? {
            found.push(assertion(item.line, wanted, scalar(item)?)?);
        }
    }
    Ok(found)
}

/// `document:readme#view@user:tom`, and perhaps ` with {"day": "tuesday"}`.
fn assertion(line: usize, wanted: idhini_engine::Permissionship, text: &str) -> Result<Assertion, Mistake> {
    let (question, context) = match text.split_once(" with ") {
        Some((question, context)) => (question.trim(), Some(context.trim())),
        None => (text.trim(), None),
    };
    let context = context.map_or(Ok(Context::default()), Context::from_json);
    let context = context.map_err(|error| Mistake::at(line, format!("behind `with`: {error}")))?;
    let asked: Relationship = question.parse().map_err(|error| {
        Mistake::at(line, format!("an assertion is such as document:readme#view@user:tom: {error}"))
    })?;
    if asked.caveat.is_some() || asked.expires_at.is_some() {
        return Err(Mistake::at(
            line,
            "an assertion has no caveat; give values as ` with {\"day\": \"tuesday\"}`",
        ));
    }
    let Relationship { resource, relation, subject, .. } = asked;
    Ok(Assertion { line, wanted, resource, permission: relation, subject, context })
}
