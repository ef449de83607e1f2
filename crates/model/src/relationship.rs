//! Relationships and references, and their text: `document:readme#viewer@group:eng#member[cav:{"a":1}]`.

use std::fmt;
use std::str::FromStr;

use crate::{Context, ContextError, NameError, Timestamp, TimestampError};
use crate::{validate_caveat_name, validate_name, validate_object_id, validate_type};

/// The object id that stands for every subject of a type.
pub const WILDCARD: &str = "*";

/// An object that relations and permissions are asked of: `document:readme`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef {
    /// The definition's name.
    pub object_type: String,
    /// The object's id.
    pub object_id: String,
}

/// Who stands in a relationship: an object, a *userset* (`group:eng#member`) or a wildcard (`user:*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectRef {
    /// The definition's name.
    pub object_type: String,
    /// The object's id, or [`WILDCARD`].
    pub object_id: String,
    /// The relation or permission of a userset.
    pub relation: Option<String>,
}

/// A caveat as a relationship names it, with the context stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaveatUse {
    /// The caveat's name.
    pub name: String,
    /// The stored context; it wins over a request's.
    pub context: Context,
}

/// One stored fact. Identified by resource, relation and subject; caveat and expiration are its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// The object that the subject stands to.
    pub resource: ResourceRef,
    /// The relation's name.
    pub relation: String,
    /// Who stands in the relation.
    pub subject: SubjectRef,
    /// The condition under which the relationship counts.
    pub caveat: Option<CaveatUse>,
    /// The moment from which the relationship is as absent as a deleted one.
    pub expires_at: Option<Timestamp>,
}

/// Why a text is not a relationship or a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A separator is missing.
    #[error("expected {expected} at byte {at} of `{text}`")]
    Expected {
        /// What should stand there.
        expected: &'static str,
        /// Byte offset into the text.
        at: usize,
        /// The (shortened) text.
        text: String,
    },
    /// A part is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The caveat's context is malformed.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The expiration is malformed.
    #[error(transparent)]
    Expiration(#[from] TimestampError),
}

impl ResourceRef {
    /// `object_type:object_id`, unchecked.
    #[must_use]
    pub fn new(object_type: impl Into<String>, object_id: impl Into<String>) -> ResourceRef {
        ResourceRef { object_type: object_type.into(), object_id: object_id.into() }
    }
}

impl SubjectRef {
    /// The object itself, unchecked.
    #[must_use]
    pub fn object(object_type: impl Into<String>, object_id: impl Into<String>) -> SubjectRef {
        SubjectRef { object_type: object_type.into(), object_id: object_id.into(), relation: None }
    }

    /// Everyone who stands in `relation` to the object, unchecked.
    #[must_use]
    pub fn userset(
        object_type: impl Into<String>,
        object_id: impl Into<String>,
        relation: impl Into<String>,
    ) -> SubjectRef {
        SubjectRef {
            object_type: object_type.into(),
            object_id: object_id.into(),
            relation: Some(relation.into()),
        }
    }

    /// Whether this stands for every subject of its type.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.object_id == WILDCARD
    }
}

impl Relationship {
    /// A relationship without caveat and expiration, unchecked.
    #[must_use]
    pub fn new(resource: ResourceRef, relation: impl Into<String>, subject: SubjectRef) -> Relationship {
        Relationship { resource, relation: relation.into(), subject, caveat: None, expires_at: None }
    }

    /// Whether both name the same resource, relation and subject.
    #[must_use]
    pub fn same_identity(&self, other: &Relationship) -> bool {
        self.resource == other.resource && self.relation == other.relation && self.subject == other.subject
    }
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object_type, self.object_id)
    }
}

