//! What is asked, and why can a question not be answered?

use std::collections::BTreeSet;

use idhini_caveat::{Budget, EvaluationError};
use idhini_graph::Root;
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp};
use idhini_schema::{MemberIndex, TypeIndex};

use crate::conditions::CAVEAT_BUDGET;
use crate::evaluate::GoalKey;
use crate::lookup_resources::{EARLY_EDGES, EARLY_MAX};
use crate::{Permissionship, Plans};

/// The most edges that one question may visit unless its caller says otherwise.
pub const COST_MAX: u64 = 50_000_000;

/// Edges that an attempt may visit unless its caller says otherwise: some tens of microseconds.
pub const ATTEMPT_MAX: u64 = 4_096;

/// What every answer is computed from: schema, root, instant.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The graph at one revision.
    pub root: &'a Root,
    /// The plans of the schema of that revision.
    pub plans: &'a Plans,
    /// The moment at which expirations are judged.
    pub instant: Timestamp,
}

/// May `subject` do `permission` on `resource`?
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The object asked about.
    pub resource: &'q ResourceRef,
    /// A permission or relation of its definition.
    pub permission: &'q str,
    /// An object or userset; not a wildcard.
    pub subject: &'q SubjectRef,
    /// Values for caveats; those stored with relationships win.
    pub context: &'q Context,
}

/// What a question may spend.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most that may be spent, in edges visited (caveat steps count as edges).
    pub cost_max: u64,
    /// What an attempt to answer a check at once may visit on top, in edges, before the evaluator takes over; 0: nothing is
    /// attempted. A portion of less is the evaluator's from the start.
    pub attempt_max: u64,
    /// What one evaluation of one caveat may spend. One that needs more fails, and with it whatever depends on it.
    pub caveat_budget: Budget,
    /// Results that LookupResources tells before its search is over, in the order in which it finds them; 0: none, all come
    /// in the order of their numbers. The same for all pages.
    pub early_max: usize,
    /// The edges that it follows for these; beyond, only the first result is told at once. The same for all pages.
    pub early_edges: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            cost_max: COST_MAX,
            attempt_max: ATTEMPT_MAX,
            caveat_budget: CAVEAT_BUDGET,
            early_max: EARLY_MAX,
            early_edges: EARLY_EDGES,
        }
    }
}

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// No, conditional or has.
    pub permissionship: Permissionship,
    /// The caveat parameters that a conditional answer lacks; empty otherwise.
    pub missing: BTreeSet<String>,
}

/// How far an evaluation got with its fuel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<T> {
    /// It is finished.
    Done(T),
    /// The fuel is used up; call again to go on.
    More,
}

/// Where a lookup goes on: behind the answer that carries it. Good at its revision only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// One member of one object, as text for people: `document:readme#view`.
pub type GoalName = String;

/// Why there is no answer. None of these is a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The schema has no such definition.
    #[error("the schema has no definition `{definition}`")]
    UnknownDefinition {
        /// As asked.
        definition: String,
    },
    /// The definition has no such relation or permission.
    #[error("definition `{definition}` has no relation or permission `{member}`")]
    UnknownMember {
        /// As asked.
        definition: String,
        /// As asked.
        member: String,
    },
    /// `*` cannot be asked about.
    #[error("the subject's id is `*`; ask about one subject, or use LookupSubjects for all")]
    WildcardSubject,
    /// The answer depends on a caveat that fails.
    #[error(transparent)]
    Caveat(#[from] EvaluationError),
    /// The answer depends on a cycle through an exclusion that has no answer.
    #[error("no answer: {}", named(.cycle))]
    Cycle {
        /// The cycle, each goal leading to the next and the last to the first; a long one ends in how many more.
        /// Empty if there are so many goals in question that none was found; then it may be a failing caveat as well.
        cycle: Vec<GoalName>,
    },
    /// The question's budget is used up.
    #[error("the question visited more than {cost_max} edges; narrow the question or raise the budget")]
    Budget {
        /// The limit it met.
        cost_max: u64,
    },
    /// What the questions of one bulk may spend together was used up before this one was asked.
    #[error(
        "the checks before this one visited {cost_max} edges; ask for fewer at a time or raise the budget of a bulk"
    )]
    BulkBudget {
        /// The limit that was met.
        cost_max: u64,
    },
}

