//! The reference evaluator: the right answer, computed in the plainest way that can be.
//!
//! It reads a list of relationships and a parsed schema, lists every rule that the question reaches, and
//! iterates them until nothing changes. It shares nothing with the engine but the model, the caveats and the
//! parsed schema: no plan, no graph, no direction of search, no cache.
//!
//! # Invariants
//! * An answer is a function of (schema, relationships, context, instant, question) and of nothing else.
//! * The order of the relationships does not matter.
//!
//! Cost: a question costs the rules it reaches times the iterations; lookups ask each candidate separately.
//! Source: `ARCHITECTURE.md`, "What an answer is"; the alternating fixpoint of the well-founded semantics
//! (Van Gelder, 1993).

mod solve;
pub(crate) mod tables;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use idhini_caveat::{Budget, Outcome};
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp};

pub use tables::Tables;
use tables::{Object, Target};

/// Steps and bytes that one evaluation of one caveat may take here.
const CAVEAT_BUDGET: Budget = Budget { steps: 100_000, bytes: 1_000_000 };

/// The three values, ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// The subject does not have it.
    No,
    /// Whether the subject has it depends on missing context.
    Conditional,
    /// The subject has it.
    Has,
}

/// Swaps no and has.
impl std::ops::Not for Value {
    type Output = Value;

    fn not(self) -> Value {
        match self {
            Value::No => Value::Has,
            Value::Conditional => Value::Conditional,
            Value::Has => Value::No,
        }
    }
}

/// A value, and for a conditional one the parameters that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// No, conditional or has.
    pub value: Value,
    /// Empty unless the value is conditional.
    pub missing: BTreeSet<String>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The schema has no definition of this name.
    UnknownDefinition(String),
    /// The definition has no relation or permission of this name.
    UnknownMember {
        /// The definition.
        definition: String,
        /// The name asked for.
        member: String,
    },
    /// The subject's id is `*`.
    WildcardSubject,
    /// The answer depends on a caveat that fails to evaluate.
    CaveatFailed,
    /// The answer depends on itself through the right side of an exclusion.
    Cycle,
    /// Both of a failing caveat and of such a cycle stand in the way: either may be named.
    Undefined,
}

/// The answer of a lookup of subjects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subjects {
    /// What a subject has that no relationship names, if it has anything.
    pub wildcard: Option<Wildcard>,
    /// Entries that must be answered.
    pub required: BTreeMap<String, Answer>,
    /// Entries that the wildcard covers already: true, but needless.
    pub optional: BTreeMap<String, Answer>,
}

/// The entry `*` of a lookup of subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    /// What everybody has who is not named.
    pub answer: Answer,
    /// Subjects who have less: `No` ones are excluded for certain, `Conditional` ones under a condition.
    pub excluded: BTreeMap<String, Answer>,
}

/// The tables seen with one request's context at one instant: what questions are asked of.
pub struct View<'t> {
    tables: &'t Tables,
    context: &'t Context,
    instant: Timestamp,
    edges: Vec<OnceCell<EdgeValue>>,
    live_objects: OnceCell<Vec<bool>>,
}

/// What a caveat says of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
enum EdgeValue {
    Point(Answer),
    /// The caveat failed to evaluate: anything between no and has.
    Failed,
}

impl Tables {
    /// Sees these relationships with `context` at `instant`.
    #[must_use]
    pub fn view<'t>(&'t self, context: &'t Context, instant: Timestamp) -> View<'t> {
        let edges = self.caveats.iter().map(|_| OnceCell::new()).collect();
        View { tables: self, context, instant, edges, live_objects: OnceCell::new() }
    }
}