impl fmt::Display for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object_type, self.object_id)?;
        match &self.relation {
            Some(relation) => write!(f, "#{relation}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Relationship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}@{}", self.resource, self.relation, self.subject)?;
        match &self.caveat {
            Some(caveat) if caveat.context.is_empty() => write!(f, "[{}]", caveat.name)?,
            Some(caveat) => write!(f, "[{}:{}]", caveat.name, caveat.context)?,
            None => {}
        }
        match self.expires_at {
            Some(at) => write!(f, "[expiration:{at}]"),
            None => Ok(()),
        }
    }
}

impl FromStr for ResourceRef {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<ResourceRef, ParseError> {
        let (object_type, object_id) = text.split_once(':').ok_or_else(|| expected("`type:id`", 0, text))?;
        validate_type(object_type)?;
        validate_object_id(object_id)?;
        Ok(ResourceRef::new(object_type, object_id))
    }
}

impl FromStr for SubjectRef {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<SubjectRef, ParseError> {
        let (object, relation) = parse_reference(text)?;
        Ok(SubjectRef { object_type: object.object_type, object_id: object.object_id, relation })
    }
}

/// Reads `type:id`, `type:*` or `type:id#relation`; `#...` means no relation.
///
/// # Errors
/// [`ParseError`] naming the malformed part.
pub fn parse_reference(text: &str) -> Result<(ResourceRef, Option<String>), ParseError> {
    let (object, relation) = match text.split_once('#') {
        Some((object, "...")) => (object, None),
        Some((object, relation)) => (object, Some(relation)),
        None => (text, None),
    };
    let (object_type, object_id) =
        object.split_once(':').ok_or_else(|| expected("`type:id` or `type:id#relation`", 0, text))?;
    validate_type(object_type)?;
    if object_id != WILDCARD || relation.is_some() {
        validate_object_id(object_id)?;
    }
    if let Some(relation) = relation {
        validate_name(relation)?;
    }
    Ok((ResourceRef::new(object_type, object_id), relation.map(str::to_owned)))
}

impl FromStr for Relationship {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Relationship, ParseError> {
        let text = text.trim();
        let (head, attributes) = match text.find('[') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let head = head.trim_end();
        let (left, subject) =
            head.split_once('@').ok_or_else(|| expected("`@` and a subject", head.len(), text))?;
        let (resource, relation) =
            left.split_once('#').ok_or_else(|| expected("`#` and a relation", left.len(), text))?;
        validate_name(relation)?;
        let mut relationship = Relationship::new(resource.parse()?, relation, subject.parse()?);
        parse_attributes(attributes, text, &mut relationship)?;
        Ok(relationship)
    }
}

/// `[caveat]`, `[caveat:{json}]` and `[expiration:time]`, each at most once.
fn parse_attributes(mut rest: &str, text: &str, into: &mut Relationship) -> Result<(), ParseError> {
    while !rest.trim_start().is_empty() {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let end =
            closing_bracket(rest).ok_or_else(|| expected("`[caveat:{…}]` or `[expiration:…]`", at, text))?;
        let body = &rest[1..end];
        let (name, value) = body.split_once(':').map_or((body, None), |(n, v)| (n, Some(v)));
        match (name, value) {
            ("expiration", Some(value)) if into.expires_at.is_none() => {
                into.expires_at = Some(value.parse()?)
            }
            (name, value) if name != "expiration" && into.caveat.is_none() => {
                validate_caveat_name(name)?;
                let context = value.map_or(Ok(Context::default()), Context::from_json)?;
                into.caveat = Some(CaveatUse { name: name.to_owned(), context });
            }
            _ => return Err(expected("at most one caveat and one expiration", at, text)),
        }
        rest = &rest[end + 1..];
    }
    Ok(())
}

/// The offset of the `]` that closes the `[` at the start, skipping JSON strings.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if at == 0 && byte != b'[' => return None,
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' if !quoted => depth += 1,
            b']' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn expected(expected: &'static str, at: usize, text: &str) -> ParseError {
    ParseError::Expected { expected, at, text: text.chars().take(120).collect() }
}
