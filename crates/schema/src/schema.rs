//! The checked schema: definitions, their members, caveats.

use std::sync::Arc;

use idhini_caveat::Caveat;

use crate::mistake::Mistake;
use crate::{canonical, check, parser};

/// A checked schema; immutable. Definitions, caveats and members are sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) caveats: Vec<Arc<Caveat>>,
    /// One per caveat.
    pub(crate) caveat_comments: Vec<Vec<String>>,
    /// Whether declared subject types were asked to be checked.
    pub(crate) typechecking: bool,
}

/// One object type.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// With its `/` prefixes.
    pub name: String,
    /// Comments above it, `//` and `/* */` kept, lines in order.
    pub comments: Vec<String>,
    /// Stored members, sorted by name.
    pub relations: Vec<Relation>,
    /// Computed members, sorted by name.
    pub permissions: Vec<Permission>,
    /// All members in the order they were written.
    pub(crate) order: Vec<Member>,
}

/// A member of a definition, by its index among the relations or the permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Member {
    Relation(u32),
    Permission(u32),
}

/// A stored member.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// Unique among the definition's members.
    pub name: String,
    /// Comments above it.
    pub comments: Vec<String>,
    /// What may stand in it; in the order written, none twice.
    pub subjects: Vec<AllowedSubject>,
}

/// One alternative of a relation's type: `user`, `user:*`, `group#member`, with traits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AllowedSubject {
    /// The subject's definition.
    pub subject_type: String,
    /// Object, wildcard or userset.
    pub kind: SubjectKind,
    /// `with cav`.
    pub caveat: Option<String>,
    /// `with expiration`.
    pub expiration: bool,
}

/// Object, wildcard or userset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// `user`.
    Object,
    /// `user:*`.
    Wildcard,
    /// `group#member`.
    Userset(String),
}

/// A computed member.
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    /// Unique among the definition's members.
    pub name: String,
    /// Comments above it.
    pub comments: Vec<String>,
    /// Subject types that `permission p: a | b = …` declares.
    pub declared_types: Option<Vec<String>>,
    /// The rule.
    pub expression: Expression,
}

/// `rel->x` and `rel.any(x)`, or `rel.all(x)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArrowKind {
    /// At least one of the followed objects.
    Any,
    /// Each of the followed objects, and at least one.
    All,
}

/// A permission's rule. Nesting is bounded by the parser, so recursion over it is safe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expression {
    /// `nil`: nobody.
    Nil,
    /// `self`: the object itself, as a subject without a relation.
    SelfObject,
    /// A relation or permission of the same definition.
    Member(String),
    /// Follow `relation` and ask `target` there.
    Arrow {
        /// A relation of the same definition.
        relation: String,
        /// Any or all.
        kind: ArrowKind,
        /// A member of the definitions followed to; those without it are skipped.
        target: String,
    },
    /// `a + b + …`: two or more, none itself a union.
    Union(Vec<Expression>),
    /// `a & b & …`: two or more, none itself an intersection.
    Intersection(Vec<Expression>),
    /// `a - b`.
    Exclusion(Box<Expression>, Box<Expression>),
}

/// An *edge class*: all relationships of one shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClassKey {
    /// The resource's definition.
    pub resource_type: String,
    /// The relation's name.
    pub relation: String,
    /// The subject's definition.
    pub subject_type: String,
    /// Object, wildcard or userset.
    pub subject: SubjectKind,
}

/// Why a text is not a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct SchemaError {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What was found, what was expected, and the remedy.
    pub message: String,
    /// Whether the text parses but does not type-check.
    pub is_type_error: bool,
    /// Of a type error, the names that it is about, by the API's keys: `definition_name`, `caveat_name`, …
    pub names: Vec<(&'static str, String)>,
}

impl Schema {
    /// The schema that defines nothing.
    #[must_use]
    pub fn empty() -> Schema {
        Schema {
            definitions: Vec::new(),
            caveats: Vec::new(),
            caveat_comments: Vec::new(),
            typechecking: false,
        }
    }

