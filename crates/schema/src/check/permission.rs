//! Do permissions name what exists, and do they say something?

use std::collections::HashMap;

use super::{Draft, Drafts};
use crate::Expression;
use crate::mistake::{Mistake, Place, quoted};
use crate::syntax::MemberKind;

/// Most steps of arrows in a schema: for each arrow, the alternatives of the relation that it follows. Everything that
/// is compiled from a schema grows with them, and a short text can hold billions.
pub const ARROW_STEPS_MAX: usize = 1_000_000;

pub(super) fn check(drafts: &Drafts<'_>) -> Result<(), Mistake> {
    let mut steps_left = ARROW_STEPS_MAX;
    for draft in &drafts.list {
        for member in &draft.members {
            if let MemberKind::Permission { expression, places, .. } = &member.kind {
                check_names(draft, expression, &mut places.iter().copied(), &mut steps_left)?;
            }
        }
        refuse_alias_cycles(draft)?;
    }
    Ok(())
}

/// Recursion is bounded by the parser's limit on nesting.
fn check_names(
    draft: &Draft<'_>,
    expression: &Expression,
    places: &mut impl Iterator<Item = Place>,
    steps_left: &mut usize,
) -> Result<(), Mistake> {
    let mut place = || places.next().unwrap_or(draft.name.place);
    match expression {
        Expression::Nil | Expression::SelfObject => Ok(()),
        Expression::Member(name) => {
            let place = place();
            draft.by_name.get(name.as_str()).map(|_| ()).ok_or_else(|| unknown(draft, name, place))
        }
        Expression::Arrow { relation, .. } => {
            let place = place();
            let member =
                draft.by_name.get(relation.as_str()).ok_or_else(|| unknown(draft, relation, place))?;
            if let MemberKind::Relation(subjects) = &member.kind {
                *steps_left = steps_left.checked_sub(subjects.len()).ok_or_else(|| too_many_steps(place))?;
                return Ok(());
            }
            let message = format!(
                "{} is a permission, and the left side of an arrow is a relation: follow a relation instead",
                quoted(relation)
            );
            Err(Mistake::of_types(place, message))
        }
        Expression::Union(terms) | Expression::Intersection(terms) => {
            terms.iter().try_for_each(|term| check_names(draft, term, places, steps_left))
        }
        Expression::Exclusion(base, excluded) => {
            check_names(draft, base, places, steps_left)?;
            check_names(draft, excluded, places, steps_left)
        }
    }
}

fn too_many_steps(place: Place) -> Mistake {
    let message = format!(
        "up to here, arrows lead to more than {ARROW_STEPS_MAX} types together: follow relations with fewer alternatives"
    );
    Mistake::of_types(place, message)
}

fn unknown(draft: &Draft<'_>, name: &str, place: Place) -> Mistake {
    let remedy = if name == "self" {
        "for the object itself, put `use self` before any definition"
    } else {
        "add it, or correct the name"
    };
    let message = format!(
        "definition {} has no relation or permission {}: {remedy}",
        quoted(&draft.name.text),
        quoted(name)
    );
    let about = [("definition_name", draft.name.text.as_str()), ("relation_or_permission_name", name)];
    Mistake::of_types(place, message).about(&about)
}

/// Permissions that are nothing but other names of each other hold nobody, which nobody means.
fn refuse_alias_cycles(draft: &Draft<'_>) -> Result<(), Mistake> {
    let alias_of = |name: &str| match draft.by_name.get(name).map(|member| &member.kind) {
        Some(MemberKind::Permission { expression: Expression::Member(next), .. }) => Some(next.as_str()),
        _ => None,
    };
    // In which walk each name was met: meeting it again in the same walk is a cycle.
    let mut walks: HashMap<&str, usize> = HashMap::new();
    for (walk, member) in draft.members.iter().enumerate() {
        let mut name = member.name.text.as_str();
        while let Some(next) = alias_of(name) {
            match walks.insert(name, walk) {
                Some(earlier) if earlier == walk => {
                    let place = draft.by_name.get(name).map_or(draft.name.place, |member| member.name.place);
                    let message = format!(
                        "permission {} only refers to itself: add what it should hold, or remove it",
                        quoted(name)
                    );
                    return Err(Mistake::of_types(place, message));
                }
                Some(_) => break,
                None => name = next,
            }
        }
    }
    Ok(())
}
