//! Which way do the answers lie? The plan read backwards, cut down to what leads to one member.
//!
//! *Stations* are the members whose objects a search remembers: the target, and those from which edges or several ways lead
//! on. Where there is but one way on, to a member of the same object, that is passed without being remembered.
//!
//! The target's rule may be a base with `-` behind it. Then what reaches the base is definite, but for the *guards*: edges
//! without which nobody is excluded.
//!
//! # Invariants
//! * Whatever may grant the target leads to it; what can only take away does not.
//! * A way is pure if nothing but unions lies on it, and before the target its guards. Behind a target with guards it is
//!   not: who is barred there grants nothing further on.
//!
//! Cost: O(members and their dependents), once a lookup.

use idhini_graph::ClassId;
use idhini_schema::{ArrowKind, ClassIndex, MemberIndex, NodeIndex, PlanNode, PlanSubject};

use crate::Plans;
use crate::evaluate::Evaluator;
use crate::plans::{Dependent, SelfMember, Via};
use crate::question::UNNAMED_RESOURCE;

/// Index into [`Routes::stations`].
type StationIndex = u32;

/// Where the target stands among the stations.
pub(super) const TARGET: StationIndex = 0;

/// The ways to one member.
pub(super) struct Routes {
    pub(super) stations: Vec<Station>,
    /// Per member: the station that it leads to on the same object, if it leads to the target at all.
    arrivals: Vec<Option<Arrival>>,
    /// Permissions that hold where the subject is the object itself.
    pub(super) selves: Vec<SelfMember>,
    /// What stands behind a `-` at the top of the target's rule.
    excluded: Vec<NodeIndex>,
}

/// A member whose objects are remembered.
#[derive(Default)]
pub(super) struct Station {
    /// Edges that lead on, to their resources.
    pub(super) onward: Vec<Onward>,
    /// Stations of the same object.
    pub(super) beside: Vec<Arrival>,
}

/// Who is reached over the edges of a class.
#[derive(Clone, Copy)]
pub(super) struct Onward {
    pub(super) class: ClassIndex,
    pub(super) member: MemberIndex,
    pub(super) is_pure: bool,
}

/// A station that is reached.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) station: StationIndex,
    pub(super) is_pure: bool,
}

/// Edges of a candidate without which it is not excluded.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    class: ClassId,
    /// The one subject that counts; `None` if any may.
    subject: Option<u32>,
}

impl Routes {
    pub(super) fn to(plans: &Plans, target: MemberIndex) -> Routes {
        Routes::of(plans, target, TargetRule::of(plans, target))
    }

    /// The ways to what stands behind the target's `-`, as if it were a member of its own. None of them is pure.
    pub(super) fn to_excluded(&self, plans: &Plans) -> Routes {
        let behind = index(plans.plan.members.len());
        let mut rule = TargetRule::nothing();
        rule.walk(plans, behind, self.excluded.iter().map(|node| (*node, false)).collect());
        // Who is the object itself is verified anyway.
        rule.selves.clear();
        Routes::of(plans, behind, rule)
    }

    fn of(plans: &Plans, target: MemberIndex, own: TargetRule) -> Routes {
        let dependents = dependents(plans, target, &own);
        let is_relevant = relevant(&dependents, target);
        let relevant_of = |member: MemberIndex| {
            let dependents = dependents[member as usize].iter();
            dependents.filter(|d| is_relevant[d.member as usize])
        };
        let members = 0..index(dependents.len());
        let is_station = |member: &MemberIndex| {
            let is_passed = relevant_of(*member).count() == 1
                && relevant_of(*member).all(|dependent| dependent.via == Via::SameObject);
            *member != target && is_relevant[*member as usize] && !is_passed
        };
        let members_of_stations: Vec<MemberIndex> =
            std::iter::once(target).chain(members.clone().filter(is_station)).collect();
        let mut arrivals = vec![None; dependents.len()];
        for (station, member) in (0..).zip(&members_of_stations) {
            arrivals[*member as usize] = Some(Arrival { station, is_pure: true });
        }
        for member in members.filter(|member| is_relevant[*member as usize]) {
            arrive(member, &mut arrivals, |member| relevant_of(member).next().copied());
        }
        let station = |member: &MemberIndex| {
            let mut station = Station::default();
            for &Dependent { member, via, is_pure } in relevant_of(*member) {
                match (via, arrivals[member as usize]) {
                    (Via::Class(class), _) => station.onward.push(Onward { class, member, is_pure }),
                    (Via::SameObject, Some(arrival)) => station.beside.push(arrival.behind(is_pure)),
                    (Via::SameObject, None) => {}
                }
            }
            station
        };
        let mut stations: Vec<Station> = members_of_stations.iter().map(station).collect();
        if !own.excluded.is_empty() {
            stations[TARGET as usize].taint();
        }
        let others = plans.self_members.iter().copied().filter(|of_self| of_self.member != target);
        let selves = others.chain(own.selves).collect();
        Routes { stations, arrivals, selves, excluded: own.excluded }
    }

