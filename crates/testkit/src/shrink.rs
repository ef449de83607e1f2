//! Makes a world that shows a difference as small as it will go.
//!
//! Greedy: tries each smaller world in turn and keeps those that still differ, until none does.

use idhini_schema::SubjectKind;

use crate::generate::{Ask, World};
use crate::sketch::{Expr, Sketch};

/// Smaller worlds tried before the smallest so far is taken.
const TRIALS_MAX: usize = 20_000;

/// Shrinks `world` while `differs` says that a smaller one still shows the difference.
pub fn shrink(world: World, differs: &mut dyn FnMut(&World) -> bool) -> World {
    let mut best = world;
    let mut trials = 0;
    loop {
        let mut shrunk = false;
        for step in STEPS {
            let mut position = 0;
            while trials < TRIALS_MAX {
                let mut candidate = best.clone();
                match step(&mut candidate, position) {
                    Step::End => break,
                    Step::Skip => {
                        position += 1;
                        continue;
                    }
                    Step::Smaller => {}
                }
                trials += 1;
                if is_valid(&candidate) && differs(&candidate) {
                    best = candidate;
                    shrunk = true;
                } else {
                    position += 1;
                }
            }
        }
        if !shrunk || trials >= TRIALS_MAX {
            return best;
        }
    }
}

/// What one step did to a world.
enum Step {
    /// There is no such position.
    End,
    /// Nothing to do at this position.
    Skip,
    /// It is smaller now.
    Smaller,
}

type StepFn = fn(&mut World, usize) -> Step;

const STEPS: &[StepFn] = &[
    halve_questions,
    drop_question,
    drop_many_relationships,
    drop_relationship,
    drop_permission,
    drop_relation,
    drop_definition,
    simplify_rule,
    drop_alternative,
    plain_alternative,
    drop_stored_context,
    drop_context_key,
    drop_caveat,
    main_instant,
];

fn halve_questions(world: &mut World, position: usize) -> Step {
    let half = world.questions.len() / 2;
    match position {
        _ if half == 0 => return Step::End,
        0 => drop(world.questions.drain(..half)),
        1 => world.questions.truncate(half),
        _ => return Step::End,
    }
    Step::Smaller
}

fn drop_question(world: &mut World, position: usize) -> Step {
    if world.questions.len() < 2 || position >= world.questions.len() {
        return Step::End;
    }
    world.questions.remove(position);
    Step::Smaller
}

fn drop_many_relationships(world: &mut World, position: usize) -> Step {
    const CHUNK: usize = 8;
    let start = position * CHUNK;
    if start >= world.relationships.len() {
        return Step::End;
    }
    let end = (start + CHUNK).min(world.relationships.len());
    world.relationships.drain(start..end);
    Step::Smaller
}

fn drop_relationship(world: &mut World, position: usize) -> Step {
    if position >= world.relationships.len() {
        return Step::End;
    }
    world.relationships.remove(position);
    Step::Smaller
}

fn drop_permission(world: &mut World, position: usize) -> Step {
    let mut left = position;
    for definition in &mut world.sketch.definitions {
        if left < definition.permissions.len() {
            definition.permissions.remove(left);
            return Step::Smaller;
        }
        left -= definition.permissions.len();
    }
    Step::End
}

fn drop_relation(world: &mut World, position: usize) -> Step {
    let mut left = position;
    for definition in &mut world.sketch.definitions {
        if left < definition.relations.len() {
            definition.relations.remove(left);
            return Step::Smaller;
        }
        left -= definition.relations.len();
    }
    Step::End
}

fn drop_definition(world: &mut World, position: usize) -> Step {
    if position >= world.sketch.definitions.len() {
        return Step::End;
    }
    world.sketch.definitions.remove(position);
    Step::Smaller
}

/// Replaces one part of one rule by one of its own parts.
fn simplify_rule(world: &mut World, position: usize) -> Step {
    let mut left = position;
    for definition in &mut world.sketch.definitions {
        for permission in &mut definition.permissions {
            let simpler = simpler(&permission.rule);
            if left < simpler.len() {
                permission.rule = simpler[left].clone();
                return Step::Smaller;
            }
            left -= simpler.len();
        }
    }
    Step::End
}

/// All expressions that are one step smaller.
fn simpler(rule: &Expr) -> Vec<Expr> {
    let mut found = Vec::new();
    match rule {
        Expr::Union(parts) | Expr::Intersection(parts) => {
            let is_union = matches!(rule, Expr::Union(_));
            let rebuilt = |parts: Vec<Expr>| {
                if is_union { Expr::Union(parts) } else { Expr::Intersection(parts) }
            };
            found.extend(parts.iter().cloned());
            for at in 0..parts.len() {
                if parts.len() > 2 {
                    let mut fewer = parts.clone();
                    fewer.remove(at);
                    found.push(rebuilt(fewer));
                }
                for part in simpler(&parts[at]) {
                    let mut changed = parts.clone();
                    changed[at] = part;
                    found.push(rebuilt(changed));
                }
            }
        }
        Expr::Exclusion(base, minus) => {
            found.extend([(**base).clone(), (**minus).clone()]);
            let rebuilt =
                |base: &Expr, minus: &Expr| Expr::Exclusion(Box::new(base.clone()), Box::new(minus.clone()));
            found.extend(simpler(base).iter().map(|base| rebuilt(base, minus)));
            found.extend(simpler(minus).iter().map(|minus| rebuilt(base, minus)));
        }
        Expr::Nil => {}
        _ => found.push(Expr::Nil),
    }
    found
}