fn named(cycle: &[GoalName]) -> String {
    if cycle.is_empty() {
        return "the reason was not found among very many relationships; look for some through which the right side \
                of a `-` leads back to the permission, and for caveats that fail"
            .to_owned();
    }
    format!("the permission excludes itself through {}", cycle.join(" → "))
}

/// Stands for an object that no relationship names, as a subject.
pub(crate) const UNNAMED_SUBJECT: u32 = u32::MAX;
/// Stands for an object that no relationship names and that is not the subject, as a resource.
pub(crate) const UNNAMED_RESOURCE: u32 = u32::MAX - 1;

/// A subject in a plan's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BoundSubject {
    pub(crate) object_type: TypeIndex,
    pub(crate) object: u32,
    pub(crate) member: Option<MemberIndex>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn bind_type(self, definition: &str) -> Result<TypeIndex, EngineError> {
        self.plans
            .plan
            .type_index(definition)
            .ok_or_else(|| EngineError::UnknownDefinition { definition: definition.to_owned() })
    }

    pub(crate) fn bind_member(
        self,
        object_type: TypeIndex,
        member: &str,
    ) -> Result<MemberIndex, EngineError> {
        self.plans.plan.member_index(object_type, member).ok_or_else(|| EngineError::UnknownMember {
            definition: self.plans.plan.types[object_type as usize].name.clone(),
            member: member.to_owned(),
        })
    }

    pub(crate) fn bind_subject(self, subject: &SubjectRef) -> Result<BoundSubject, EngineError> {
        let object_type = self.bind_type(&subject.object_type)?;
        let member = subject.relation.as_deref().map(|r| self.bind_member(object_type, r)).transpose()?;
        if subject.is_wildcard() {
            return Err(EngineError::WildcardSubject);
        }
        let object = self.object(object_type, &subject.object_id).unwrap_or(UNNAMED_SUBJECT);
        Ok(BoundSubject { object_type, object, member })
    }

    /// A question's goal and subject in the plan's numbers.
    pub(crate) fn bind(self, question: Question<'_>) -> Result<(GoalKey, BoundSubject), EngineError> {
        let Question { resource, permission, subject, .. } = question;
        let object_type = self.bind_type(&resource.object_type)?;
        let member = self.bind_member(object_type, permission)?;
        let subject_type = self.bind_type(&subject.object_type)?;
        let relation = subject.relation.as_deref();
        let of_subject = relation.map(|relation| self.bind_member(subject_type, relation)).transpose()?;
        if subject.is_wildcard() {
            return Err(EngineError::WildcardSubject);
        }
        let type_ids = &self.plans.type_ids;
        let (object, subject_object) = self.root.object_pair(
            (type_ids[object_type as usize], &resource.object_id),
            (type_ids[subject_type as usize], &subject.object_id),
        );
        let object = object.unwrap_or_else(|| {
            let is_subject = object_type == subject_type && resource.object_id == subject.object_id;
            if is_subject { UNNAMED_SUBJECT } else { UNNAMED_RESOURCE }
        });
        let subject_object = subject_object.unwrap_or(UNNAMED_SUBJECT);
        let subject = BoundSubject { object_type: subject_type, object: subject_object, member: of_subject };
        Ok((GoalKey { member, object }, subject))
    }

    pub(crate) fn object(self, object_type: TypeIndex, id: &str) -> Option<u32> {
        self.root.object(self.plans.type_ids[object_type as usize], id)
    }
}
