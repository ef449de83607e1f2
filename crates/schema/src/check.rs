//! Does a parsed text make sense? Syntax to a [`Schema`], or the first mistake.
//!
//! Whether a mistake counts as one of syntax or of types follows the API: it decides the status code.
//!
//! Cost: O(text · log), but declared subject types, which walk what each permission reaches within a budget.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use idhini_caveat::{Caveat, Parameter};

use crate::mistake::{Mistake, Place, Position, quoted};
use crate::parser::SCHEMA_BYTES_MAX;
use crate::partial::Partials;
use crate::schema::Member;
use crate::syntax::{MemberKind, Name, SyntaxCaveat, SyntaxFile, SyntaxMember, SyntaxSubject};
use crate::{AllowedSubject, Definition, Permission, Relation, Schema, SubjectKind, canonical};

pub(crate) mod permission;
mod subject_types;
mod wildcard;

/// A definition with the syntax that its mistakes point into.
pub(crate) struct Draft<'a> {
    name: &'a Name,
    comments: &'a [String],
    members: Vec<&'a SyntaxMember>,
    by_name: HashMap<&'a str, &'a SyntaxMember>,
}

/// All definitions in the order of the text, and by name.
pub(crate) struct Drafts<'a> {
    list: Vec<Draft<'a>>,
    by_name: HashMap<&'a str, usize>,
}

impl<'a> Drafts<'a> {
    fn member(&self, definition: &str, member: &str) -> Option<&'a SyntaxMember> {
        self.list[*self.by_name.get(definition)?].by_name.get(member).copied()
    }

    fn has_definition(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

/// Checks the files of one schema together.
pub(crate) fn check(files: &[SyntaxFile]) -> Result<Schema, Mistake> {
    refuse_reused_names(files)?;
    let (caveats, caveat_comments) = caveats(files)?;
    let caveat_names: HashSet<&str> = caveats.iter().map(|caveat| caveat.name()).collect();
    let drafts = drafts(files)?;
    refuse_late_keywords(files, &drafts)?;
    for draft in &drafts.list {
        check_relations(draft, &drafts, &caveat_names)?;
    }
    wildcard::check(&drafts)?;
    permission::check(&drafts)?;
    let typechecking = files.iter().any(|file| file.flags.typechecking);
    if typechecking {
        subject_types::check(&drafts)?;
    }
    let mut definitions: Vec<Definition> = drafts.list.iter().map(definition).collect();
    definitions.sort_by(|a, b| a.name.cmp(&b.name));
    let declares = |d: &Definition| d.permissions.iter().any(|p| p.declared_types.is_some());
    let typechecking = typechecking && definitions.iter().any(declares);
    let schema = Schema { definitions, caveats, caveat_comments, typechecking };
    // What is stored is the canonical text, so that must be readable again.
    let length = canonical::text(&schema).len();
    if length > SCHEMA_BYTES_MAX {
        let message = format!(
            "the schema comes to {length} bytes of canonical text and may have at most {SCHEMA_BYTES_MAX}: split it into namespaces"
        );
        return Err(Mistake::syntax(Place { file: 0, at: 0 }, message));
    }
    Ok(schema)
}

fn refuse_reused_names(files: &[SyntaxFile]) -> Result<(), Mistake> {
    let mut names: Vec<&Name> = Vec::new();
    for file in files {
        names.extend(file.caveats.iter().map(|caveat| &caveat.name));
        names.extend(file.definitions.iter().chain(&file.partials).map(|block| &block.name));
    }
    names.sort_by_key(|name| (name.place.file, name.place.at));
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        if !seen.insert(name.text.as_str()) {
            let message = format!(
                "the name {} is already taken by a definition, caveat or partial: choose another",
                quoted(&name.text)
            );
            return Err(Mistake::syntax(name.place, message));
        }
    }
    Ok(())
}

type Caveats = (Vec<Arc<Caveat>>, Vec<Vec<String>>);

fn caveats(files: &[SyntaxFile]) -> Result<Caveats, Mistake> {
    let mut checked = Vec::new();
    for syntax in files.iter().flat_map(|file| &file.caveats) {
        checked.push((caveat(syntax)?, syntax.comments.clone()));
    }
    checked.sort_by(|(a, _), (b, _)| a.name().cmp(b.name()));
    Ok(checked.into_iter().map(|(caveat, comments)| (Arc::new(caveat), comments)).unzip())
}

