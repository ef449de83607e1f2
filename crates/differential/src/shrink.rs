//! Makes a case smaller: one step at a time, everything that can be left out.
//!
//! # Invariants
//! * Every proposal is strictly smaller than the case it is made from, so shrinking ends.
//! * Relationships that the smaller schema does not allow are left out with it.

use idhini_model::Relationship;
use idhini_testkit::sketch::{Alternative, Expr, Sketch};

use crate::query::Case;
use crate::suppose::kind_of;

/// All cases that are one step smaller, likeliest gains first.
#[must_use]
pub fn smaller(case: &Case) -> Vec<Case> {
    let mut proposals = Vec::new();
    for kept in halves_and_ones(&case.company) {
        proposals.push(Case { company: kept, ..case.clone() });
    }
    for kept in halves_and_ones(&case.relationships) {
        proposals.push(Case { relationships: kept, ..case.clone() });
    }
    for sketch in smaller_sketches(&case.sketch) {
        let relationships = case.relationships.iter().filter(|r| allows(&sketch, r)).cloned().collect();
        proposals.push(Case { sketch, relationships, ..case.clone() });
    }
    for (at, relationship) in case.relationships.iter().enumerate() {
        for plainer in plainer(&case.sketch, relationship) {
            let mut proposal = case.clone();
            proposal.relationships[at] = plainer;
            proposals.push(proposal);
        }
    }
    for name in case.asked.context.0.keys() {
        let mut proposal = case.clone();
        proposal.asked.context.0.remove(name);
        proposals.push(proposal);
    }
    proposals
}

/// Without one half, without the other, without each single one.
fn halves_and_ones<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let mut kept = Vec::new();
    if items.len() > 3 {
        let (first, second) = items.split_at(items.len() / 2);
        kept.extend([Vec::new(), first.to_vec(), second.to_vec()]);
    }
    for at in 0..items.len() {
        let mut rest = items.to_vec();
        rest.remove(at);
        kept.push(rest);
    }
    kept
}

/// The relationship without its expiration or caveat, or with less stored context, as far as the schema allows.
fn plainer(sketch: &Sketch, relationship: &Relationship) -> Vec<Relationship> {
    let mut found = Vec::new();
    if relationship.expires_at.is_some() {
        found.push(Relationship { expires_at: None, ..relationship.clone() });
    }
    if let Some(caveat) = &relationship.caveat {
        found.push(Relationship { caveat: None, ..relationship.clone() });
        for name in caveat.context.0.keys() {
            let mut less = relationship.clone();
            if let Some(caveat) = &mut less.caveat {
                caveat.context.0.remove(name);
            }
            found.push(less);
        }
    }
    found.retain(|r| allows(sketch, r));
    found
}

/// Whether the schema allows the relationship.
#[must_use]
pub fn allows(sketch: &Sketch, relationship: &Relationship) -> bool {
    let subject = &relationship.subject;
    let alternative = Alternative {
        subject_type: subject.object_type.clone(),
        kind: kind_of(subject),
        caveat: relationship.caveat.as_ref().map(|c| c.name.clone()),
        expiration: relationship.expires_at.is_some(),
    };
    let definition = sketch.definition(&relationship.resource.object_type);
    let relation = definition.and_then(|d| d.relation(&relationship.relation));
    relation.is_some_and(|r| r.subjects.contains(&alternative))
}

fn smaller_sketches(sketch: &Sketch) -> Vec<Sketch> {
    let mut found = Vec::new();
    for d in 0..sketch.definitions.len() {
        found.push(without(sketch, |s| drop(s.definitions.remove(d))));
        let definition = &sketch.definitions[d];
        for p in 0..definition.permissions.len() {
            found.push(without(sketch, |s| drop(s.definitions[d].permissions.remove(p))));
            for rule in smaller_rules(&definition.permissions[p].rule) {
                found.push(without(sketch, |s| s.definitions[d].permissions[p].rule = rule));
            }
        }
        for r in 0..definition.relations.len() {
            found.push(without(sketch, |s| drop(s.definitions[d].relations.remove(r))));
            let subjects = &definition.relations[r].subjects;
            for a in 0..subjects.len() {
                if subjects.len() > 1 {
                    found.push(without(sketch, |s| drop(s.definitions[d].relations[r].subjects.remove(a))));
                }
                for plain in plainer_alternatives(&subjects[a]) {
                    if !subjects.contains(&plain) {
                        found.push(without(sketch, |s| s.definitions[d].relations[r].subjects[a] = plain));
                    }
                }
            }
        }
    }
    for c in 0..sketch.caveats.len() {
        found.push(without(sketch, |s| drop(s.caveats.remove(c))));
    }
    found
}

fn plainer_alternatives(alternative: &Alternative) -> Vec<Alternative> {
    let mut found = Vec::new();
    if alternative.expiration {
        found.push(Alternative { expiration: false, ..alternative.clone() });
    }
    if alternative.caveat.is_some() {
        found.push(Alternative { caveat: None, ..alternative.clone() });
    }
    found
}

fn without(sketch: &Sketch, change: impl FnOnce(&mut Sketch)) -> Sketch {
    let mut changed = sketch.clone();
    change(&mut changed);
    changed
}

/// The rule replaced by one of its parts, or with one part left out or made smaller.
fn smaller_rules(rule: &Expr) -> Vec<Expr> {
    match rule {
        Expr::Union(parts) | Expr::Intersection(parts) => {
            let rebuilt = |parts: Vec<Expr>| match rule {
                Expr::Union(_) => Expr::Union(parts),
                _ => Expr::Intersection(parts),
            };
            let mut found: Vec<Expr> = parts.clone();
            for at in 0..parts.len() {
                if parts.len() > 2 {
                    let mut rest = parts.clone();
                    rest.remove(at);
                    found.push(rebuilt(rest));
                }
                for part in smaller_rules(&parts[at]) {
                    let mut rest = parts.clone();
                    rest[at] = part;
                    found.push(rebuilt(rest));
                }
            }
            found
        }
        Expr::Exclusion(base, minus) => {
            let mut found = vec![(**base).clone(), (**minus).clone()];
            for part in smaller_rules(base) {
                found.push(Expr::Exclusion(Box::new(part), minus.clone()));
            }
            for part in smaller_rules(minus) {
                found.push(Expr::Exclusion(base.clone(), Box::new(part)));
            }
            found
        }
        Expr::Nil => Vec::new(),
        _ => vec![Expr::Nil],
    }
}

/// Whether a question still names what the schema defines; errors about names are found without shrinking them in.
#[must_use]
pub fn asks_known_names(case: &Case) -> bool {
    let has = |object_type: &str, member: &str| {
        case.sketch.definition(object_type).is_some_and(|d| d.member_names().any(|name| name == member))
    };
    let (object_type, member) = case.asked.query.goal();
    has(object_type, member)
}

#[cfg(test)]
mod tests;