fn drop_alternative(world: &mut World, position: usize) -> Step {
    let mut left = position;
    for relation in world.sketch.definitions.iter_mut().flat_map(|d| &mut d.relations) {
        if left < relation.subjects.len() {
            if relation.subjects.len() < 2 {
                return Step::Skip;
            }
            relation.subjects.remove(left);
            return Step::Smaller;
        }
        left -= relation.subjects.len();
    }
    Step::End
}

/// Takes caveat or expiration from one alternative and from the relationships that it allows.
fn plain_alternative(world: &mut World, position: usize) -> Step {
    let (mut left, drop_expiration) = (position / 2, position % 2 == 1);
    for definition in &mut world.sketch.definitions {
        for relation in &mut definition.relations {
            if left >= relation.subjects.len() {
                left -= relation.subjects.len();
                continue;
            }
            let old = relation.subjects[left].clone();
            let mut plain = old.clone();
            if drop_expiration {
                plain.expiration = false;
            } else {
                plain.caveat = None;
            }
            if plain == old {
                return Step::Skip;
            }
            relation.subjects.remove(left);
            if !relation.subjects.contains(&plain) {
                relation.subjects.insert(left, plain);
            }
            for r in &mut world.relationships {
                if r.resource.object_type == definition.name && r.relation == relation.name && allows(&old, r)
                {
                    if drop_expiration {
                        r.expires_at = None;
                    } else {
                        r.caveat = None;
                    }
                }
            }
            return Step::Smaller;
        }
    }
    Step::End
}

fn drop_stored_context(world: &mut World, position: usize) -> Step {
    let Some(relationship) = world.relationships.get_mut(position) else { return Step::End };
    match &mut relationship.caveat {
        Some(caveat) if !caveat.context.is_empty() => {
            caveat.context = idhini_model::Context::default();
            Step::Smaller
        }
        _ => Step::Skip,
    }
}

fn drop_context_key(world: &mut World, position: usize) -> Step {
    let mut left = position;
    for context in &mut world.contexts {
        if left < context.0.len() {
            let key = context.0.keys().nth(left).cloned().unwrap_or_default();
            context.0.remove(&key);
            return Step::Smaller;
        }
        left -= context.0.len();
    }
    Step::End
}

fn drop_caveat(world: &mut World, position: usize) -> Step {
    if position >= world.sketch.caveats.len() {
        return Step::End;
    }
    world.sketch.caveats.remove(position);
    Step::Smaller
}

fn main_instant(world: &mut World, position: usize) -> Step {
    let Some(question) = world.questions.get_mut(position) else { return Step::End };
    if question.instant == 0 {
        return Step::Skip;
    }
    question.instant = 0;
    Step::Smaller
}

/// Whether the schema is well formed and allows all relationships, and the questions name what exists.
fn is_valid(world: &World) -> bool {
    let allowed = |r: &idhini_model::Relationship| {
        let definition = world.sketch.definition(&r.resource.object_type);
        let relation = definition.and_then(|d| d.relation(&r.relation));
        relation.is_some_and(|relation| relation.subjects.iter().any(|s| allows(s, r)))
    };
    world.relationships.iter().all(allowed)
        && world.questions.iter().all(|q| names_exist(&world.sketch, &q.ask))
        && idhini_schema::Schema::parse(&world.sketch.text()).is_ok()
}

fn allows(alternative: &crate::sketch::Alternative, r: &idhini_model::Relationship) -> bool {
    let kind = match &r.subject.relation {
        _ if r.subject.is_wildcard() => SubjectKind::Wildcard,
        Some(relation) => SubjectKind::Userset(relation.clone()),
        None => SubjectKind::Object,
    };
    alternative.subject_type == r.subject.object_type
        && alternative.kind == kind
        && alternative.caveat.as_ref() == r.caveat.as_ref().map(|c| &c.name)
        && alternative.expiration == r.expires_at.is_some()
}

/// Otherwise dropping a definition would turn any difference into one about names.
fn names_exist(sketch: &Sketch, ask: &Ask) -> bool {
    let member = |definition: &str, member: Option<&str>| {
        sketch.definition(definition).is_some_and(|d| {
            let mut names = d.member_names();
            member.is_none_or(|member| names.any(|name| name == member))
        })
    };
    match ask {
        Ask::Check { resource, permission, subject } => {
            member(&resource.object_type, Some(permission))
                && member(&subject.object_type, subject.relation.as_deref())
        }
        Ask::Resources { resource_type, permission, subject, .. } => {
            member(resource_type, Some(permission))
                && member(&subject.object_type, subject.relation.as_deref())
        }
        Ask::Subjects { resource, permission, subject_type, subject_relation, .. } => {
            member(&resource.object_type, Some(permission))
                && member(subject_type, subject_relation.as_deref())
        }
    }
}