fn caveat(syntax: &SyntaxCaveat) -> Result<Caveat, Mistake> {
    let mut seen = HashSet::new();
    for (name, _) in &syntax.parameters {
        if !seen.insert(name.text.as_str()) {
            let message = format!("parameter {} is declared twice: remove one", quoted(&name.text));
            return Err(Mistake::syntax(name.place, message));
        }
    }
    let in_body = |inside: Position, message: String| Mistake {
        place: syntax.body_place,
        inside: syntax.body_inside.then(inside),
        message,
        is_type_error: false,
        names: Vec::new(),
    };
    let name = &syntax.name.text;
    if syntax.body.is_empty() {
        let message = format!("caveat {} has no expression: write one between the braces", quoted(name));
        return Err(Mistake::syntax(syntax.body_place, message));
    }
    let mut parameters: Vec<Parameter> = syntax
        .parameters
        .iter()
        .map(|(name, value_type)| Parameter { name: name.text.clone(), value_type: value_type.clone() })
        .collect();
    // Their order has no meaning, so each caveat gets one text.
    parameters.sort_by(|a, b| a.name.cmp(&b.name));
    let caveat = Caveat::compile(name, parameters, &syntax.body).map_err(|e| {
        let inside = Position { line: e.line.max(1), column: e.column.max(1) };
        in_body(inside, format!("caveat {}: {}", quoted(name), e.message))
    })?;
    let used = caveat.used_parameters();
    if let Some((unused, _)) = syntax.parameters.iter().find(|(p, _)| !used.contains(p.text.as_str())) {
        let message = format!(
            "parameter {} of caveat {} is not used by its expression: use it or remove it",
            quoted(&unused.text),
            quoted(name)
        );
        let about = [("caveat_name", name.as_str()), ("parameter_name", &unused.text)];
        return Err(Mistake::of_types(unused.place, message).about(&about));
    }
    drop(used);
    Ok(caveat)
}

fn drafts(files: &[SyntaxFile]) -> Result<Drafts<'_>, Mistake> {
    let mut partials = Partials::new(files.iter().flat_map(|file| &file.partials).collect())?;
    let mut drafts = Drafts { list: Vec::new(), by_name: HashMap::new() };
    for block in files.iter().flat_map(|file| &file.definitions) {
        let members = partials.members_of(block)?;
        let mut by_name = HashMap::with_capacity(members.len());
        for member in &members {
            if by_name.insert(member.name.text.as_str(), *member).is_some() {
                let message = format!(
                    "definition {} has two members called {}: rename one",
                    quoted(&block.name.text),
                    quoted(&member.name.text)
                );
                let about = [
                    ("definition_name", block.name.text.as_str()),
                    ("relation_or_permission_name", &member.name.text),
                ];
                return Err(Mistake::of_types(member.name.place, message).about(&about));
            }
        }
        drafts.by_name.insert(&block.name.text, drafts.list.len());
        drafts.list.push(Draft { name: &block.name, comments: &block.comments, members, by_name });
    }
    Ok(drafts)
}

/// A file may use as a name what a flag of another file makes a keyword; together they could not be written as one text.
fn refuse_late_keywords(files: &[SyntaxFile], drafts: &Drafts<'_>) -> Result<(), Mistake> {
    if files.len() < 2 {
        return Ok(());
    }
    let mut keywords: Vec<(&str, &str)> = Vec::new();
    if files.iter().any(|file| file.flags.self_object) {
        keywords.push(("self", "self"));
    }
    if files.iter().any(|file| file.flags.expiration) {
        keywords.extend([("expiration", "expiration"), ("and", "expiration")]);
    }
    if files.iter().any(|file| file.flags.typechecking) {
        keywords.push(("typechecking", "typechecking"));
    }
    let caveat_names = files.iter().flat_map(|file| &file.caveats).map(|caveat| &caveat.name);
    let names =
        drafts.list.iter().flat_map(|d| std::iter::once(d.name).chain(d.members.iter().map(|m| &m.name)));
    for name in names.chain(caveat_names) {
        let found = keywords.iter().find(|(word, _)| name.text.split('/').any(|segment| segment == *word));
        if let Some((word, flag)) = found {
            let message =
                format!("`{word}` is a keyword, because another file has `use {flag}`: choose another name");
            return Err(Mistake::syntax(name.place, message));
        }
    }
    Ok(())
}

