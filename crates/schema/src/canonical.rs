//! How is a schema written? The one text that each schema has.
//!
//! The flags it needs, caveats, then definitions, each sorted by name; members in the order they were written.
//! Parentheses stand around every operation inside another one, but a union of nothing but names: `+` binds tightest.

use std::fmt::{self, Write as _};

use crate::schema::Member;
use crate::{
    AllowedSubject, ArrowKind, Definition, Expression, Permission, Relation, Schema, SubjectKind, comment,
};

pub(crate) fn text(schema: &Schema) -> String {
    let mut out = String::new();
    for (is_needed, flag) in [
        (schema.uses_expiration(), "expiration"),
        (schema.uses_self(), "self"),
        (schema.typechecking, "typechecking"),
    ] {
        if is_needed {
            out.push_str("use ");
            out.push_str(flag);
            out.push('\n');
        }
    }
    for (caveat, comments) in schema.caveats.iter().zip(&schema.caveat_comments) {
        separate(&mut out);
        print_comments(comments, "", &mut out);
        let parameters: Vec<String> =
            caveat.parameters().iter().map(|p| format!("{} {}", p.name, p.value_type)).collect();
        let expression = caveat.expression().trim();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "caveat {}({}) {{\n\t{expression}\n}}", caveat.name(), parameters.join(", "));
    }
    for definition in &schema.definitions {
        separate(&mut out);
        print_definition(definition, &mut out);
    }
    out.truncate(out.trim_end().len());
    out
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

fn print_comments(comments: &[String], indent: &str, out: &mut String) {
    comments.iter().for_each(|text| comment::print(text, indent, out));
}

fn print_definition(definition: &Definition, out: &mut String) {
    print_comments(&definition.comments, "", out);
    if definition.order.is_empty() {
        let _ = writeln!(out, "definition {} {{}}", definition.name);
        return;
    }
    let _ = writeln!(out, "definition {} {{", definition.name);
    for (position, member) in definition.order.iter().enumerate() {
        let comments = match member {
            Member::Relation(index) => &definition.relations[*index as usize].comments,
            Member::Permission(index) => &definition.permissions[*index as usize].comments,
        };
        if position > 0 && !comments.is_empty() {
            out.push('\n');
        }
        print_comments(comments, "\t", out);
        let _ = match member {
            Member::Relation(index) => writeln!(out, "\t{}", definition.relations[*index as usize]),
            Member::Permission(index) => writeln!(out, "\t{}", definition.permissions[*index as usize]),
        };
    }
    out.push_str("}\n");
}

/// `relation viewer: user | group#member`, without comments.
impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relation {}: ", self.name)?;
        for (position, subject) in self.subjects.iter().enumerate() {
            write!(f, "{}{subject}", if position == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

/// `permission view = viewer + editor`, without comments.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permission {}", self.name)?;
        if let Some(declared) = &self.declared_types {
            write!(f, ": {}", declared.join(" | "))?;
        }
        write!(f, " = {}", self.expression)
    }
}

/// `group#member with cav and expiration`.
impl fmt::Display for AllowedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject_type)?;
        match &self.kind {
            SubjectKind::Object => {}
            SubjectKind::Wildcard => f.write_str(":*")?,
            SubjectKind::Userset(relation) => write!(f, "#{relation}")?,
        }
        match (&self.caveat, self.expiration) {
            (None, false) => Ok(()),
            (None, true) => f.write_str(" with expiration"),
            (Some(caveat), false) => write!(f, " with {caveat}"),
            (Some(caveat), true) => write!(f, " with {caveat} and expiration"),
        }
    }
}

/// The rule as canonical text has it.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Nil => f.write_str("nil"),
            Expression::SelfObject => f.write_str("self"),
            Expression::Member(name) => f.write_str(name),
            Expression::Arrow { relation, kind: ArrowKind::Any, target } => write!(f, "{relation}->{target}"),
            Expression::Arrow { relation, kind: ArrowKind::All, target } => {
                write!(f, "{relation}.all({target})")
            }
            Expression::Union(terms) => print_terms(terms, " + ", f),
            Expression::Intersection(terms) => print_terms(terms, " & ", f),
            Expression::Exclusion(base, excluded) => {
                print_term(base, f)?;
                f.write_str(" - ")?;
                print_term(excluded, f)
            }
        }
    }
}

/// Recursion is bounded by the parser's limit on nesting.
fn print_terms(terms: &[Expression], operator: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (position, term) in terms.iter().enumerate() {
        if position > 0 {
            f.write_str(operator)?;
        }
        print_term(term, f)?;
    }
    Ok(())
}

fn print_term(term: &Expression, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_plain = |term: &Expression| {
        !matches!(term, Expression::Union(_) | Expression::Intersection(_) | Expression::Exclusion(..))
    };
    match term {
        Expression::Union(terms) if terms.iter().all(is_plain) => write!(f, "{term}"),
        _ if is_plain(term) => write!(f, "{term}"),
        _ => write!(f, "({term})"),
    }
}