impl View<'_> {
    /// Does `subject` have `permission` on `resource`?
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(
        &self,
        resource: &ResourceRef,
        permission: &str,
        subject: &SubjectRef,
    ) -> Result<Answer, Refusal> {
        let mut names = self.tables.names();
        let member = self.tables.member(&resource.object_type, permission)?;
        let asked = self.subject(subject, &mut names)?;
        let resource = names.object(&resource.object_type, &resource.object_id)?;
        solve::answer(self, &names, (resource, member), asked)
    }

    /// On which objects of `resource_type` that the data holds does `subject` have `permission`?
    ///
    /// The subject's own object is asked too, since it may stand for itself without any relationship.
    ///
    /// # Errors
    /// [`Refusal`], also if that of a single object.
    pub fn lookup_resources(
        &self,
        resource_type: &str,
        permission: &str,
        subject: &SubjectRef,
    ) -> Result<BTreeMap<String, Answer>, Refusal> {
        let mut names = self.tables.names();
        let member = self.tables.member(resource_type, permission)?;
        let asked = self.subject(subject, &mut names)?;
        let own = (subject.object_type == resource_type).then_some(asked.0);
        let candidates = self.candidates(resource_type, own);
        let mut found = BTreeMap::new();
        for object in candidates {
            let answer = solve::answer(self, &names, (object, member), asked)?;
            if answer.value > Value::No {
                found.insert(names.id(object).to_owned(), answer);
            }
        }
        Ok(found)
    }

    /// Which subjects of a type, or of a userset, have `permission` on `resource`?
    ///
    /// # Errors
    /// [`Refusal`], also if that of a single subject.
    pub fn lookup_subjects(
        &self,
        resource: &ResourceRef,
        permission: &str,
        subject_type: &str,
        subject_relation: Option<&str>,
    ) -> Result<Subjects, Refusal> {
        let mut names = self.tables.names();
        let member = self.tables.member(&resource.object_type, permission)?;
        let definition = self.tables.definition(subject_type)?;
        let relation = subject_relation.map(|r| self.tables.member(subject_type, r)).transpose()?;
        let goal = (names.object(&resource.object_type, &resource.object_id)?, member);
        let own = (resource.object_type == subject_type).then_some(goal.0);
        let mut found = Subjects::default();
        let mut covered = Value::No;
        if relation.is_none() {
            let answer = solve::answer(self, &names, goal, (names.anonymous(definition), None))?;
            covered = answer.value;
            if covered > Value::No {
                found.wildcard = Some(Wildcard { answer, excluded: BTreeMap::new() });
            }
        }
        for object in self.candidates(subject_type, own) {
            let answer = solve::answer(self, &names, goal, (object, relation))?;
            let id = names.id(object).to_owned();
            if let (Some(wildcard), true) = (&mut found.wildcard, answer.value < covered) {
                wildcard.excluded.insert(id.clone(), answer.clone());
            }
            if answer.value > covered {
                found.required.insert(id, answer);
            } else if answer.value > Value::No {
                found.optional.insert(id, answer);
            }
        }
        Ok(found)
    }

    fn subject(&self, subject: &SubjectRef, names: &mut tables::Names<'_>) -> Result<Target, Refusal> {
        self.tables.definition(&subject.object_type)?;
        let member = subject.relation.as_deref().map(|r| self.tables.member(&subject.object_type, r));
        let member = member.transpose()?;
        if subject.is_wildcard() {
            return Err(Refusal::WildcardSubject);
        }
        Ok((names.object(&subject.object_type, &subject.object_id)?, member))
    }

    /// Objects of a type that stand in a live relationship, and `own`.
    fn candidates(&self, object_type: &str, own: Option<Object>) -> Vec<Object> {
        let held = self.live_objects.get_or_init(|| self.tables.live_objects(self.instant));
        let mut objects: Vec<Object> =
            self.tables.objects_of(object_type).filter(|o| held[*o as usize] || own == Some(*o)).collect();
        objects.extend(own.filter(|o| !objects.contains(o)));
        objects
    }

    /// What the caveat of an edge says, remembered.
    fn edge_value(&self, caveat: u32) -> &EdgeValue {
        self.edges[caveat as usize].get_or_init(|| {
            let (caveat, stored) = &self.tables.caveats[caveat as usize];
            let (value, missing) = match caveat.evaluate(stored, self.context, &mut CAVEAT_BUDGET.clone()) {
                Ok(Outcome::True) => (Value::Has, BTreeSet::new()),
                Ok(Outcome::False) => (Value::No, BTreeSet::new()),
                Ok(Outcome::Missing(missing)) => (Value::Conditional, missing),
                Err(_) => return EdgeValue::Failed,
            };
            EdgeValue::Point(Answer { value, missing })
        })
    }
}

#[cfg(test)]
mod tests;
