//! What has to be evaluated for each member? A schema flattened to numbered nodes, compiled once per schema.
//!
//! Names are resolved here, so that evaluation compares numbers only. Numbers are those of this schema: types in the
//! order of [`Schema::definitions`], classes in the order of [`Schema::classes`], members by type and name.
//!
//! # Invariants
//! * Every number in a plan is an index into the same plan.
//! * A union's cheap children stand first; the order of children never changes an answer.
//!
//! Cost: O(schema) to compile; members are found by binary search.

use std::collections::HashMap;

use crate::{ArrowKind, ClassKey, Expression, Schema, SubjectKind};

/// Index into [`Plan::types`].
pub type TypeIndex = u32;
/// Index into [`Plan::members`].
pub type MemberIndex = u32;
/// Index into [`Plan::classes`].
pub type ClassIndex = u32;
/// Index into [`Plan::nodes`].
pub type NodeIndex = u32;

/// A schema, flattened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Definitions, sorted by name.
    pub types: Vec<PlanType>,
    /// Relations and permissions, sorted by type and name.
    pub members: Vec<PlanMember>,
    /// Edge classes, sorted.
    pub classes: Vec<PlanClass>,
    /// Rules.
    pub nodes: Vec<PlanNode>,
}

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanType {
    /// The definition's name.
    pub name: String,
    /// Its members are `members_start..members_end` of [`Plan::members`].
    pub members_start: MemberIndex,
    /// One past its last member.
    pub members_end: MemberIndex,
}

/// A relation or permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanMember {
    /// Its definition.
    pub object_type: TypeIndex,
    /// Its name.
    pub name: String,
    /// Whether it is stored.
    pub is_relation: bool,
    /// Its rule.
    pub node: NodeIndex,
}

/// An edge class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanClass {
    /// The class by names.
    pub key: ClassKey,
    /// The resource's type.
    pub resource_type: TypeIndex,
    /// The relation.
    pub relation: MemberIndex,
    /// The subject's type.
    pub subject_type: TypeIndex,
    /// What kind of subject.
    pub subject: PlanSubject,
}

/// What kind of subject an edge class has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanSubject {
    /// One object.
    Object,
    /// Every object of the type.
    Wildcard,
    /// Everyone in this member of the subject.
    Userset(MemberIndex),
}

/// One step of an arrow: follow the class, ask the member there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrowStep {
    /// Followed from resource to subject.
    pub class: ClassIndex,
    /// Asked of the subject, whatever the edge's own subject relation.
    pub target: MemberIndex,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanNode {
    /// Nobody.
    Nil,
    /// The object itself, which is of this type.
    SelfObject(TypeIndex),
    /// The relation's edges: objects first, then wildcards, then usersets.
    Relation(Vec<ClassIndex>),
    /// A member of the same object.
    Member(MemberIndex),
    /// Any or all of the followed objects; types without the target are not among the steps.
    Arrow {
        /// The relation followed.
        relation: MemberIndex,
        /// The target's name.
        target: String,
        /// Any or all.
        kind: ArrowKind,
        /// One per followed class whose type has the target.
        steps: Vec<ArrowStep>,
    },
    /// Any of these.
    Union(Vec<NodeIndex>),
    /// All of these.
    Intersection(Vec<NodeIndex>),
    /// The first without the second.
    Exclusion(NodeIndex, NodeIndex),
}

impl Plan {
    /// Flattens a checked schema.
    #[must_use]
    pub fn compile(schema: &Schema) -> Plan {
        Compiler::new(schema).compile(schema)
    }

    /// The type of this name.
    #[must_use]
    pub fn type_index(&self, name: &str) -> Option<TypeIndex> {
        let found = self.types.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
        u32::try_from(found).ok()
    }

    /// The member of this type and name.
    #[must_use]
    pub fn member_index(&self, object_type: TypeIndex, name: &str) -> Option<MemberIndex> {
        let of_type = &self.types[object_type as usize];
        let range = &self.members[of_type.members_start as usize..of_type.members_end as usize];
        let found = range.binary_search_by(|m| m.name.as_str().cmp(name)).ok()?;
        u32::try_from(found).ok().map(|i| of_type.members_start + i)
    }

    /// The children of a node within its own rule.
    #[must_use]
    pub fn children(&self, node: NodeIndex) -> Vec<NodeIndex> {
        match &self.nodes[node as usize] {
            PlanNode::Union(children) | PlanNode::Intersection(children) => children.clone(),
            PlanNode::Exclusion(base, excluded) => vec![*base, *excluded],
            _ => Vec::new(),
        }
    }
}

struct Compiler {
    plan: Plan,
    classes_of: HashMap<MemberIndex, Vec<ClassIndex>>,
}

