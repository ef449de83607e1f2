//! LookupSubjects: which subjects of a type hold a permission on a resource?
//!
//! Walks down from the resource and notes every subject that is named below it, and how: where it surely grants (through
//! unions, edges that surely count, and the left sides of `-`), where it may grant, or behind a `-` only. Who is named
//! where it surely grants and nowhere behind a `-` has the permission; the others are verified by the evaluator, each for
//! itself. If a wildcard is met, a subject that nothing names is asked too: its value is that of `*`, and whoever named
//! has less is excluded from it.
//!
//! # Invariants
//! * Who is not named below the resource has the value of an unnamed subject.
//! * Who is not named behind a `-` has nothing of what stands there, unless a wildcard does.
//! * What fails it once, it fails with whenever it is asked again.
//! * Each subject is answered once; `*` comes first, once, with all its exclusions.
//!
//! Cost: O(edges below the resource), a few nanoseconds an edge; then an evaluation per subject that is not sure. Memory:
//! two bits per object of the subject type, a third up to the last one behind a `-`, and what the evaluator remembers;
//! until the first answer also the goals visited.

mod marks;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use idhini_model::{Context, ResourceRef, WILDCARD};
use idhini_schema::{ArrowKind, ClassIndex, MemberIndex, NodeIndex, PlanNode, PlanSubject, TypeIndex};
use rustc_hash::FxBuildHasher;

use crate::broken::{Variant, is_broken};
use crate::evaluate::{Evaluator, GoalKey};
use crate::inquire::Inquiry;
use crate::question::{BoundSubject, UNNAMED_RESOURCE, UNNAMED_SUBJECT};
use crate::value::Bounds;
use crate::{Answer, EngineError, Limits, Permissionship, Position, Progress, Snapshot};
use marks::{Marks, Met, Taken};

/// A subject that holds the permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSubject<'a> {
    /// Where to go on behind it.
    pub position: Position,
    /// The object's id; `*` for all of the type but `excluded`.
    pub object_id: &'a str,
    /// Conditional or has, and what is missing.
    pub answer: Answer,
    /// Who has less than `*`; empty for others.
    pub excluded: Vec<ExcludedSubject<'a>>,
}

/// A subject that a wildcard does not cover, or not surely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedSubject<'a> {
    /// The object's id.
    pub object_id: &'a str,
    /// What the subject has all the same: no, or conditional (then excluded under a condition).
    pub answer: Answer,
}

#[derive(Clone, Copy)]
enum Item {
    Node {
        node: NodeIndex,
        object: u32,
        met: Met,
    },
    /// Edges of a class from number `next` on; to goals of `target`, or to subjects.
    Edges {
        class: ClassIndex,
        object: u32,
        met: Met,
        next: u32,
        target: Option<MemberIndex>,
    },
}

enum Phase<'a> {
    Walking,
    AskingWildcard(Inquiry),
    /// Collecting who is excluded from a wildcard with this answer.
    Excluding {
        wildcard: Answer,
        excluded: Vec<ExcludedSubject<'a>>,
    },
    Listing,
}

/// Who was named on the way down: all that a further page of the same question in the same snapshot needs of it.
///
/// Memory: two bits per object of the subject type, a third up to the last one that is named behind a `-`.
#[derive(Debug, Clone)]
pub struct NamedSubjects(Arc<Named>);

#[derive(Debug)]
struct Named {
    subjects: Marks,
    /// Subjects named behind a `-`, where being named may take away.
    taken: Taken,
    /// How the resource itself was met as a subject, when no relationship names it.
    resource: Met,
    has_wildcard: bool,
    /// Whether there is one behind a `-`.
    has_taken_wildcard: bool,
}

/// One lookup, resumable.
pub struct LookupSubjects<'a> {
    snapshot: Snapshot<'a>,
    evaluator: Evaluator<'a>,
    resource: &'a ResourceRef,
    goal: GoalKey,
    subject_type: TypeIndex,
    subject_member: Option<MemberIndex>,
    goals: HashMap<GoalKey, Met, FxBuildHasher>,
    taken_goals: HashSet<GoalKey, FxBuildHasher>,
    open: Vec<Item>,
    naming: Named,
    /// All who are named, when the walk is over.
    named: Option<NamedSubjects>,
    phase: Phase<'a>,
    /// The wildcard's value, once known.
    wildcard: Permissionship,
    after: Option<Position>,
    next: u32,
    verifying: Option<(u32, Inquiry)>,
    /// Why it ended early; it then stays so.
    failure: Option<EngineError>,
}

