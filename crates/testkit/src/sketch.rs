//! A schema as the generator builds it and the shrinker takes it apart; printed as schema text.
//!
//! The evaluators never see it: they read the text.

use std::fmt::{self, Write as _};

use idhini_schema::SubjectKind;

/// A schema in the making.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sketch {
    /// Caveats: name, parameters and body as text.
    pub caveats: Vec<CaveatSketch>,
    /// Definitions, in the order of printing.
    pub definitions: Vec<DefinitionSketch>,
}

/// A caveat's text.
#[derive(Debug, Clone, PartialEq)]
pub struct CaveatSketch {
    /// Its name.
    pub name: String,
    /// `name type` pairs.
    pub parameters: Vec<(String, String)>,
    /// The expression.
    pub body: String,
}

/// A definition.
#[derive(Debug, Clone, PartialEq)]
pub struct DefinitionSketch {
    /// Its name.
    pub name: String,
    /// Stored members.
    pub relations: Vec<RelationSketch>,
    /// Computed members.
    pub permissions: Vec<PermissionSketch>,
}

/// A relation.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationSketch {
    /// Its name.
    pub name: String,
    /// Its alternatives; at least one.
    pub subjects: Vec<Alternative>,
}

/// One alternative of a relation's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// The subject's definition.
    pub subject_type: String,
    /// Object, wildcard or userset.
    pub kind: SubjectKind,
    /// `with cav`.
    pub caveat: Option<String>,
    /// `with expiration`.
    pub expiration: bool,
}

/// A permission.
#[derive(Debug, Clone, PartialEq)]
pub struct PermissionSketch {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub rule: Expr,
}

/// How an arrow is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrow {
    /// `->`
    Plain,
    /// `.any()`
    Any,
    /// `.all()`
    All,
}

/// A permission's rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `nil`
    Nil,
    /// `self`
    SelfObject,
    /// A member of the same definition.
    Member(String),
    /// Relation, spelling, target.
    Arrow(String, Arrow, String),
    /// `+`
    Union(Vec<Expr>),
    /// `&`
    Intersection(Vec<Expr>),
    /// `-`
    Exclusion(Box<Expr>, Box<Expr>),
}

impl Expr {
    /// Calls `visit` for this expression and all its parts.
    pub fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        match self {
            Expr::Union(parts) | Expr::Intersection(parts) => parts.iter().for_each(|p| p.walk(visit)),
            Expr::Exclusion(base, minus) => {
                base.walk(visit);
                minus.walk(visit);
            }
            _ => {}
        }
    }
}

impl Sketch {
    /// The schema text.
    #[must_use]
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// By name.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<&DefinitionSketch> {
        self.definitions.iter().find(|d| d.name == name)
    }

    fn uses_self(&self) -> bool {
        let mut found = false;
        for permission in self.definitions.iter().flat_map(|d| &d.permissions) {
            permission.rule.walk(&mut |e| found |= *e == Expr::SelfObject);
        }
        found
    }

    fn uses_expiration(&self) -> bool {
        self.definitions.iter().flat_map(|d| &d.relations).flat_map(|r| &r.subjects).any(|s| s.expiration)
    }
}

impl DefinitionSketch {
    /// Names of all members, relations first.
    pub fn member_names(&self) -> impl Iterator<Item = &str> {
        let relations = self.relations.iter().map(|r| r.name.as_str());
        relations.chain(self.permissions.iter().map(|p| p.name.as_str()))
    }

    /// By name.
    #[must_use]
    pub fn relation(&self, name: &str) -> Option<&RelationSketch> {
        self.relations.iter().find(|r| r.name == name)
    }
}

impl fmt::Display for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.uses_expiration() {
            writeln!(f, "use expiration")?;
        }
        if self.uses_self() {
            writeln!(f, "use self")?;
        }
        for caveat in &self.caveats {
            let parameters: Vec<String> =
                caveat.parameters.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
            writeln!(f, "caveat {}({}) {{ {} }}", caveat.name, parameters.join(", "), caveat.body)?;
        }
        for definition in &self.definitions {
            writeln!(f, "definition {} {{", definition.name)?;
            for relation in &definition.relations {
                let subjects: Vec<String> = relation.subjects.iter().map(ToString::to_string).collect();
                writeln!(f, "  relation {}: {}", relation.name, subjects.join(" | "))?;
            }
            for permission in &definition.permissions {
                writeln!(f, "  permission {} = {}", permission.name, permission.rule)?;
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject_type)?;
        match &self.kind {
            SubjectKind::Object => {}
            SubjectKind::Wildcard => f.write_str(":*")?,
            SubjectKind::Userset(relation) => write!(f, "#{relation}")?,
        }
        match (&self.caveat, self.expiration) {
            (None, false) => Ok(()),
            (Some(caveat), false) => write!(f, " with {caveat}"),
            (None, true) => f.write_str(" with expiration"),
            (Some(caveat), true) => write!(f, " with {caveat} and expiration"),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Nil => f.write_str("nil"),
            Expr::SelfObject => f.write_str("self"),
            Expr::Member(name) => f.write_str(name),
            Expr::Arrow(relation, Arrow::Plain, target) => write!(f, "{relation}->{target}"),
            Expr::Arrow(relation, Arrow::Any, target) => write!(f, "{relation}.any({target})"),
            Expr::Arrow(relation, Arrow::All, target) => write!(f, "{relation}.all({target})"),
            Expr::Union(parts) => joined(f, parts, " + "),
            Expr::Intersection(parts) => joined(f, parts, " & "),
            Expr::Exclusion(base, minus) => {
                operand(f, base)?;
                f.write_str(" - ")?;
                operand(f, minus)
            }
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, parts: &[Expr], separator: &str) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        operand(f, part)?;
    }
    Ok(())
}

/// Operators below operators stand in parentheses, so that the meaning never hangs on precedence.
fn operand(f: &mut fmt::Formatter<'_>, part: &Expr) -> fmt::Result {
    match part {
        Expr::Union(_) | Expr::Intersection(_) | Expr::Exclusion(..) => {
            f.write_char('(')?;
            write!(f, "{part}")?;
            f.write_char(')')
        }
        _ => write!(f, "{part}"),
    }
}
