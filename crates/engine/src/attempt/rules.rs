//! Which parts of a plan ask only whether the subject is reached, and along which edges?
//!
//! A node is *plain* if nothing but unions leads from it to edges, on its own object and on every object that its
//! edges lead to. Whether somebody is in it is then a question of reachability, which [`super::search`] answers from
//! either end. A plain node is flattened to one [`Rule`]: what each class of its object's row means to it.
//!
//! # Invariants
//! * A rule has every step through which its node can grant; a target is left out only if another target of the
//!   same step grants whatever it does, on the same object.
//! * The targets of a climbed rule are climbed, so that a search upwards that ended has met every climbed goal that
//!   holds.
//!
//! Cost: O(schema) to find what is plain; then O(rules × schema) time and rules × members bytes, once a schema; schemas with
//! too many of both have none.

use std::collections::{BTreeMap, BTreeSet};

use idhini_graph::{ClassId, Root, TypeId};
use idhini_schema::{
    ArrowKind, ArrowStep, ClassIndex, MemberIndex, NodeIndex, Plan, PlanClass, PlanNode, PlanSubject,
    TypeIndex,
};

/// Index into [`Rules::rules`].
pub(crate) type RuleIndex = u16;

/// More rules than this are not numbered: goals of such schemas are evaluated.
const RULES_MAX: usize = 1 << 14;
/// Rules times rules that are related to each other at most.
const RELATED_MAX: usize = 1 << 20;

/// What can be searched.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    /// By node: its rule, if it is plain and asked about.
    of_node: Vec<Option<RuleIndex>>,
    /// By subject type: the first climbs of its objects, and of its wildcard.
    pub(crate) first: Vec<Vec<Climb>>,
    pub(crate) first_of_wildcard: Vec<Vec<Climb>>,
    /// Climbed rules that hold of the subject's own object: by type for an object, by member for a userset.
    pub(crate) of_object: Vec<Vec<RuleIndex>>,
    pub(crate) of_userset: Vec<Vec<RuleIndex>>,
    /// Classes that lead from climbed goals to climbed goals.
    pub(crate) nesting: Vec<ClassIndex>,
    /// By member: which rules asking it can lead to.
    relevant: Vec<Box<[bool]>>,
}

/// A plain node, flattened.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Of its objects.
    pub(crate) object_type: TypeIndex,
    pub(crate) type_id: TypeId,
    /// Members of the same object that grant it; it is its own member.
    pub(crate) members: Vec<MemberIndex>,
    /// Whether the object itself is granted it.
    pub(crate) has_self: bool,
    /// By local class of the object's row.
    pub(crate) steps: Vec<Step>,
    /// Whether searches from the subject up meet it.
    pub(crate) is_climbed: bool,
    /// If it is climbed: where from it searches go on up.
    pub(crate) climbs: Vec<Climb>,
}

/// What the edges of one class mean to a rule.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) class: ClassIndex,
    /// Of the edges' subjects.
    pub(crate) subject_type: TypeIndex,
    pub(crate) subject: PlanSubject,
    /// Whether an edge to the subject itself grants.
    pub(crate) is_direct: bool,
    /// Rules that grant if they hold of the edge's subject.
    pub(crate) targets: Vec<RuleIndex>,
}

/// `to` holds of the resources of these edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Climb {
    pub(crate) class: ClassIndex,
    /// The class in the row of its subject.
    pub(crate) local: u32,
    pub(crate) to: RuleIndex,
}

impl Rules {
    /// Flattens what is plain of a plan whose numbers these are.
    pub(crate) fn compile(plan: &Plan, root: &Root, class_ids: &[ClassId], type_ids: &[TypeId]) -> Rules {
        Compiler::new(plan, root, class_ids, type_ids).compile().unwrap_or_default()
    }

    /// The rule of a node, if it is plain.
    #[inline]
    pub(crate) fn of_node(&self, node: NodeIndex) -> Option<RuleIndex> {
        self.of_node.get(node as usize).copied().flatten()
    }

    /// By rule: whether asking this member can lead there. Empty if there are no rules.
    #[inline]
    pub(crate) fn relevant_to(&self, member: MemberIndex) -> &[bool] {
        self.relevant.get(member as usize).map_or(&[], |relevant| relevant)
    }
}

