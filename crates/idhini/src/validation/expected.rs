//! What does a `validation` section expect? Per permission of an object, who has it, and through which relations.
//!
//! ```yaml
//! validation:
//!   document:readme#view:
//!     - "[user:tom] is <document:readme#viewer>"
//!     - "[user:eve[...]] is <document:readme#viewer>"
//!     - "[user:* - {user:bob}] is <document:readme#viewer>/<document:readme#owner>"
//! ```
//! `[...]` marks who has it under a condition; `{…}` are those a wildcard excludes, who may bear that mark as well.

use std::collections::BTreeSet;

use idhini_model::{ResourceRef, SubjectRef, parse_reference};

use super::yaml::{Mistake, Node};
use super::{items, mapping, scalar};

/// Marks who has a permission under a condition.
const CONDITIONAL_MARK: &str = "[...]";

/// Who has one permission of one object.
#[derive(Debug)]
pub(crate) struct ExpectedRelation {
    pub(crate) line: usize,
    pub(crate) resource: ResourceRef,
    pub(crate) permission: String,
    pub(crate) expectations: Vec<Expectation>,
}

/// One who has it.
#[derive(Debug)]
pub(crate) struct Expectation {
    pub(crate) line: usize,
    pub(crate) subject: ExpectedSubject,
    /// Whom a wildcard excludes.
    pub(crate) excluded: BTreeSet<ExpectedSubject>,
    /// The relations in which the subject stands, as text; not judged if there is none.
    pub(crate) through: BTreeSet<String>,
}

/// A subject, and whether only under a condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExpectedSubject {
    pub(crate) subject: SubjectRef,
    pub(crate) is_conditional: bool,
}

pub(super) fn read(node: Option<&Node>) -> Result<Vec<ExpectedRelation>, Mistake> {
    let mut found = Vec::new();
    let Some(node) = node else { return Ok(found) };
    for (key, list) in mapping(node)? {
        let malformed =
            |why: String| Mistake::at(key.line, format!("document:readme#view is expected here: {why}"));
        let (resource, permission) =
            parse_reference(scalar(key)?).map_err(|error| malformed(error.to_string()))?;
        let permission = permission.ok_or_else(|| malformed("there is no `#`".to_owned()))?;
        let expectations = items(list)?.iter().map(expectation).collect::<Result<_, _>>()?;
        found.push(ExpectedRelation { line: key.line, resource, permission, expectations });
    }
    Ok(found)
}

fn expectation(item: &Node) -> Result<Expectation, Mistake> {
    let line = item.line;
    let malformed = || {
        Mistake::at(
            line,
            "`[user:tom] is <document:readme#viewer>` is expected here, with `/` between several",
        )
    };
    let text = scalar(item)?.trim();
    let (subject, through) = match text.split_once("] is ") {
        Some((subject, through)) => (subject, through.trim()),
        None => (text.strip_suffix(']').ok_or_else(malformed)?, ""),
    };
    let subject = subject.trim().strip_prefix('[').ok_or_else(malformed)?;
    let (subject, excluded) = match subject.split_once(" - ") {
        Some((subject, excluded)) => {
            let inside = excluded.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            (subject, inside.ok_or_else(malformed)?)
        }
        None => (subject, ""),
    };
    let excluded = excluded.split(',').map(str::trim).filter(|text| !text.is_empty());
    let through = through.split('/').filter(|_| !through.is_empty());
    // Types have `/` in their names, so that the parts of `<a/b:c#d>` are put together again.
    let mut relations = BTreeSet::new();
    let mut open = String::new();
    for part in through {
        open = if open.is_empty() { part.trim().to_owned() } else { format!("{open}/{}", part.trim()) };
        if let Some(whole) = open.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
            relations.insert(whole.to_owned());
            open.clear();
        }
    }
    if !open.is_empty() {
        return Err(malformed());
    }
    Ok(Expectation {
        line,
        subject: expected_subject(line, subject)?,
        excluded: excluded.map(|text| expected_subject(line, text)).collect::<Result<_, _>>()?,
        through: relations,
    })
}

fn expected_subject(line: usize, text: &str) -> Result<ExpectedSubject, Mistake> {
    let text = text.trim();
    let (name, is_conditional) = match text.strip_suffix(CONDITIONAL_MARK) {
        Some(name) => (name, true),
        None => (text, false),
    };
    let subject = name.parse().map_err(|error| Mistake::at(line, format!("not a subject: {error}")))?;
    Ok(ExpectedSubject { subject, is_conditional })
}