// INVARIANT: a checked schema names only what it defines, and has fewer than 2^32 of anything, because its text is at
// most 4 MiB; the look-ups below that skip what is not found therefore skip nothing.
impl Compiler {
    fn new(schema: &Schema) -> Compiler {
        let mut plan =
            Plan { types: Vec::new(), members: Vec::new(), classes: Vec::new(), nodes: Vec::new() };
        for (type_index, definition) in schema.definitions().iter().enumerate() {
            let members_start = index(plan.members.len());
            let mut names: Vec<(&str, bool)> =
                definition.relations.iter().map(|r| (r.name.as_str(), true)).collect();
            names.extend(definition.permissions.iter().map(|p| (p.name.as_str(), false)));
            names.sort_unstable();
            plan.members.extend(names.into_iter().map(|(name, is_relation)| PlanMember {
                object_type: index(type_index),
                name: name.to_owned(),
                is_relation,
                node: 0,
            }));
            let members_end = index(plan.members.len());
            plan.types.push(PlanType { name: definition.name.clone(), members_start, members_end });
        }
        Compiler { plan, classes_of: HashMap::new() }
    }

    fn compile(mut self, schema: &Schema) -> Plan {
        for key in schema.classes() {
            self.add_class(key);
        }
        for member in 0..index(self.plan.members.len()) {
            let node = self.add_rule(schema, member);
            self.plan.members[member as usize].node = node;
        }
        self.plan
    }

    fn add_class(&mut self, key: ClassKey) -> Option<()> {
        let resource_type = self.plan.type_index(&key.resource_type)?;
        let relation = self.plan.member_index(resource_type, &key.relation)?;
        let subject_type = self.plan.type_index(&key.subject_type)?;
        let subject = match &key.subject {
            SubjectKind::Object => PlanSubject::Object,
            SubjectKind::Wildcard => PlanSubject::Wildcard,
            SubjectKind::Userset(member) => {
                PlanSubject::Userset(self.plan.member_index(subject_type, member)?)
            }
        };
        let class = index(self.plan.classes.len());
        self.plan.classes.push(PlanClass { key, resource_type, relation, subject_type, subject });
        self.classes_of.entry(relation).or_default().push(class);
        Some(())
    }

    fn add_rule(&mut self, schema: &Schema, member: MemberIndex) -> NodeIndex {
        let PlanMember { object_type, name, .. } = &self.plan.members[member as usize];
        let object_type = *object_type;
        let definition = &schema.definitions()[object_type as usize];
        if let Some(permission) = definition.permission(name) {
            return self.add_expression(object_type, &permission.expression);
        }
        let mut classes = self.classes_of.get(&member).cloned().unwrap_or_default();
        classes.sort_by_key(|class| match self.plan.classes[*class as usize].subject {
            PlanSubject::Object => 0,
            PlanSubject::Wildcard => 1,
            PlanSubject::Userset(_) => 2,
        });
        self.push(PlanNode::Relation(classes))
    }

    /// Recursion is bounded by the parser's limit on nesting.
    fn add_expression(&mut self, object_type: TypeIndex, expression: &Expression) -> NodeIndex {
        let node = match expression {
            Expression::Nil => PlanNode::Nil,
            Expression::SelfObject => PlanNode::SelfObject(object_type),
            Expression::Member(name) => match self.plan.member_index(object_type, name) {
                Some(member) => PlanNode::Member(member),
                None => PlanNode::Nil,
            },
            Expression::Arrow { relation, kind, target } => self.arrow(object_type, relation, *kind, target),
            Expression::Union(children) => {
                let mut children: Vec<NodeIndex> =
                    children.iter().map(|c| self.add_expression(object_type, c)).collect();
                children.sort_by_key(|child| self.expense(*child));
                PlanNode::Union(children)
            }
            Expression::Intersection(children) => {
                let mut children: Vec<NodeIndex> =
                    children.iter().map(|c| self.add_expression(object_type, c)).collect();
                children.sort_by_key(|child| self.expense(*child));
                PlanNode::Intersection(children)
            }
            Expression::Exclusion(base, excluded) => {
                let base = self.add_expression(object_type, base);
                PlanNode::Exclusion(base, self.add_expression(object_type, excluded))
            }
        };
        self.push(node)
    }

    fn arrow(&self, object_type: TypeIndex, relation: &str, kind: ArrowKind, target: &str) -> PlanNode {
        let Some(relation) = self.plan.member_index(object_type, relation) else { return PlanNode::Nil };
        let classes = self.classes_of.get(&relation).map_or(&[][..], Vec::as_slice);
        let steps = classes.iter().filter_map(|&class| {
            let PlanClass { subject_type, .. } = self.plan.classes[class as usize];
            self.plan.member_index(subject_type, target).map(|target| ArrowStep { class, target })
        });
        PlanNode::Arrow { relation, target: target.to_owned(), kind, steps: steps.collect() }
    }

    /// A guess at what a node costs: what needs no edge first, what follows edges to other objects last.
    fn expense(&self, node: NodeIndex) -> u8 {
        match &self.plan.nodes[node as usize] {
            PlanNode::Nil | PlanNode::SelfObject(_) => 0,
            PlanNode::Member(member) if self.plan.members[*member as usize].is_relation => 1,
            PlanNode::Relation(_) => 1,
            PlanNode::Member(_) => 2,
            PlanNode::Union(_) | PlanNode::Intersection(_) | PlanNode::Exclusion(..) => 3,
            PlanNode::Arrow { .. } => 4,
        }
    }

    fn push(&mut self, node: PlanNode) -> NodeIndex {
        self.plan.nodes.push(node);
        index(self.plan.nodes.len() - 1)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a schema of 4 MiB has fewer than 2^32 of anything")]
fn index(position: usize) -> u32 {
    position as u32
}