    /// Parses and checks one text; `import` is refused.
    ///
    /// # Errors
    /// [`SchemaError`] with the place of the first mistake.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        let file = parser::parse_file(text, 0).map_err(|mistake| mistake.at(text))?;
        if let Some(import) = file.imports.first() {
            let message =
                "a server reads no files: write the schema with the command line, which resolves `import`";
            return Err(Mistake::syntax(import.place, message.to_owned()).at(text));
        }
        check::check(&[file]).map_err(|mistake| mistake.at(text))
    }

    /// Whether nothing is defined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty() && self.caveats.is_empty()
    }

    /// Sorted by name.
    #[must_use]
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Sorted by name.
    #[must_use]
    pub fn caveats(&self) -> &[Arc<Caveat>] {
        &self.caveats
    }

    /// By name.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.binary_search_by(|d| d.name.as_str().cmp(name)).ok().map(|i| &self.definitions[i])
    }

    /// By name.
    #[must_use]
    pub fn caveat(&self, name: &str) -> Option<&Arc<Caveat>> {
        self.caveat_index(name).map(|i| &self.caveats[i])
    }

    /// The comments above a caveat.
    #[must_use]
    pub fn caveat_comments(&self, name: &str) -> &[String] {
        self.caveat_index(name).map_or(&[], |i| &self.caveat_comments[i])
    }

    /// All edge classes, sorted, none twice.
    #[must_use]
    pub fn classes(&self) -> Vec<ClassKey> {
        let mut classes: Vec<ClassKey> = Vec::new();
        for definition in &self.definitions {
            for relation in &definition.relations {
                classes.extend(relation.subjects.iter().map(|subject| ClassKey {
                    resource_type: definition.name.clone(),
                    relation: relation.name.clone(),
                    subject_type: subject.subject_type.clone(),
                    subject: subject.kind.clone(),
                }));
            }
        }
        classes.sort();
        classes.dedup();
        classes
    }

    /// Whether some relation allows subjects with an expiration.
    #[must_use]
    pub fn uses_expiration(&self) -> bool {
        self.definitions.iter().flat_map(|d| &d.relations).flat_map(|r| &r.subjects).any(|s| s.expiration)
    }

    /// Whether some permission names `self`, the object itself.
    #[must_use]
    pub fn uses_self(&self) -> bool {
        self.definitions.iter().flat_map(|d| &d.permissions).any(|p| p.expression.names_self())
    }

    /// The text that `ReadSchema` answers: caveats, then definitions, each sorted by name, comments kept.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        canonical::text(self)
    }

    fn caveat_index(&self, name: &str) -> Option<usize> {
        self.caveats.binary_search_by(|c| c.name().cmp(name)).ok()
    }
}

impl Definition {
    /// By name.
    #[must_use]
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.binary_search_by(|r| r.name.as_str().cmp(name)).ok().map(|i| &self.relations[i])
    }

    /// By name.
    #[must_use]
    pub fn permission(&self, name: &str) -> Option<&Permission> {
        self.permissions.binary_search_by(|p| p.name.as_str().cmp(name)).ok().map(|i| &self.permissions[i])
    }

    /// Whether a relation or permission has this name.
    #[must_use]
    pub fn has_member(&self, name: &str) -> bool {
        self.relation(name).is_some() || self.permission(name).is_some()
    }
}

impl Expression {
    /// Recursion is bounded by the parser's limit on nesting.
    fn names_self(&self) -> bool {
        match self {
            Expression::SelfObject => true,
            Expression::Nil | Expression::Member(_) | Expression::Arrow { .. } => false,
            Expression::Union(terms) | Expression::Intersection(terms) => {
                terms.iter().any(Expression::names_self)
            }
            Expression::Exclusion(base, excluded) => base.names_self() || excluded.names_self(),
        }
    }
}
