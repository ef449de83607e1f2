//! Expand: what does a permission consist of here? The rule with the relationships that stand in it, as a tree.
//!
//! Usersets in relations stay references; permissions and arrows are followed. A goal that is already being expanded
//! further up, and one whose rule would reach deeper than [`EXPAND_DEPTH_MAX`], stays a reference too (a leaf that
//! holds the userset), so that the tree is finite on every graph and clients with protobuf's usual limit of 100 nested
//! messages can read it. A rule is never cut in its middle, where no userset stands for what is left out: if it alone
//! is too deep, all of the goal is the reference, be it the one asked about.
//!
//! # Invariants
//! * Each node, reference and subject of a tree is charged before the next is made, so a tree never has more of them
//!   than its caller would spend. So are its names and what relationships store, up to [`EXPANDED_BYTES_MAX`].
//! * Asked again after its end, it makes the same tree anew; after its budget it stays refused.
//!
//! Cost: O(nodes and edges of the tree), at most [`EXPANDED_COST_MAX`], since a tree is answered whole.

use std::collections::{BTreeMap, HashMap};

use idhini_model::{Attributes, Context, Relationship, ResourceRef, SubjectRef};
use idhini_schema::{ArrowKind, ClassIndex, MemberIndex, NodeIndex, PlanNode};
use rustc_hash::FxBuildHasher;

use crate::conditions::Conditions;
use crate::question::{UNNAMED_RESOURCE, UNNAMED_SUBJECT};
use crate::{EngineError, Limits, Progress, Snapshot, size};

/// The most levels of a tree, leaves included; each nests two messages.
pub const EXPAND_DEPTH_MAX: usize = 40;
/// The most nodes and edges that one tree may take, whatever its caller would spend.
pub const EXPANDED_COST_MAX: u64 = 1_000_000;
/// The most bytes that the names and stored values in one tree take: an object's id comes again with each of its nodes.
pub const EXPANDED_BYTES_MAX: usize = 64 << 20;
/// How much fuel a node or edge of a tree takes: its names are copied, which lasts as long as visiting so many edges.
const FUEL_SHOWN: u64 = 10;
/// A subject that stores values is charged once more for each so many bytes of them.
const STORED_BYTES: usize = 256;

/// A node of an expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandTree {
    /// The object expanded.
    pub resource: ResourceRef,
    /// The relation or permission that this node belongs to; empty for the steps of an arrow.
    pub member: String,
    /// What it consists of.
    pub kind: ExpandKind,
}

/// What a node of an expansion consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpandKind {
    /// Subjects.
    Leaf(Vec<ExpandedSubject>),
    /// Any of these.
    Union(Vec<ExpandTree>),
    /// All of these.
    Intersection(Vec<ExpandTree>),
    /// The first without the second.
    Exclusion(Vec<ExpandTree>),
}

/// A subject and the attributes of the relationship that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpandedSubject {
    /// An object, userset or wildcard.
    pub subject: SubjectRef,
    /// Caveat and expiration.
    pub attributes: Attributes,
}

/// One expansion, resumable.
pub struct Expand<'a> {
    snapshot: Snapshot<'a>,
    conditions: Conditions<'a>,
    resource: &'a ResourceRef,
    member: MemberIndex,
    object: u32,
    cost_max: u64,
    cost: u64,
    bytes: usize,
    /// How many levels the rules of members take that were met.
    heights: HashMap<MemberIndex, usize, FxBuildHasher>,
    /// Nodes being expanded, outermost first.
    frames: Vec<Frame>,
    /// What was expanded last, on its way to the node above.
    finished: Option<ExpandTree>,
}

/// A node of a rule on an object.
struct Frame {
    member: MemberIndex,
    object: u32,
    node: NodeIndex,
    /// The level of what the node itself becomes.
    depth: usize,
    /// Whether it is the root of its member's rule, so that meeting the member again would be a cycle.
    is_goal: bool,
    /// Which child, class or step is next, and which edge of it.
    position: usize,
    edge_position: u32,
    children: Vec<ExpandTree>,
    subjects: Vec<ExpandedSubject>,
}

