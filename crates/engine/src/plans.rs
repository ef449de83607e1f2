//! What does a schema's plan mean on a graph? The plan's classes and types bound to the graph's numbers, and the plan
//! read backwards for the search from a subject up.
//!
//! Compiled once per schema entry; every root since that entry and before the next can be asked with it.

use std::sync::Arc;

use idhini_graph::{ClassId, Root, TypeId};
use idhini_schema::{
    ArrowKind, ClassIndex, MemberIndex, NodeIndex, Plan, PlanNode, PlanSubject, Schema, TypeIndex,
};

use crate::attempt::Rules;

/// A schema's plan, bound to a graph's numbers.
#[derive(Debug)]
pub struct Plans {
    pub(crate) schema: Arc<Schema>,
    pub(crate) plan: Plan,
    pub(crate) class_ids: Vec<ClassId>,
    pub(crate) type_ids: Vec<TypeId>,
    /// Per member: whether it is a relation whose subjects are objects and wildcards only.
    pub(crate) is_leaf: Vec<bool>,
    /// Per member: who may gain when it does.
    pub(crate) dependents: Vec<Vec<Dependent>>,
    /// Permissions with `self` in a position where it can grant.
    pub(crate) self_members: Vec<SelfMember>,
    /// What needs no evaluator.
    pub(crate) rules: Rules,
    /// Tells these plans from all others, for what is derived from them.
    pub(crate) identity: Arc<()>,
}

/// `member` may hold where the member it is listed under holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dependent {
    pub(crate) member: MemberIndex,
    pub(crate) via: Via,
    /// Whether it surely holds there: nothing but unions in between.
    pub(crate) is_pure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    SameObject,
    /// On the resources of these edges.
    Class(ClassIndex),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SelfMember {
    pub(crate) member: MemberIndex,
    pub(crate) is_pure: bool,
}

impl Plans {
    /// Compiles the schema that stands at `root`; `None` before the first schema.
    #[must_use]
    pub fn compile(root: &Root) -> Option<Plans> {
        let schema = Arc::clone(root.schema()?);
        let plan = Plan::compile(&schema);
        // The entry that brought the schema numbered all its types and classes.
        let class_ids = plan.classes.iter().map(|c| root.class_id(&c.key)).collect::<Option<Vec<_>>>()?;
        let type_ids = plan.types.iter().map(|t| root.type_id(&t.name)).collect::<Option<Vec<_>>>()?;
        let rules = Rules::compile(&plan, root, &class_ids, &type_ids);
        let is_leaf = plan.members.iter().map(|m| is_leaf(&plan, m.node)).collect();
        let mut plans = Plans {
            schema,
            class_ids,
            type_ids,
            is_leaf,
            dependents: vec![Vec::new(); plan.members.len()],
            self_members: Vec::new(),
            rules,
            identity: Arc::default(),
            plan,
        };
        plans.read_backwards();
        Some(plans)
    }

    /// The schema these plans were compiled from.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    pub(crate) fn node_of(&self, member: MemberIndex) -> NodeIndex {
        self.plan.members[member as usize].node
    }

    pub(crate) fn type_of(&self, member: MemberIndex) -> TypeIndex {
        self.plan.members[member as usize].object_type
    }

    fn read_backwards(&mut self) {
        for (member, plan_member) in (0..).zip(self.plan.members.iter()) {
            // A rule's nodes with whether only unions lead to them; right sides of `-` cannot grant.
            let mut open = vec![(plan_member.node, true)];
            while let Some((node, is_pure)) = open.pop() {
                match &self.plan.nodes[node as usize] {
                    PlanNode::Nil => {}
                    PlanNode::SelfObject(_) => self.self_members.push(SelfMember { member, is_pure }),
                    PlanNode::Relation(classes) => {
                        for &class in classes {
                            if let PlanSubject::Userset(target) = self.plan.classes[class as usize].subject {
                                let via = Via::Class(class);
                                self.dependents[target as usize].push(Dependent { member, via, is_pure });
                            }
                        }
                    }
                    PlanNode::Member(target) => {
                        let via = Via::SameObject;
                        self.dependents[*target as usize].push(Dependent { member, via, is_pure });
                    }
                    PlanNode::Arrow { kind, steps, .. } => {
                        let is_pure = is_pure && *kind == ArrowKind::Any;
                        for step in steps {
                            let via = Via::Class(step.class);
                            self.dependents[step.target as usize].push(Dependent { member, via, is_pure });
                        }
                    }
                    PlanNode::Union(children) => open.extend(children.iter().map(|c| (*c, is_pure))),
                    PlanNode::Intersection(children) => open.extend(children.iter().map(|c| (*c, false))),
                    PlanNode::Exclusion(base, _) => open.push((*base, false)),
                }
            }
        }
    }
}

fn is_leaf(plan: &Plan, node: NodeIndex) -> bool {
    match &plan.nodes[node as usize] {
        PlanNode::Relation(classes) => {
            classes.iter().all(|c| !matches!(plan.classes[*c as usize].subject, PlanSubject::Userset(_)))
        }
        _ => false,
    }
}