    /// The station that a member leads to.
    pub(super) fn arrival(&self, member: MemberIndex) -> Option<Arrival> {
        self.arrivals[member as usize]
    }

    /// Whether reaching the base of the target's rule is not enough.
    pub(super) fn is_guarded(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// The guards that count for the evaluator's subject.
    pub(super) fn guards(&self, evaluator: &Evaluator<'_>) -> Vec<Guard> {
        let (root, plans) = (evaluator.snapshot.root, evaluator.snapshot.plans);
        let mut guards = Vec::new();
        let mut open = self.excluded.clone();
        let mut is_seen = vec![false; plans.plan.nodes.len()];
        let mut push = |class: ClassIndex, subject: Option<u32>| {
            let class = plans.class_ids[class as usize];
            // Classes without edges guard nothing.
            if root.class_edges(class) > 0 {
                guards.push(Guard { class, subject });
            }
        };
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut is_seen[node as usize], true) {
                continue;
            }
            match &plans.plan.nodes[node as usize] {
                // Who is the object itself is verified anyway.
                PlanNode::Nil | PlanNode::SelfObject(_) => {}
                PlanNode::Member(member) => open.push(plans.node_of(*member)),
                PlanNode::Relation(classes) => {
                    for &class in classes {
                        if matches!(plans.plan.classes[class as usize].subject, PlanSubject::Userset(_)) {
                            push(class, None);
                        } else if let Some(subject) = evaluator.direct_subject(class)
                            && subject < UNNAMED_RESOURCE
                            && !root.resources(plans.class_ids[class as usize], subject).is_empty()
                        {
                            push(class, Some(subject));
                        }
                    }
                }
                PlanNode::Arrow { steps, .. } => steps.iter().for_each(|step| push(step.class, None)),
                PlanNode::Union(children) | PlanNode::Intersection(children) => open.extend(children),
                PlanNode::Exclusion(base, _) => open.push(*base),
            }
        }
        guards
    }
}

impl Arrival {
    /// The same behind one more step.
    fn behind(self, is_pure: bool) -> Arrival {
        Arrival { is_pure: self.is_pure && is_pure, ..self }
    }
}

impl Station {
    /// Whether anything is reached from here.
    pub(super) fn leads_on(&self) -> bool {
        !(self.onward.is_empty() && self.beside.is_empty())
    }

    fn taint(&mut self) {
        self.onward.iter_mut().for_each(|onward| onward.is_pure = false);
        self.beside.iter_mut().for_each(|beside| beside.is_pure = false);
    }
}

impl Guard {
    /// Whether the object has an edge that might exclude the subject.
    pub(super) fn bars(self, evaluator: &Evaluator<'_>, object: u32) -> bool {
        let run = evaluator.snapshot.root.subjects(self.class, object);
        self.subject.map_or(!run.is_empty(), |subject| run.contains(subject))
    }
}

/// The target's rule, read backwards as if the `-` at its top took nothing away.
struct TargetRule {
    /// From which members.
    dependents: Vec<(MemberIndex, Dependent)>,
    selves: Vec<SelfMember>,
    excluded: Vec<NodeIndex>,
}