enum Step {
    Complete,
    /// A member of an object is to be expanded, or another node of the same rule.
    Goal(MemberIndex, u32),
    Node(NodeIndex),
    Pause,
}

/// What comes next of a class's relationships.
enum Next {
    /// One that has not expired: its subject's number.
    Edge(u32),
    End,
    Pause,
}

/// What contexts are needed for: nothing, since an expansion shows caveats and evaluates none.
static NO_CONTEXT: Context = Context(BTreeMap::new());

impl<'a> Expand<'a> {
    /// Binds a permission or relation of a resource to a snapshot.
    ///
    /// # Errors
    /// [`EngineError::UnknownDefinition`], [`EngineError::UnknownMember`].
    pub fn open(
        snapshot: Snapshot<'a>,
        resource: &'a ResourceRef,
        permission: &str,
        limits: Limits,
    ) -> Result<Expand<'a>, EngineError> {
        let object_type = snapshot.bind_type(&resource.object_type)?;
        let member = snapshot.bind_member(object_type, permission)?;
        let object = snapshot.object(object_type, &resource.object_id).unwrap_or(UNNAMED_SUBJECT);
        let mut expand = Expand {
            snapshot,
            conditions: Conditions::new(snapshot, &NO_CONTEXT, limits.caveat_budget),
            resource,
            member,
            object,
            cost_max: limits.cost_max.min(EXPANDED_COST_MAX),
            cost: 0,
            bytes: 0,
            heights: HashMap::default(),
            frames: Vec::new(),
            finished: None,
        };
        expand.begin();
        Ok(expand)
    }

    /// What was spent so far, in edges.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Works on for about `fuel`, of which a node or edge of the tree takes as much as visiting ten edges.
    ///
    /// # Errors
    /// [`EngineError::Budget`].
    pub fn advance(&mut self, fuel: u64) -> Result<Progress<ExpandTree>, EngineError> {
        // Never further than just over the budget, so that no relation is collected beyond it.
        let shown = (fuel / FUEL_SHOWN).max(1);
        let end = self.cost.saturating_add(shown).min(self.cost_max.saturating_add(1));
        loop {
            if self.cost > self.cost_max {
                return Err(EngineError::Budget { cost_max: self.cost_max });
            }
            let Some(mut frame) = self.frames.pop() else { break };
            frame.children.extend(self.finished.take());
            let step = if self.cost < end { self.step(&mut frame, end) } else { Step::Pause };
            let depth = frame.depth + 1;
            match step {
                Step::Complete => self.finished = Some(self.complete(frame)),
                Step::Goal(member, object) => {
                    self.frames.push(frame);
                    self.open_goal(member, object, depth);
                }
                Step::Node(node) => {
                    let child = Frame::new(frame.member, frame.object, node, depth, false);
                    self.cost += 1;
                    self.frames.extend([frame, child]);
                }
                Step::Pause => {
                    self.frames.push(frame);
                    return Ok(Progress::More);
                }
            }
        }
        let Some(tree) = self.finished.take() else { return Ok(Progress::More) };
        self.begin();
        Ok(Progress::Done(tree))
    }

    /// Runs to the end without a pause.
    ///
    /// # Errors
    /// As [`Expand::advance`].
    pub fn tree(&mut self) -> Result<ExpandTree, EngineError> {
        loop {
            if let Progress::Done(tree) = self.advance(u64::MAX)? {
                return Ok(tree);
            }
        }
    }

    fn begin(&mut self) {
        (self.cost, self.bytes) = (0, 0);
        self.open_goal(self.member, self.object, 1);
    }

    /// Opens a frame for a member of an object, or finishes it at once as a reference.
    fn open_goal(&mut self, member: MemberIndex, object: u32, depth: usize) {
        let is_open = |f: &Frame| f.is_goal && (f.member, f.object) == (member, object);
        if depth + self.height(member) <= EXPAND_DEPTH_MAX + 1 && !self.frames.iter().any(is_open) {
            let node = self.snapshot.plans.node_of(member);
            let depth = depth + usize::from(is_wrapped(&self.snapshot.plans.plan.nodes[node as usize]));
            self.cost += 1;
            self.frames.push(Frame::new(member, object, node, depth, true));
            return;
        }
        let resource = self.resource_ref(member, object);
        let relation = self.snapshot.plans.plan.members[member as usize].name.clone();
        let subject = SubjectRef::userset(&resource.object_type, &resource.object_id, relation);
        let leaf = vec![self.subject(subject, Attributes::default())];
        self.finished = Some(self.tree_of(member, object, ExpandKind::Leaf(leaf)));
        // The leaf and its subject.
        self.cost += 2;
    }

    /// How many levels a member's rule takes if all that it leads to stays a reference.
    fn height(&mut self, member: MemberIndex) -> usize {
        let plans = self.snapshot.plans;
        *self.heights.entry(member).or_insert_with(|| {
            let node = plans.node_of(member);
            let mut open = vec![(node, 1 + usize::from(is_wrapped(&plans.plan.nodes[node as usize])))];
            let mut height = 0;
            while let Some((at, level)) = open.pop() {
                height = height.max(level);
                match &plans.plan.nodes[at as usize] {
                    // A rule that is another member's has that below it; elsewhere it takes the member's place.
                    PlanNode::Member(_) if at == node => height = height.max(level + 1),
                    PlanNode::Arrow { .. } => height = height.max(level + 1),
                    PlanNode::Union(children) | PlanNode::Intersection(children) => {
                        open.extend(children.iter().map(|child| (*child, level + 1)));
                    }
                    PlanNode::Exclusion(base, excluded) => {
                        open.extend([(*base, level + 1), (*excluded, level + 1)]);
                    }
                    PlanNode::Nil | PlanNode::SelfObject(_) | PlanNode::Member(_) | PlanNode::Relation(_) => {
                    }
                }
            }
            height
        })
    }

    /// Works on a node until it is complete, needs a child, or the portion ends.
    fn step(&mut self, frame: &mut Frame, end: u64) -> Step {
        let plans = self.snapshot.plans;
        match &plans.plan.nodes[frame.node as usize] {
            PlanNode::Nil | PlanNode::SelfObject(_) => Step::Complete,
            PlanNode::Relation(classes) => {
                while let Some(class) = classes.get(frame.position) {
                    match self.next_live(frame, *class, end) {
                        Next::Edge(subject) => self.show(frame, *class, subject),
                        Next::End => {}
                        Next::Pause => return Step::Pause,
                    }
                    if self.cost >= end {
                        return Step::Pause;
                    }
                }
                Step::Complete
            }
            PlanNode::Arrow { steps, .. } => {
                while let Some(step) = steps.get(frame.position) {
                    match self.next_live(frame, step.class, end) {
                        Next::Edge(subject) => return Step::Goal(step.target, subject),
                        Next::End => {}
                        Next::Pause => return Step::Pause,
                    }
                }
                Step::Complete
            }
            PlanNode::Member(_) => self.step_children(frame, &[frame.node]),
            PlanNode::Union(children) | PlanNode::Intersection(children) => {
                self.step_children(frame, children)
            }
            PlanNode::Exclusion(base, excluded) => self.step_children(frame, &[*base, *excluded]),
        }
    }

    fn step_children(&self, frame: &mut Frame, children: &[NodeIndex]) -> Step {
        let Some(&child) = children.get(frame.position) else { return Step::Complete };
        frame.position += 1;
        match self.snapshot.plans.plan.nodes[child as usize] {
            PlanNode::Member(target) => Step::Goal(target, frame.object),
            _ => Step::Node(child),
        }
    }

    /// The next relationship of a class that has not expired. At the class's end the frame is turned to the next one.
    fn next_live(&mut self, frame: &mut Frame, class: ClassIndex, end: u64) -> Next {
        let class_id = self.snapshot.plans.class_ids[class as usize];
        // An object without a number has no edges.
        let run =
            (frame.object < UNNAMED_RESOURCE).then(|| self.snapshot.root.subjects(class_id, frame.object));
        while let Some(subject) = run.and_then(|run| run.get(frame.edge_position as usize)) {
            self.cost += 1;
            frame.edge_position += 1;
            if self.conditions.live(class, frame.object, subject).is_some() {
                return Next::Edge(subject);
            }
            if self.cost >= end {
                return Next::Pause;
            }
        }
        frame.position += 1;
        frame.edge_position = 0;
        Next::End
    }

    /// Shows the subject of a relationship, with the relationship's attributes.
    fn show(&mut self, frame: &mut Frame, class: ClassIndex, subject: u32) {
        let class_id = self.snapshot.plans.class_ids[class as usize];
        let Some(relationship) = self.snapshot.root.relationship(class_id, frame.object, subject) else {
            return;
        };
        let Relationship { subject, caveat, expires_at, .. } = relationship;
        let stored = caveat.as_ref().map_or(0, size::of_caveat_use);
        self.cost += (stored / STORED_BYTES) as u64;
        self.charge_bytes(stored);
        frame.subjects.push(self.subject(subject, Attributes { caveat, expires_at }));
    }

    fn complete(&mut self, frame: Frame) -> ExpandTree {
        let plans = self.snapshot.plans;
        let node = &plans.plan.nodes[frame.node as usize];
        let kind = match node {
            PlanNode::Nil => ExpandKind::Leaf(Vec::new()),
            PlanNode::SelfObject(_) => {
                let resource = self.resource_ref(frame.member, frame.object);
                let subject = SubjectRef::object(resource.object_type, resource.object_id);
                self.cost += 1;
                ExpandKind::Leaf(vec![self.subject(subject, Attributes::default())])
            }
            PlanNode::Relation(_) => ExpandKind::Leaf(frame.subjects),
            PlanNode::Member(_) | PlanNode::Union(_) => ExpandKind::Union(frame.children),
            PlanNode::Intersection(_) => ExpandKind::Intersection(frame.children),
            PlanNode::Exclusion(..) => ExpandKind::Exclusion(frame.children),
            PlanNode::Arrow { kind: ArrowKind::Any, .. } => ExpandKind::Union(frame.children),
            PlanNode::Arrow { kind: ArrowKind::All, .. } => ExpandKind::Intersection(frame.children),
        };
        let tree = self.tree_of(frame.member, frame.object, kind);
        if frame.is_goal && is_wrapped(node) {
            self.cost += 1;
            return self.tree_of(frame.member, frame.object, ExpandKind::Union(vec![tree]));
        }
        tree
    }

    fn resource_ref(&self, member: MemberIndex, object: u32) -> ResourceRef {
        if object >= UNNAMED_RESOURCE {
            return self.resource.clone();
        }
        let plans = self.snapshot.plans;
        let object_type = plans.type_of(member) as usize;
        let id = self.snapshot.root.object_id(plans.type_ids[object_type], object);
        ResourceRef::new(plans.plan.types[object_type].name.as_str(), id)
    }

    fn tree_of(&mut self, member: MemberIndex, object: u32, kind: ExpandKind) -> ExpandTree {
        let member_name = self.snapshot.plans.plan.members[member as usize].name.clone();
        let resource = self.resource_ref(member, object);
        self.charge_bytes(size::of_resource(&resource) + member_name.len());
        ExpandTree { resource, member: member_name, kind }
    }

    fn subject(&mut self, subject: SubjectRef, attributes: Attributes) -> ExpandedSubject {
        self.charge_bytes(size::of_subject(&subject));
        ExpandedSubject { subject, attributes }
    }

    /// Too many bytes are as much as too many nodes: from then on the tree is over its budget.
    fn charge_bytes(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > EXPANDED_BYTES_MAX {
            self.cost = self.cost.max(self.cost_max + 1);
        }
    }
}

/// A permission is an operation even over one child, as SpiceDB's clients know it.
fn is_wrapped(rule: &PlanNode) -> bool {
    matches!(rule, PlanNode::Nil | PlanNode::SelfObject(_) | PlanNode::Arrow { .. })
}

impl Frame {
    fn new(member: MemberIndex, object: u32, node: NodeIndex, depth: usize, is_goal: bool) -> Frame {
        Frame {
            member,
            object,
            node,
            depth,
            is_goal,
            position: 0,
            edge_position: 0,
            children: Vec::new(),
            subjects: Vec::new(),
        }
    }
}