impl<'a> LookupSubjects<'a> {
    /// Binds the question to a snapshot; answers begin behind `after`.
    ///
    /// # Errors
    /// [`EngineError::UnknownDefinition`], [`EngineError::UnknownMember`].
    pub fn open(
        snapshot: Snapshot<'a>,
        (resource, permission): (&'a ResourceRef, &str),
        (subject_type, subject_relation): (&str, Option<&str>),
        context: &'a Context,
        after: Option<Position>,
        limits: Limits,
    ) -> Result<LookupSubjects<'a>, EngineError> {
        let object_type = snapshot.bind_type(&resource.object_type)?;
        let member = snapshot.bind_member(object_type, permission)?;
        let subject_type = snapshot.bind_type(subject_type)?;
        let subject_member = subject_relation.map(|r| snapshot.bind_member(subject_type, r)).transpose()?;
        let object = snapshot.object(object_type, &resource.object_id).unwrap_or(UNNAMED_RESOURCE);
        let anonymous =
            BoundSubject { object_type: subject_type, object: UNNAMED_SUBJECT, member: subject_member };
        let mut evaluator = Evaluator::new(snapshot, context, anonymous, limits);
        evaluator.share_budget();
        let count = snapshot.root.object_count(snapshot.plans.type_ids[subject_type as usize]);
        let mut lookup = LookupSubjects {
            snapshot,
            evaluator,
            resource,
            goal: GoalKey { member, object },
            subject_type,
            subject_member,
            goals: HashMap::default(),
            taken_goals: HashSet::default(),
            open: Vec::new(),
            naming: Named::nobody(count as usize),
            named: None,
            phase: Phase::Walking,
            wildcard: Permissionship::No,
            after,
            next: 0,
            verifying: None,
            failure: None,
        };
        lookup.meet_goal(lookup.goal, Met::Sure);
        Ok(lookup)
    }