impl TargetRule {
    fn of(plans: &Plans, target: MemberIndex) -> TargetRule {
        let mut rule = TargetRule::nothing();
        let mut base = plans.node_of(target);
        while let PlanNode::Exclusion(left, excluded) = &plans.plan.nodes[base as usize] {
            rule.excluded.push(*excluded);
            base = *left;
        }
        rule.walk(plans, target, vec![(base, true)]);
        rule
    }

    fn nothing() -> TargetRule {
        TargetRule { dependents: Vec::new(), selves: Vec::new(), excluded: Vec::new() }
    }

    /// What `member` depends on if these nodes are its rule, each with whether it grants by itself.
    fn walk(&mut self, plans: &Plans, member: MemberIndex, mut open: Vec<(NodeIndex, bool)>) {
        while let Some((node, is_pure)) = open.pop() {
            let mut depends =
                |on, via, is_pure| self.dependents.push((on, Dependent { member, via, is_pure }));
            match &plans.plan.nodes[node as usize] {
                PlanNode::Nil => {}
                PlanNode::SelfObject(_) => self.selves.push(SelfMember { member, is_pure }),
                PlanNode::Relation(classes) => {
                    for &class in classes {
                        if let PlanSubject::Userset(on) = plans.plan.classes[class as usize].subject {
                            depends(on, Via::Class(class), is_pure);
                        }
                    }
                }
                PlanNode::Member(on) => depends(*on, Via::SameObject, is_pure),
                PlanNode::Arrow { kind, steps, .. } => {
                    let is_pure = is_pure && *kind == ArrowKind::Any;
                    steps.iter().for_each(|step| depends(step.target, Via::Class(step.class), is_pure));
                }
                PlanNode::Union(children) => open.extend(children.iter().map(|c| (*c, is_pure))),
                PlanNode::Intersection(children) => open.extend(children.iter().map(|c| (*c, false))),
                PlanNode::Exclusion(base, _) => open.push((*base, false)),
            }
        }
    }
}

/// Per member: who may gain when it does, on the way to the target.
fn dependents(plans: &Plans, target: MemberIndex, own: &TargetRule) -> Vec<Vec<Dependent>> {
    let others = |of: &Vec<Dependent>| of.iter().copied().filter(|d| d.member != target).collect();
    let mut dependents: Vec<Vec<Dependent>> = plans.dependents.iter().map(others).collect();
    dependents.resize(dependents.len().max(target as usize + 1), Vec::new());
    for (on, dependent) in &own.dependents {
        dependents[*on as usize].push(*dependent);
    }
    dependents
}

/// Members whose holding may lead to the target's holding.
fn relevant(dependents: &[Vec<Dependent>], target: MemberIndex) -> Vec<bool> {
    let mut leads_to = vec![Vec::new(); dependents.len()];
    for (member, dependents) in (0..index(dependents.len())).zip(dependents) {
        for dependent in dependents {
            leads_to[dependent.member as usize].push(member);
        }
    }
    let mut is_relevant = vec![false; dependents.len()];
    let mut open = vec![target];
    while let Some(member) = open.pop() {
        if !std::mem::replace(&mut is_relevant[member as usize], true) {
            open.extend(&leads_to[member as usize]);
        }
    }
    is_relevant
}

/// Follows the one way on from a member to the first whose arrival is known, and tells all that were passed.
fn arrive(
    mut member: MemberIndex,
    arrivals: &mut [Option<Arrival>],
    next: impl Fn(MemberIndex) -> Option<Dependent>,
) {
    let mut passed = Vec::new();
    // INVARIANT: what leads to the target and has one way on does not lead to itself.
    while arrivals[member as usize].is_none()
        && let Some(dependent) = next(member)
    {
        passed.push((member, dependent.is_pure));
        member = dependent.member;
    }
    let mut arrival = arrivals[member as usize];
    for (member, is_pure) in passed.into_iter().rev() {
        arrival = arrival.map(|arrival| arrival.behind(is_pure));
        arrivals[member as usize] = arrival;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a plan's members are numbered by 32 bits")]
fn index(members: usize) -> MemberIndex {
    members as MemberIndex
}