fn check_relations(draft: &Draft<'_>, drafts: &Drafts<'_>, caveats: &HashSet<&str>) -> Result<(), Mistake> {
    for member in &draft.members {
        let MemberKind::Relation(subjects) = &member.kind else { continue };
        let mut seen = HashSet::with_capacity(subjects.len());
        for subject in subjects {
            check_subject(subject, drafts, caveats)?;
            if !seen.insert(&subject.allowed) {
                let message = format!(
                    "relation {} allows {} twice: remove one",
                    quoted(&member.name.text),
                    quoted(&subject.allowed.to_string())
                );
                let about = [
                    ("definition_name", draft.name.text.as_str()),
                    ("relation_name", &member.name.text),
                    ("allowed_relation", &subject.allowed.to_string()),
                ];
                return Err(Mistake::of_types(subject.place, message).about(&about));
            }
        }
    }
    Ok(())
}

fn check_subject(
    subject: &SyntaxSubject,
    drafts: &Drafts<'_>,
    caveats: &HashSet<&str>,
) -> Result<(), Mistake> {
    let AllowedSubject { subject_type, kind, caveat, .. } = &subject.allowed;
    if !drafts.has_definition(subject_type) {
        let message =
            format!("there is no definition {}: define it, or correct the name", quoted(subject_type));
        return Err(Mistake::of_types(subject.place, message).about(&[("definition_name", subject_type)]));
    }
    if let SubjectKind::Userset(relation) = kind
        && drafts.member(subject_type, relation).is_none()
    {
        let message = format!(
            "definition {} has no relation or permission {}: add it there, or correct the name",
            quoted(subject_type),
            quoted(relation)
        );
        let about = [("definition_name", subject_type.as_str()), ("relation_or_permission_name", relation)];
        return Err(Mistake::of_types(subject.relation_place, message).about(&about));
    }
    match caveat {
        Some(name) if !caveats.contains(name.as_str()) => {
            let remedy = if name == "expiration" {
                "put `use expiration` before any definition"
            } else {
                "define it, or correct the name"
            };
            let message = format!("there is no caveat {}: {remedy}", quoted(name));
            Err(Mistake::of_types(subject.caveat_place, message).about(&[("caveat_name", name)]))
        }
        _ => Ok(()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a text of 4 MiB has fewer than 2^32 members")]
fn definition(draft: &Draft<'_>) -> Definition {
    let (mut relations, mut permissions) = (Vec::new(), Vec::new());
    for member in &draft.members {
        let (name, comments) = (member.name.text.clone(), member.comments.clone());
        match &member.kind {
            MemberKind::Relation(subjects) => {
                let subjects = subjects.iter().map(|subject| subject.allowed.clone()).collect();
                relations.push(Relation { name, comments, subjects });
            }
            MemberKind::Permission { declared, expression, .. } => {
                let declared_types = declared.as_ref().map(|d| d.iter().map(|t| t.text.clone()).collect());
                permissions.push(Permission {
                    name,
                    comments,
                    declared_types,
                    expression: expression.clone(),
                });
            }
            MemberKind::Splice => {}
        }
    }
    relations.sort_by(|a, b| a.name.cmp(&b.name));
    permissions.sort_by(|a, b| a.name.cmp(&b.name));
    let find = |member: &&SyntaxMember| {
        let name = &member.name.text;
        match relations.binary_search_by(|r| r.name.cmp(name)) {
            Ok(index) => Member::Relation(index as u32),
            Err(_) => Member::Permission(permissions.partition_point(|p| p.name < *name) as u32),
        }
    };
    let order = draft.members.iter().map(find).collect();
    let comments = draft.comments.to_vec();
    Definition { name: draft.name.text.clone(), comments, relations, permissions, order }
}