impl Step {
    /// Of a class that the rule does not mind.
    const NONE: Step = Step {
        class: 0,
        subject_type: 0,
        subject: PlanSubject::Object,
        is_direct: false,
        targets: Vec::new(),
    };

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_direct && self.targets.is_empty()
    }
}

/// What a plain node comes to, before its targets are numbered as rules.
#[derive(Debug, Default)]
struct Flat {
    members: BTreeSet<MemberIndex>,
    has_self: bool,
    /// Relations' classes.
    direct: Vec<ClassIndex>,
    arrows: Vec<ArrowStep>,
}

struct Compiler<'a> {
    plan: &'a Plan,
    root: &'a Root,
    class_ids: &'a [ClassId],
    type_ids: &'a [TypeId],
    /// By member.
    is_plain: Vec<bool>,
    rules: Rules,
    /// By member: the rule of its node.
    of_member: Vec<Option<RuleIndex>>,
    /// By plain member: which members of the same object grant it, by member; empty for the others.
    granting: Vec<Box<[bool]>>,
}

impl<'a> Compiler<'a> {
    fn new(plan: &'a Plan, root: &'a Root, class_ids: &'a [ClassId], type_ids: &'a [TypeId]) -> Compiler<'a> {
        let members = plan.members.len();
        Compiler {
            plan,
            root,
            class_ids,
            type_ids,
            is_plain: vec![true; members],
            rules: Rules { of_node: vec![None; plan.nodes.len()], ..Rules::default() },
            of_member: vec![None; members],
            granting: Vec::new(),
        }
    }

    /// `None` if there are too many rules.
    fn compile(mut self) -> Option<Rules> {
        self.find_plain_members();
        let nodes = self.asked_nodes();
        if nodes.len() > RULES_MAX || nodes.len() * (nodes.len() + self.plan.members.len()) > RELATED_MAX {
            return None;
        }
        for (number, (node, _)) in (0..).zip(&nodes) {
            self.rules.of_node[*node as usize] = Some(number);
        }
        for (member, of_member) in self.plan.members.iter().zip(&mut self.of_member) {
            *of_member = self.rules.of_node[member.node as usize];
        }
        self.granting = self.plan.members.iter().map(|member| self.granting(member.node)).collect();
        for (node, object_type) in nodes {
            let rule = self.rule(node, object_type);
            self.rules.rules.push(rule);
        }
        self.choose_climbed();
        self.add_climbs();
        self.rules.relevant = self.relevant();
        Some(self.rules)
    }

    /// The greatest set of members that are plain if all of them are: each that is not takes those away that lead to it.
    fn find_plain_members(&mut self) {
        let mut led_from: Vec<Vec<MemberIndex>> = vec![Vec::new(); self.plan.members.len()];
        let mut others: Vec<MemberIndex> = Vec::new();
        for (member, plan_member) in (0..).zip(&self.plan.members) {
            let mut open = vec![plan_member.node];
            while let Some(node) = open.pop() {
                self.leads_to(node).into_iter().for_each(|to| led_from[to as usize].push(member));
                open.extend(self.plan.children(node));
            }
            if !self.is_plain(plan_member.node) {
                others.push(member);
            }
        }
        others.iter().for_each(|member| self.is_plain[*member as usize] = false);
        while let Some(member) = others.pop() {
            for &from in &led_from[member as usize] {
                if std::mem::replace(&mut self.is_plain[from as usize], false) {
                    others.push(from);
                }
            }
        }
    }

    /// The members that a node asks about, beside those of its children.
    fn leads_to(&self, node: NodeIndex) -> Vec<MemberIndex> {
        let of_userset = |class: &ClassIndex| match self.class(*class).subject {
            PlanSubject::Userset(target) => Some(target),
            PlanSubject::Object | PlanSubject::Wildcard => None,
        };
        match &self.plan.nodes[node as usize] {
            PlanNode::Member(member) => vec![*member],
            PlanNode::Relation(classes) => classes.iter().filter_map(of_userset).collect(),
            PlanNode::Arrow { steps, .. } => steps.iter().map(|step| step.target).collect(),
            _ => Vec::new(),
        }
    }

    /// Recursion is bounded by the parser's limit on nesting.
    fn is_plain(&self, node: NodeIndex) -> bool {
        let is_plain_member = |member: &MemberIndex| self.is_plain[*member as usize];
        match &self.plan.nodes[node as usize] {
            PlanNode::Nil | PlanNode::SelfObject(_) => true,
            PlanNode::Member(member) => is_plain_member(member),
            PlanNode::Relation(classes) => classes.iter().all(|class| match self.class(*class).subject {
                PlanSubject::Userset(target) => is_plain_member(&target),
                PlanSubject::Object | PlanSubject::Wildcard => true,
            }),
            PlanNode::Arrow { kind, steps, .. } => {
                *kind == ArrowKind::Any && steps.iter().all(|step| is_plain_member(&step.target))
            }
            PlanNode::Union(children) => children.iter().all(|child| self.is_plain(*child)),
            PlanNode::Intersection(_) | PlanNode::Exclusion(..) => false,
        }
    }

    /// Plain members' nodes, and the topmost plain nodes of the others; each with its objects' type.
    fn asked_nodes(&self) -> Vec<(NodeIndex, TypeIndex)> {
        let mut nodes = Vec::new();
        for member in &self.plan.members {
            let mut open = vec![member.node];
            while let Some(node) = open.pop() {
                match &self.plan.nodes[node as usize] {
                    _ if self.is_plain(node) => nodes.push((node, member.object_type)),
                    PlanNode::Union(children) | PlanNode::Intersection(children) => open.extend(children),
                    PlanNode::Exclusion(base, excluded) => open.extend([*base, *excluded]),
                    _ => {}
                }
            }
        }
        nodes
    }

    fn class(&self, class: ClassIndex) -> &'a PlanClass {
        &self.plan.classes[class as usize]
    }

    fn rule(&self, node: NodeIndex, object_type: TypeIndex) -> Rule {
        let flat = self.flatten(node);
        // By class: whether it is direct, and its targets.
        let mut of_class: BTreeMap<ClassIndex, (bool, BTreeSet<MemberIndex>)> = BTreeMap::new();
        for class in flat.direct {
            let (is_direct, targets) = of_class.entry(class).or_default();
            *is_direct = true;
            if let PlanSubject::Userset(target) = self.class(class).subject {
                targets.insert(target);
            }
        }
        for ArrowStep { class, target } in flat.arrows {
            of_class.entry(class).or_default().1.insert(target);
        }
        let mut steps: Vec<Step> = Vec::new();
        for (class, (is_direct, targets)) in of_class {
            let local = self.root.forward_local(self.class_ids[class as usize]) as usize;
            if steps.len() <= local {
                steps.resize(local + 1, Step::NONE);
            }
            let targets = self.without_implied(&targets).filter_map(|target| self.of_member[target as usize]);
            let &PlanClass { subject_type, subject, .. } = self.class(class);
            steps[local] = Step { class, subject_type, subject, is_direct, targets: targets.collect() };
        }
        Rule {
            object_type,
            type_id: self.type_ids[object_type as usize],
            members: flat.members.into_iter().collect(),
            has_self: flat.has_self,
            steps,
            is_climbed: false,
            climbs: Vec::new(),
        }
    }

    fn flatten(&self, node: NodeIndex) -> Flat {
        let mut flat = Flat::default();
        let mut open = vec![node];
        // Members whose rule this node is are granted it by being it.
        flat.members.extend((0..).zip(&self.plan.members).filter(|(_, m)| m.node == node).map(|(m, _)| m));
        while let Some(node) = open.pop() {
            match &self.plan.nodes[node as usize] {
                PlanNode::SelfObject(_) => flat.has_self = true,
                PlanNode::Member(member) => {
                    if flat.members.insert(*member) {
                        open.push(self.plan.members[*member as usize].node);
                    }
                }
                PlanNode::Relation(classes) => flat.direct.extend(classes),
                PlanNode::Arrow { steps, .. } => flat.arrows.extend(steps),
                PlanNode::Union(children) => open.extend(children),
                // A plain node has no others.
                PlanNode::Nil | PlanNode::Intersection(_) | PlanNode::Exclusion(..) => {}
            }
        }
        flat
    }

    /// Which members of its object grant a node, if it is plain.
    fn granting(&self, node: NodeIndex) -> Box<[bool]> {
        if self.rules.of_node[node as usize].is_none() {
            return Box::default();
        }
        let mut granting = vec![false; self.plan.members.len()];
        self.flatten(node).members.iter().for_each(|member| granting[*member as usize] = true);
        granting.into_boxed_slice()
    }

    /// Leaves out whoever is granted another of these by being granted itself, on the same object.
    fn without_implied(&self, targets: &BTreeSet<MemberIndex>) -> impl Iterator<Item = MemberIndex> {
        let grants = |of: MemberIndex, to: MemberIndex| {
            self.granting[to as usize].get(of as usize).copied().unwrap_or_default()
        };
        // Of two that grant each other, the first stays.
        let implies = |target: MemberIndex, other: MemberIndex| {
            other != target && grants(target, other) && (!grants(other, target) || other < target)
        };
        let is_kept = |target: &MemberIndex| !targets.iter().any(|other| implies(*target, *other));
        let kept: Vec<MemberIndex> = targets.iter().copied().filter(is_kept).collect();
        kept.into_iter()
    }

    /// What usersets name is met from below, and so is whatever that rests on.
    fn choose_climbed(&mut self) {
        let usersets = self.plan.classes.iter().filter_map(|class| match class.subject {
            PlanSubject::Userset(target) => self.of_member[target as usize],
            _ => None,
        });
        let mut open: Vec<RuleIndex> = usersets.collect();
        while let Some(rule) = open.pop() {
            let rule = &mut self.rules.rules[usize::from(rule)];
            if !std::mem::replace(&mut rule.is_climbed, true) {
                open.extend(rule.steps.iter().flat_map(|step| &step.targets));
            }
        }
    }

    fn add_climbs(&mut self) {
        let rules = &mut self.rules;
        rules.first = vec![Vec::new(); self.plan.types.len()];
        rules.first_of_wildcard = vec![Vec::new(); self.plan.types.len()];
        rules.of_object = vec![Vec::new(); self.plan.types.len()];
        rules.of_userset = vec![Vec::new(); self.plan.members.len()];
        let mut climbs: Vec<(RuleIndex, Climb)> = Vec::new();
        for (to, rule) in (0..).zip(&rules.rules).filter(|(_, rule)| rule.is_climbed) {
            if rule.has_self {
                rules.of_object[rule.object_type as usize].push(to);
            }
            rule.members.iter().for_each(|member| rules.of_userset[*member as usize].push(to));
            for step in rule.steps.iter().filter(|step| !step.is_empty()) {
                let local = self.root.reverse_local(self.class_ids[step.class as usize]);
                let climb = Climb { class: step.class, local, to };
                let class = &self.plan.classes[step.class as usize];
                match class.subject {
                    PlanSubject::Object if step.is_direct => {
                        rules.first[class.subject_type as usize].push(climb);
                    }
                    PlanSubject::Wildcard if step.is_direct => {
                        rules.first_of_wildcard[class.subject_type as usize].push(climb);
                    }
                    _ => {}
                }
                climbs.extend(step.targets.iter().map(|from| (*from, climb)));
            }
        }
        for (from, climb) in climbs {
            rules.rules[usize::from(from)].climbs.push(climb);
            if !rules.nesting.contains(&climb.class) {
                rules.nesting.push(climb.class);
            }
        }
    }

    /// By member and rule: whether asking the one can lead to the other. Found from each rule backwards, as there may be very
    /// many members where there are few rules.
    fn relevant(&self) -> Vec<Box<[bool]>> {
        let (members, rules) = (self.plan.members.len(), self.rules.rules.len());
        let mut relevant = vec![vec![false; rules].into_boxed_slice(); members];
        // By rule: which members and which rules ask it; by member: which members do.
        let mut asked_by: Vec<Vec<MemberIndex>> = vec![Vec::new(); rules];
        let mut led_from_rules: Vec<Vec<RuleIndex>> = vec![Vec::new(); rules];
        let mut led_from: Vec<Vec<MemberIndex>> = vec![Vec::new(); members];
        for (member, plan_member) in (0..).zip(&self.plan.members) {
            let mut open = vec![plan_member.node];
            while let Some(node) = open.pop() {
                if let Some(rule) = self.rules.of_node[node as usize] {
                    asked_by[usize::from(rule)].push(member);
                    continue;
                }
                self.leads_to(node).into_iter().for_each(|to| led_from[to as usize].push(member));
                open.extend(self.plan.children(node));
            }
        }
        for (number, rule) in (0..).zip(&self.rules.rules) {
            let targets = rule.steps.iter().flat_map(|step| &step.targets);
            targets.for_each(|to| led_from_rules[usize::from(*to)].push(number));
        }
        for (of, rule) in (0..).zip(0..rules) {
            let mut is_met = vec![false; rules];
            let (mut open, mut open_members) = (vec![of], Vec::<MemberIndex>::new());
            while let Some(of) = open.pop().map(|of: RuleIndex| usize::from(of)) {
                if !std::mem::replace(&mut is_met[of], true) {
                    open_members.extend(&asked_by[of]);
                    open.extend(&led_from_rules[of]);
                }
            }
            while let Some(member) = open_members.pop() {
                if !std::mem::replace(&mut relevant[member as usize][rule], true) {
                    open_members.extend(&led_from[member as usize]);
                }
            }
        }
        relevant
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use idhini_model::{Entry, EntryKind};

    use super::*;
    use crate::Plans;

    fn plans(schema: String) -> Plans {
        let mut root = Root::empty();
        let kind = EntryKind::Schema { new: schema, old: String::new() };
        root.apply(&Entry { revision: root.revision().next(), kind }).unwrap();
        Plans::compile(&root).unwrap()
    }

    fn rule<'p>(plans: &'p Plans, member: &str) -> Option<&'p Rule> {
        let document = plans.plan.type_index("document").unwrap();
        let member = plans.plan.member_index(document, member).unwrap();
        let rule = plans.rules.of_node(plans.node_of(member))?;
        Some(&plans.rules.rules[usize::from(rule)])
    }

    /// A few hundred permissions that grant each other, and as many arrows to all of them: the square of what there is is
    /// a moment, any more an hour.
    #[test]
    fn many_targets_that_imply_each_other_are_left_out_in_no_time() {
        const COUNT: usize = 300;
        let mut schema =
            "definition user {}\ndefinition document {\nrelation parent: document\nrelation one: user\n\
                          permission p000 = one\n"
                .to_owned();
        for at in 1..COUNT {
            writeln!(schema, "permission p{at:03} = p{:03} + one", at - 1).unwrap();
        }
        let arrows: Vec<String> = (0..COUNT).map(|at| format!("parent->p{at:03}")).collect();
        for at in 0..COUNT / 3 {
            writeln!(schema, "permission all{at:03} = {}", arrows.join(" + ")).unwrap();
        }
        schema.push('}');
        let plans = plans(schema);
        let targets = rule(&plans, "all007").unwrap().steps.iter().flat_map(|step| &step.targets);
        let last = rule(&plans, "p299").unwrap();
        let targets: Vec<*const Rule> =
            targets.map(|target| std::ptr::from_ref(&plans.rules.rules[usize::from(*target)])).collect();
        assert_eq!(targets, [std::ptr::from_ref(last)]);
        assert_eq!(last.members.len(), COUNT + 1);
    }

    /// What is at the end of a long chain of names makes all of them what it is.
    #[test]
    fn a_chain_is_as_plain_as_its_end_and_found_so_in_no_time() {
        const COUNT: usize = 20_000;
        let plans = |end: &str, count: usize| {
            let mut schema =
                "definition user {}\ndefinition document {\nrelation one: user\nrelation two: user\n"
                    .to_owned();
            for at in 0..count {
                writeln!(schema, "permission p{at:05} = p{:05}", at + 1).unwrap();
            }
            writeln!(schema, "permission p{count:05} = {end}\n}}").unwrap();
            plans(schema)
        };
        assert!(rule(&plans("one + two", 100), "p00000").is_some());
        let not_plain = plans("one & two", COUNT);
        assert!(rule(&not_plain, "p00000").is_none());
        assert!(rule(&not_plain, "one").is_some());
    }
}
