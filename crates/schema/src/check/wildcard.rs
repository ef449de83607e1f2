//! Do wildcards stay where they were written? They are not followed through arrows or into other definitions.
//!
//! A relation *includes* a wildcard when it allows one, or allows a userset whose relation includes one. Refused are an
//! arrow over a relation that includes a wildcard, and a userset of *another* definition whose relation includes one.
//!
//! The rule is about relations, not about what can be reached: a userset of the same definition is allowed, and so is
//! one that names a permission, though a wildcard may stand behind either. SpiceDB accepts such schemas, so they are
//! accepted here, and mean what the evaluator says: the wildcard counts.
//!
//! ```text
//! definition group { relation open: user:*    permission member = open }
//! definition doc   { relation viewer: group#member }      // accepted: `member` is a permission
//! ```
//!
//! SpiceDB 1.54 forgets the rule for arrows where an earlier definition has an arrow over a relation of the same *name*:
//! it accepts the following text, and refuses it with the definitions in the other order. Here both are refused.
//!
//! ```text
//! definition doc    { relation parent: doc        permission view = parent->view }
//! definition folder { relation parent: doc:*      permission view = parent->view }
//! ```
//!
//! Cost: O(relations).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Draft, Drafts};
use crate::mistake::{Mistake, quoted};
use crate::syntax::{MemberKind, SyntaxMember};
use crate::{Expression, SubjectKind};

/// Definition and relation.
type Key<'a> = (&'a str, &'a str);

pub(super) fn check(drafts: &Drafts<'_>) -> Result<(), Mistake> {
    let including = including(drafts);
    for draft in &drafts.list {
        for member in &draft.members {
            match &member.kind {
                MemberKind::Relation(_) => check_usersets(draft, member, &including)?,
                MemberKind::Permission { expression, places, .. } => {
                    let mut arrows = Vec::new();
                    leaves(expression, &mut arrows);
                    for (relation, place) in arrows.into_iter().zip(places) {
                        let Some(relation) = relation else { continue };
                        if let Some(wildcard) = including.get(&(draft.name.text.as_str(), relation)) {
                            let message = format!(
                                "an arrow cannot follow {}, which includes the wildcard {}: follow a relation without one",
                                quoted(relation),
                                quoted(wildcard)
                            );
                            let about = [
                                ("definition_name", draft.name.text.as_str()),
                                ("permission_name", &member.name.text),
                                ("accessed_relation_name", relation),
                            ];
                            return Err(Mistake::of_types(*place, message).about(&about));
                        }
                    }
                }
                MemberKind::Splice => {}
            }
        }
    }
    Ok(())
}

fn check_usersets(
    draft: &Draft<'_>,
    member: &SyntaxMember,
    including: &HashMap<Key<'_>, String>,
) -> Result<(), Mistake> {
    let MemberKind::Relation(subjects) = &member.kind else { return Ok(()) };
    for subject in subjects {
        let allowed = &subject.allowed;
        let SubjectKind::Userset(relation) = &allowed.kind else { continue };
        if allowed.subject_type == draft.name.text {
            continue;
        }
        if let Some(wildcard) = including.get(&(allowed.subject_type.as_str(), relation.as_str())) {
            let message = format!(
                "relation {} cannot allow {}, which includes the wildcard {}: wildcards are not transitive",
                quoted(&member.name.text),
                quoted(&allowed.to_string()),
                quoted(wildcard)
            );
            let about = [("definition_name", draft.name.text.as_str()), ("relation_name", &member.name.text)];
            return Err(Mistake::of_types(subject.place, message).about(&about));
        }
    }
    Ok(())
}

/// The relations that include a wildcard, each with one that it includes.
fn including<'a>(drafts: &Drafts<'a>) -> HashMap<Key<'a>, String> {
    let mut found: HashMap<Key<'a>, String> = HashMap::new();
    let mut included_by: HashMap<Key<'a>, Vec<Key<'a>>> = HashMap::new();
    let mut queue: Vec<Key<'a>> = Vec::new();
    for draft in &drafts.list {
        for member in &draft.members {
            let MemberKind::Relation(subjects) = &member.kind else { continue };
            let key: Key<'a> = (draft.name.text.as_str(), member.name.text.as_str());
            for subject in subjects {
                match &subject.allowed.kind {
                    SubjectKind::Object => {}
                    SubjectKind::Wildcard => {
                        if found.insert(key, format!("{}:*", subject.allowed.subject_type)).is_none() {
                            queue.push(key);
                        }
                    }
                    SubjectKind::Userset(relation) => {
                        included_by.entry((&subject.allowed.subject_type, relation)).or_default().push(key);
                    }
                }
            }
        }
    }
    while let Some(key) = queue.pop() {
        let wildcard = found.get(&key).cloned().unwrap_or_default();
        for includer in included_by.remove(&key).unwrap_or_default() {
            if let Entry::Vacant(vacant) = found.entry(includer) {
                vacant.insert(wildcard.clone());
                queue.push(includer);
            }
        }
    }
    found
}

/// Members and arrows from left to right; of an arrow its relation. Recursion is bounded by the parser.
fn leaves<'a>(expression: &'a Expression, out: &mut Vec<Option<&'a str>>) {
    match expression {
        Expression::Nil | Expression::SelfObject => {}
        Expression::Member(_) => out.push(None),
        Expression::Arrow { relation, .. } => out.push(Some(relation)),
        Expression::Union(terms) | Expression::Intersection(terms) => {
            terms.iter().for_each(|term| leaves(term, out));
        }
        Expression::Exclusion(base, excluded) => {
            leaves(base, out);
            leaves(excluded, out);
        }
    }
}
