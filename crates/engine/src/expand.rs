//! Expand: what does a permission consist of here? The rule with the relationships that stand in it, as a tree.
//!
//! Usersets in relations stay references; permissions and arrows are followed. A goal that is already being expanded
//! further up, and whatever lies deeper than [`EXPAND_DEPTH_MAX`], stays a reference too (a leaf that holds the
//! userset), so that the tree is finite on every graph and clients with protobuf's usual limit of 100 nested messages
//! can read it.

use idhini_model::{Attributes, Relationship, ResourceRef, SubjectRef};
use idhini_schema::{ArrowKind, ClassIndex, MemberIndex, NodeIndex, PlanNode};

use crate::conditions::Conditions;
use crate::question::{UNNAMED_RESOURCE, UNNAMED_SUBJECT};
use crate::{EngineError, Limits, Snapshot};

/// The deepest tree; each level nests two messages.
pub const EXPAND_DEPTH_MAX: usize = 40;

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

/// Expands a permission or relation of a resource.
///
/// # Errors
/// [`EngineError::UnknownDefinition`], [`EngineError::UnknownMember`], [`EngineError::Budget`].
pub fn expand(
    snapshot: Snapshot<'_>,
    resource: &ResourceRef,
    permission: &str,
    limits: Limits,
) -> Result<ExpandTree, EngineError> {
    let object_type = snapshot.bind_type(&resource.object_type)?;
    let member = snapshot.bind_member(object_type, permission)?;
    let object = snapshot.object(object_type, &resource.object_id).unwrap_or(UNNAMED_SUBJECT);
    let context = idhini_model::Context::default();
    let conditions = Conditions::new(snapshot, &context);
    let mut expander = Expander { snapshot, conditions, resource, path: Vec::new(), cost: 0, limits };
    expander.goal(member, object, 1)
}

struct Expander<'a> {
    snapshot: Snapshot<'a>,
    conditions: Conditions<'a>,
    resource: &'a ResourceRef,
    /// Goals being expanded.
    path: Vec<(MemberIndex, u32)>,
    cost: u64,
    limits: Limits,
}

// Recursion in here is bounded by EXPAND_DEPTH_MAX and the parser's limit on the schema's nesting.
impl Expander<'_> {
    fn goal(&mut self, member: MemberIndex, object: u32, depth: usize) -> Result<ExpandTree, EngineError> {
        let plans = self.snapshot.plans;
        if depth >= EXPAND_DEPTH_MAX || self.path.contains(&(member, object)) {
            let resource = self.resource_ref(member, object);
            let relation = plans.plan.members[member as usize].name.clone();
            let subject = SubjectRef::userset(&resource.object_type, &resource.object_id, relation);
            let leaf = vec![ExpandedSubject { subject, attributes: Attributes::default() }];
            return Ok(self.tree(member, object, ExpandKind::Leaf(leaf)));
        }
        self.path.push((member, object));
        let node = plans.node_of(member);
        let mut tree = self.node(node, member, object, depth)?;
        // A permission is an operation even over one child, as SpiceDB's clients know it.
        if matches!(
            plans.plan.nodes[node as usize],
            PlanNode::Nil | PlanNode::SelfObject(_) | PlanNode::Arrow { .. }
        ) {
            tree = self.tree(member, object, ExpandKind::Union(vec![tree]));
        }
        self.path.pop();
        Ok(tree)
    }

    fn node(
        &mut self,
        node: NodeIndex,
        member: MemberIndex,
        object: u32,
        depth: usize,
    ) -> Result<ExpandTree, EngineError> {
        self.charge(1)?;
        let plans = self.snapshot.plans;
        let kind = match &plans.plan.nodes[node as usize] {
            PlanNode::Nil => ExpandKind::Leaf(Vec::new()),
            PlanNode::SelfObject(_) => {
                let resource = self.resource_ref(member, object);
                let subject = SubjectRef::object(resource.object_type, resource.object_id);
                ExpandKind::Leaf(vec![ExpandedSubject { subject, attributes: Attributes::default() }])
            }
            PlanNode::Relation(classes) => ExpandKind::Leaf(self.subjects(classes, object)?),
            PlanNode::Member(target) => ExpandKind::Union(vec![self.goal(*target, object, depth + 1)?]),
            PlanNode::Union(children) => ExpandKind::Union(self.children(children, member, object, depth)?),
            PlanNode::Intersection(children) => {
                ExpandKind::Intersection(self.children(children, member, object, depth)?)
            }
            PlanNode::Exclusion(base, excluded) => {
                ExpandKind::Exclusion(self.children(&[*base, *excluded], member, object, depth)?)
            }
            PlanNode::Arrow { kind, steps, .. } => {
                let mut children = Vec::new();
                for step in steps {
                    for (_, subject) in self.live(step.class, object)? {
                        children.push(self.goal(step.target, subject, depth + 1)?);
                    }
                }
                match kind {
                    ArrowKind::Any => ExpandKind::Union(children),
                    ArrowKind::All => ExpandKind::Intersection(children),
                }
            }
        };
        Ok(self.tree(member, object, kind))
    }

    fn children(
        &mut self,
        children: &[NodeIndex],
        member: MemberIndex,
        object: u32,
        depth: usize,
    ) -> Result<Vec<ExpandTree>, EngineError> {
        let mut trees = Vec::with_capacity(children.len());
        for &child in children {
            trees.push(match &self.snapshot.plans.plan.nodes[child as usize] {
                PlanNode::Member(target) => self.goal(*target, object, depth + 1)?,
                _ => self.node(child, member, object, depth + 1)?,
            });
        }
        Ok(trees)
    }

    fn subjects(&mut self, classes: &[ClassIndex], object: u32) -> Result<Vec<ExpandedSubject>, EngineError> {
        let mut subjects = Vec::new();
        for &class in classes {
            subjects.extend(self.live(class, object)?.into_iter().map(|(relationship, _)| ExpandedSubject {
                attributes: relationship.attributes(),
                subject: relationship.subject,
            }));
        }
        Ok(subjects)
    }

    /// The relationships of a class that have not expired, with their subjects' numbers.
    fn live(&mut self, class: ClassIndex, object: u32) -> Result<Vec<(Relationship, u32)>, EngineError> {
        if object >= UNNAMED_RESOURCE {
            return Ok(Vec::new());
        }
        let (root, class_id) = (self.snapshot.root, self.snapshot.plans.class_ids[class as usize]);
        let mut found = Vec::new();
        for subject in root.subjects(class_id, object).iter() {
            self.charge(1)?;
            if self.conditions.live(class, object, subject).is_some() {
                found.extend(root.relationship(class_id, object, subject).map(|r| (r, subject)));
            }
        }
        Ok(found)
    }

    fn charge(&mut self, edges: u64) -> Result<(), EngineError> {
        self.cost += edges;
        if self.cost > self.limits.cost_max {
            return Err(EngineError::Budget { cost_max: self.limits.cost_max });
        }
        Ok(())
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

    fn tree(&self, member: MemberIndex, object: u32, kind: ExpandKind) -> ExpandTree {
        let name = self.snapshot.plans.plan.members[member as usize].name.clone();
        ExpandTree { resource: self.resource_ref(member, object), member: name, kind }
    }
}