    /// Goes on with whom a lookup of the same question in the same snapshot has named, instead of walking again.
    #[must_use]
    pub fn with_named(mut self, named: NamedSubjects) -> LookupSubjects<'a> {
        self.end_walk(named);
        self
    }

    /// Who was named, when all are: with the first answer, or the end.
    #[must_use]
    pub fn named(&self) -> Option<&NamedSubjects> {
        self.named.as_ref()
    }

    /// What was spent so far, in edges.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.evaluator.cost()
    }

    /// Works on for about `fuel` edges, until the next subject; `None` when there is no further one.
    ///
    /// # Errors
    /// [`EngineError::Budget`], [`EngineError::Caveat`], [`EngineError::Cycle`].
    pub fn advance(&mut self, fuel: u64) -> Result<Progress<Option<FoundSubject<'a>>>, EngineError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let progress = self.work(fuel);
        self.failure = progress.as_ref().err().cloned();
        progress
    }

    fn work(&mut self, fuel: u64) -> Result<Progress<Option<FoundSubject<'a>>>, EngineError> {
        let end = self.evaluator.cost().saturating_add(fuel);
        loop {
            match &mut self.phase {
                Phase::Walking => {
                    if !self.walk(end)? {
                        return Ok(Progress::More);
                    }
                    let named = std::mem::replace(&mut self.naming, Named::nobody(0));
                    self.end_walk(NamedSubjects(Arc::new(named)));
                }
                Phase::AskingWildcard(inquiry) => {
                    let left = end.saturating_sub(self.evaluator.cost()).max(1);
                    let Progress::Done(answer) = inquiry.advance(&mut self.evaluator, left)? else {
                        return Ok(Progress::More);
                    };
                    self.answer_wildcard(answer);
                }
                Phase::Excluding { .. } => match self.next_verified(end)? {
                    Progress::More => return Ok(Progress::More),
                    Progress::Done(Some((object, answer))) => self.exclude(object, answer),
                    Progress::Done(None) => return Ok(Progress::Done(self.emit_wildcard())),
                },
                Phase::Listing => match self.next_verified(end)? {
                    Progress::More => return Ok(Progress::More),
                    Progress::Done(None) => return Ok(Progress::Done(None)),
                    Progress::Done(Some((object, answer))) => {
                        if self.is_listed(object, answer.permissionship) {
                            return Ok(Progress::Done(Some(self.found(object, answer))));
                        }
                    }
                },
            }
            if self.evaluator.cost() >= end {
                return Ok(Progress::More);
            }
        }
    }

    /// Whether nothing needs to be asked about who was met like this.
    fn is_sure(&self, object: u32, met: Met) -> bool {
        let Some(NamedSubjects(named)) = &self.named else { return false };
        let is_sure = met == Met::Sure && !named.has_taken_wildcard && !named.taken.contains(object);
        is_sure || (is_broken(Variant::LookupTrustsCandidates) && met >= Met::Possible)
    }

    /// Who stands for himself: whoever has more than the wildcard, or as much in a place that may grant.
    fn is_listed(&self, object: u32, value: Permissionship) -> bool {
        value > self.wildcard
            || (value > Permissionship::No && value == self.wildcard && self.met(object) >= Met::Possible)
    }

    fn end_walk(&mut self, named: NamedSubjects) {
        let has_wildcard = named.0.has_wildcard;
        self.named = Some(named);
        // Answers may be taken slowly; meanwhile only what they come from is kept.
        self.naming = Named::nobody(0);
        self.goals = HashMap::default();
        self.taken_goals = HashSet::default();
        self.open = Vec::new();
        if has_wildcard && !is_broken(Variant::LookupForgetsWildcards) {
            self.phase = Phase::AskingWildcard(Inquiry::open(&mut self.evaluator, self.goal));
        } else {
            self.list_from(self.after);
        }
    }

    fn answer_wildcard(&mut self, answer: Answer) {
        self.wildcard = answer.permissionship;
        let is_first_page = self.after.is_none();
        if self.wildcard > Permissionship::No && is_first_page {
            self.phase = Phase::Excluding { wildcard: answer, excluded: Vec::new() };
        } else {
            self.list_from(self.after);
        }
    }

    fn list_from(&mut self, after: Option<Position>) {
        // Position 0 is the wildcard's, n + 1 that of number n.
        self.next = after.map_or(0, |Position(position)| u32::try_from(position).unwrap_or(u32::MAX));
        self.verifying = None;
        self.phase = Phase::Listing;
    }

    fn exclude(&mut self, object: u32, answer: Answer) {
        // With both conditional, who is named behind a `-` may have less where the wildcard's condition holds.
        let may_lack = answer.permissionship == Permissionship::Conditional && self.is_taken(object);
        let is_less =
            answer.permissionship < self.wildcard || (answer.permissionship == self.wildcard && may_lack);
        let object_id = self.object_id(object);
        if let Phase::Excluding { excluded, .. } = &mut self.phase
            && is_less
            && !is_broken(Variant::LookupForgetsExclusions)
        {
            excluded.push(ExcludedSubject { object_id, answer });
        }
    }

    fn emit_wildcard(&mut self) -> Option<FoundSubject<'a>> {
        let phase = std::mem::replace(&mut self.phase, Phase::Listing);
        self.list_from(None);
        let Phase::Excluding { wildcard, excluded } = phase else { return None };
        Some(FoundSubject { position: Position(0), object_id: WILDCARD, answer: wildcard, excluded })
    }

    fn found(&self, object: u32, answer: Answer) -> FoundSubject<'a> {
        let object_id = self.object_id(object);
        FoundSubject { position: Position(u64::from(object) + 1), object_id, answer, excluded: Vec::new() }
    }

    fn object_id(&self, object: u32) -> &'a str {
        match object {
            UNNAMED_SUBJECT => &self.resource.object_id,
            object => {
                self.snapshot.root.object_id(self.snapshot.plans.type_ids[self.subject_type as usize], object)
            }
        }
    }

    fn met(&self, object: u32) -> Met {
        let Some(NamedSubjects(named)) = &self.named else { return Met::Never };
        match object {
            UNNAMED_SUBJECT => named.resource,
            object => named.subjects.of(object),
        }
    }

    fn is_taken(&self, object: u32) -> bool {
        self.named.as_ref().is_some_and(|NamedSubjects(named)| named.taken.contains(object))
    }

    /// The next named subject with its value; the resource itself, if no relationship names it, comes last.
    fn next_verified(&mut self, end: u64) -> Result<Progress<Option<(u32, Answer)>>, EngineError> {
        loop {
            if let Some((object, inquiry)) = &mut self.verifying {
                let object = *object;
                let left = end.saturating_sub(self.evaluator.cost()).max(1);
                let Progress::Done(answer) = inquiry.advance(&mut self.evaluator, left)? else {
                    return Ok(Progress::More);
                };
                self.verifying = None;
                return Ok(Progress::Done(Some((object, answer))));
            }
            let Some((object, met)) = self.next_named() else {
                if self.next == u32::MAX || self.met(UNNAMED_SUBJECT) == Met::Never {
                    return Ok(Progress::Done(None));
                }
                self.next = u32::MAX;
                self.verify(UNNAMED_SUBJECT);
                continue;
            };
            self.next = object + 1;
            self.evaluator.charge(1)?;
            if self.is_sure(object, met) {
                let answer = Answer { permissionship: Permissionship::Has, missing: BTreeSet::new() };
                return Ok(Progress::Done(Some((object, answer))));
            }
            self.verify(object);
            if self.evaluator.cost() >= end {
                return Ok(Progress::More);
            }
        }
    }

    fn next_named(&self) -> Option<(u32, Met)> {
        let NamedSubjects(named) = self.named.as_ref()?;
        named.subjects.next_from(self.next)
    }

    fn verify(&mut self, object: u32) {
        let member = self.subject_member;
        self.evaluator.turn_to(BoundSubject { object_type: self.subject_type, object, member });
        // The resource is the subject if neither has a number and the subject is named after it.
        let is_resource = object == UNNAMED_SUBJECT && self.goal.object == UNNAMED_RESOURCE;
        let goal = if is_resource { GoalKey { object, ..self.goal } } else { self.goal };
        self.verifying = Some((object, Inquiry::open(&mut self.evaluator, goal)));
    }

    fn meet_goal(&mut self, goal: GoalKey, met: Met) {
        let plans = self.snapshot.plans;
        if self.subject_member == Some(goal.member) {
            self.naming.name(goal.object, met);
        }
        // A goal met where it may grant is walked once more if it also stands behind a `-`.
        let is_new = match met {
            Met::Named => self.taken_goals.insert(goal),
            _ => {
                let before = self.goals.entry(goal).or_insert(Met::Never);
                let is_new = *before < met;
                *before = met.max(*before);
                is_new
            }
        };
        if is_new {
            self.open.push(Item::Node { node: plans.node_of(goal.member), object: goal.object, met });
        }
    }

    /// Walks down until nothing is open (`true`) or the cost reaches `end`.
    fn walk(&mut self, end: u64) -> Result<bool, EngineError> {
        while let Some(item) = self.open.pop() {
            self.evaluator.charge(1)?;
            match item {
                Item::Node { node, object, met } => self.walk_node(node, object, met),
                Item::Edges { .. } => self.walk_edges(item, end)?,
            }
            if self.evaluator.cost() >= end && !self.open.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn walk_node(&mut self, node: NodeIndex, object: u32, met: Met) {
        let plans = self.snapshot.plans;
        match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => {}
            PlanNode::SelfObject(object_type) => {
                if self.subject_member.is_none() && *object_type == self.subject_type {
                    self.naming.name(object, met);
                }
            }
            PlanNode::Member(member) => self.meet_goal(GoalKey { member: *member, object }, met),
            PlanNode::Union(children) => {
                self.open.extend(children.iter().map(|&node| Item::Node { node, object, met }));
            }
            PlanNode::Intersection(children) => {
                let is_dropped = is_broken(Variant::LookupDropsIntersectedSubjects);
                let met = met.min(if is_dropped { Met::Never } else { Met::Possible });
                self.open.extend(children.iter().map(|&node| Item::Node { node, object, met }));
            }
            PlanNode::Exclusion(base, excluded) => {
                self.open.push(Item::Node { node: *base, object, met });
                self.open.push(Item::Node { node: *excluded, object, met: Met::Named });
            }
            PlanNode::Relation(classes) => {
                for &class in classes {
                    self.open_class(class, object, met);
                }
            }
            PlanNode::Arrow { kind, steps, .. } => {
                let met = if *kind == ArrowKind::All { met.min(Met::Possible) } else { met };
                for step in steps {
                    let target = Some(step.target);
                    self.open.push(Item::Edges { class: step.class, object, met, next: 0, target });
                }
            }
        }
    }

    fn open_class(&mut self, class: ClassIndex, object: u32, met: Met) {
        let plan_class = &self.snapshot.plans.plan.classes[class as usize];
        let is_asked = plan_class.subject_type == self.subject_type && self.subject_member.is_none();
        match plan_class.subject {
            PlanSubject::Object if is_asked => {
                self.open.push(Item::Edges { class, object, met, next: 0, target: None });
            }
            PlanSubject::Wildcard if is_asked => {
                let wildcard = self.snapshot.object(plan_class.subject_type, WILDCARD);
                let is_held = wildcard.is_some_and(|w| self.evaluator.holds(class, object, w));
                self.naming.has_wildcard |= is_held;
                self.naming.has_taken_wildcard |= is_held && met == Met::Named;
            }
            PlanSubject::Userset(target) => {
                self.open.push(Item::Edges { class, object, met, next: 0, target: Some(target) });
            }
            _ => {}
        }
    }

    fn walk_edges(&mut self, item: Item, end: u64) -> Result<(), EngineError> {
        let Item::Edges { class, object, met, mut next, target } = item else { return Ok(()) };
        if object >= UNNAMED_RESOURCE {
            return Ok(());
        }
        let root = self.snapshot.root;
        let class_id = self.snapshot.plans.class_ids[class as usize];
        let mut run = root.subjects(class_id, object).iter_from(next);
        let is_plain = !root.has_attributes(class_id);
        while run.len() > 0 {
            // At least one, so that the smallest portion gets on.
            let room = end.saturating_sub(self.evaluator.cost()).max(1);
            let room = if is_plain { usize::try_from(room).unwrap_or(usize::MAX).min(run.len()) } else { 1 };
            self.evaluator.charge(room as u64)?;
            for subject in run.by_ref().take(room) {
                next = subject + 1;
                let met = match is_plain {
                    true => met,
                    false => self.met_over(class, object, subject, met)?,
                };
                match target {
                    _ if met == Met::Never => {}
                    Some(member) => self.meet_goal(GoalKey { member, object: subject }, met),
                    None => self.naming.name(subject, met),
                }
            }
            if self.evaluator.cost() >= end && run.len() > 0 {
                self.open.push(Item::Edges { class, object, met, next, target });
                break;
            }
        }
        Ok(())
    }

    /// How a subject is met over an edge that may not count.
    fn met_over(
        &mut self,
        class: ClassIndex,
        object: u32,
        subject: u32,
        met: Met,
    ) -> Result<Met, EngineError> {
        let edge = self.evaluator.conditions.whole_edge(class, object, subject);
        let steps = self.evaluator.conditions.take_steps();
        self.evaluator.charge(steps)?;
        Ok(match edge {
            None | Some(Bounds::NO) => Met::Never,
            Some(Bounds::HAS) => met,
            Some(_) => met.min(Met::Possible),
        })
    }
}

impl NamedSubjects {
    /// About what it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.subjects.bytes() + self.0.taken.bytes()
    }
}

impl Named {
    fn nobody(count: usize) -> Named {
        Named {
            subjects: Marks::new(count),
            taken: Taken::default(),
            resource: Met::Never,
            has_wildcard: false,
            has_taken_wildcard: false,
        }
    }

    #[inline]
    fn name(&mut self, object: u32, met: Met) {
        if met == Met::Named {
            self.taken.insert(if object == UNNAMED_RESOURCE { UNNAMED_SUBJECT } else { object });
        }
        match object {
            UNNAMED_RESOURCE => self.resource = met.max(self.resource),
            object => self.subjects.raise(object, met),
        }
    }
}
