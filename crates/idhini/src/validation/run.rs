//! Does what a validation file says hold? Asked of the engine itself, without a server.
//!
//! Expected relations are complete: whoever has the permission and is not among them is a failure too. Subjects of every
//! kind that a relationship names are looked for. Who has it by nothing but a wildcard need not be named. `<…>` are the
//! relations that name the subject in the expansion of the permission.
//!
//! Cost: that of the questions, each within the engine's own budget.

use std::collections::{BTreeMap, BTreeSet};

use idhini_engine::{
    Check, EngineError, Expand, ExpandKind, ExpandTree, FoundSubject, Limits, LookupSubjects, Permissionship,
    Plans, Progress, Question, Snapshot,
};
use idhini_graph::Root;
use idhini_model::{Change, Context, Entry, EntryKind, ResourceRef, SubjectRef, Timestamp, WILDCARD};

use super::{Assertion, ExpectedRelation, ExpectedSubject, ValidationFile};

/// Usersets followed to find through which relations a permission is had.
const EXPANDED_MAX: usize = 100_000;

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) assertions: usize,
    pub(crate) expectations: usize,
    /// Line and what is wrong, in the order of the lines.
    pub(crate) failures: Vec<(usize, String)>,
}

/// The engine, with what a file says in it.
struct World {
    root: Root,
    plans: Plans,
    instant: Timestamp,
    /// Types and relations of the subjects that relationships name.
    subject_kinds: BTreeSet<(String, Option<String>)>,
}

/// Runs a file as of `instant`.
pub(crate) fn run(file: &ValidationFile, instant: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let world = match World::of(file, instant) {
        Ok(world) => world,
        Err(message) => {
            outcome.failures.push((1, message));
            return outcome;
        }
    };
    for assertion in &file.assertions {
        outcome.assertions += 1;
        if let Some(failure) = world.judge(assertion) {
            outcome.failures.push((assertion.line, failure));
        }
    }
    for expected in &file.expected {
        outcome.expectations += expected.expectations.len();
        match world.judge_expected(expected) {
            Ok(failures) => outcome.failures.extend(failures),
            Err(error) => outcome.failures.push((expected.line, error.to_string())),
        }
    }
    outcome.failures.sort();
    outcome
}

impl World {
    fn of(file: &ValidationFile, instant: Timestamp) -> Result<World, String> {
        let mut root = Root::empty();
        let mut apply = |kind| {
            let entry = Entry { revision: root.revision().next(), kind };
            root.apply(&entry).map_err(|error| error.to_string())
        };
        apply(EntryKind::Schema { new: file.schema.canonical_text(), old: String::new() })?;
        let created = file.relationships.iter().map(|(_, r)| Change::Created(r.clone()));
        apply(EntryKind::Relationships(created.collect()))?;
        let plans = Plans::compile(&root).ok_or("the schema defines nothing")?;
        let subject_kinds = file.relationships.iter().map(|(_, relationship)| {
            (relationship.subject.object_type.clone(), relationship.subject.relation.clone())
        });
        Ok(World { root, plans, instant, subject_kinds: subject_kinds.collect() })
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { root: &self.root, plans: &self.plans, instant: self.instant }
    }

    fn judge(&self, assertion: &Assertion) -> Option<String> {
        let Assertion { resource, permission, subject, context, wanted, .. } = assertion;
        let asked = format!("{resource}#{permission}@{subject}");
        let question = Question { resource, permission, subject, context };
        let answer = Check::open(self.snapshot(), question, Limits::default()).and_then(|mut c| c.answer());
        match answer {
            Ok(answer) if answer.permissionship == *wanted => None,
            Ok(answer) => {
                let missing = match answer.missing.is_empty() {
                    true => String::new(),
                    false => format!(
                        ", missing context: {}",
                        answer.missing.into_iter().collect::<Vec<_>>().join(", ")
                    ),
                };
                let (wanted, got) = (word(*wanted), word(answer.permissionship));
                Some(format!("{asked}: expected {wanted}, got {got}{missing}"))
            }
            Err(error) => Some(format!("{asked}: expected {}, got an error: {error}", word(*wanted))),
        }
    }

    fn judge_expected(&self, of: &ExpectedRelation) -> Result<Vec<(usize, String)>, EngineError> {
        let name = format!("{}#{}", of.resource, of.permission);
        let context = Context::default();
        let found = self.found(of, &context)?;
        let through = self.through(&of.resource, &of.permission)?;
        let mut failures = Vec::new();
        for expectation in &of.expectations {
            let ExpectedSubject { subject, is_conditional } = &expectation.subject;
            let Some(answer) = found.get(subject) else {
                failures.push((expectation.line, format!("{name}: {subject} does not have it")));
                continue;
            };
            let is_found_conditional = answer.answer.permissionship == Permissionship::Conditional;
            if is_found_conditional != *is_conditional {
                let (wanted, got) = (mark(subject, *is_conditional), mark(subject, is_found_conditional));
                failures.push((expectation.line, format!("{name}: expected [{wanted}], got [{got}]")));
            }
            let excluded = excluded_of(answer, subject);
            if excluded != expectation.excluded {
                let (wanted, got) = (list(&expectation.excluded), list(&excluded));
                let text = format!("{name}: expected {subject} without {{{wanted}}}, got without {{{got}}}");
                failures.push((expectation.line, text));
            }
            let got = through.get(subject).cloned().unwrap_or_default();
            if !expectation.through.is_empty() && expectation.through != got {
                let text = format!(
                    "{name}: expected [{subject}] is {}, got {}",
                    relations(&expectation.through),
                    relations(&got)
                );
                failures.push((expectation.line, text));
            }
        }
        for (subject, answer) in &found {
            let is_expected = of.expectations.iter().any(|e| e.subject.subject == *subject);
            if !is_expected && !is_of_wildcard_only(subject, &found, &through) {
                let got = mark(subject, answer.answer.permissionship == Permissionship::Conditional);
                failures.push((of.line, format!("{name}: [{got}] has it, and is not expected")));
            }
        }
        Ok(failures)
    }

    /// Everybody who has a permission, of every kind that a relationship names.
    fn found<'a>(
        &'a self,
        of: &'a ExpectedRelation,
        context: &'a Context,
    ) -> Result<BTreeMap<SubjectRef, FoundSubject<'a>>, EngineError> {
        let mut found = BTreeMap::new();
        for (subject_type, relation) in &self.subject_kinds {
            let mut lookup = LookupSubjects::open(
                self.snapshot(),
                (&of.resource, &of.permission),
                (subject_type, relation.as_deref()),
                context,
                None,
                Limits::default(),
            )?;
            loop {
                match lookup.advance(u64::MAX)? {
                    Progress::More => {}
                    Progress::Done(None) => break,
                    Progress::Done(Some(answer)) => {
                        let subject = SubjectRef {
                            object_type: subject_type.clone(),
                            object_id: answer.object_id.to_owned(),
                            relation: relation.clone(),
                        };
                        found.insert(subject, answer);
                    }
                }
            }
        }
        // That an object's relation has itself goes without saying, unless a relationship says it.
        let through = self.through(&of.resource, &of.permission)?;
        found.retain(|subject, _| subject.relation.is_none() || through.contains_key(subject));
        Ok(found)
    }

    /// Per subject that the expansion of a permission names, the relations that name it.
    fn through(
        &self,
        resource: &ResourceRef,
        permission: &str,
    ) -> Result<BTreeMap<SubjectRef, BTreeSet<String>>, EngineError> {
        let mut found: BTreeMap<SubjectRef, BTreeSet<String>> = BTreeMap::new();
        let mut open = vec![(resource.clone(), permission.to_owned())];
        let mut seen: BTreeSet<(ResourceRef, String)> = open.iter().cloned().collect();
        while let Some((resource, member)) = open.pop() {
            let mut expand = Expand::open(self.snapshot(), &resource, &member, Limits::default())?;
            let tree = loop {
                if let Progress::Done(tree) = expand.advance(u64::MAX)? {
                    break tree;
                }
            };
            let mut named = Vec::new();
            gather(&tree, &mut named);
            for (relation, subject) in named {
                if let Some(member) = &subject.relation {
                    let of = (ResourceRef::new(&*subject.object_type, &*subject.object_id), member.clone());
                    if seen.len() < EXPANDED_MAX && seen.insert(of.clone()) {
                        open.push(of);
                    }
                }
                found.entry(subject).or_default().insert(relation);
            }
        }
        Ok(found)
    }
}

/// The subjects of the leaves that may grant, with the relation each stands in. A tree is at most `EXPAND_DEPTH_MAX` deep,
/// and recursion with it.
fn gather(tree: &ExpandTree, into: &mut Vec<(String, SubjectRef)>) {
    match &tree.kind {
        ExpandKind::Leaf(subjects) => into.extend(
            subjects.iter().map(|s| (format!("{}#{}", tree.resource, tree.member), s.subject.clone())),
        ),
        ExpandKind::Union(children) | ExpandKind::Intersection(children) => {
            children.iter().for_each(|child| gather(child, into));
        }
        ExpandKind::Exclusion(children) => {
            children.iter().take(1).for_each(|child| gather(child, into));
        }
    }
}

/// Whether nothing but a wildcard names a subject that has the permission.
fn is_of_wildcard_only(
    subject: &SubjectRef,
    found: &BTreeMap<SubjectRef, FoundSubject<'_>>,
    through: &BTreeMap<SubjectRef, BTreeSet<String>>,
) -> bool {
    let all = SubjectRef::object(&*subject.object_type, WILDCARD);
    subject.relation.is_none()
        && *subject != all
        && found.contains_key(&all)
        && !through.contains_key(subject)
}

fn excluded_of(answer: &FoundSubject<'_>, subject: &SubjectRef) -> BTreeSet<ExpectedSubject> {
    let excluded = answer.excluded.iter().map(|excluded| ExpectedSubject {
        subject: SubjectRef::object(&*subject.object_type, excluded.object_id),
        is_conditional: excluded.answer.permissionship == Permissionship::Conditional,
    });
    excluded.collect()
}

fn word(permissionship: Permissionship) -> &'static str {
    match permissionship {
        Permissionship::Has => "has",
        Permissionship::No => "no",
        Permissionship::Conditional => "conditional",
    }
}

fn mark(subject: &SubjectRef, is_conditional: bool) -> String {
    if is_conditional { format!("{subject}[...]") } else { subject.to_string() }
}

fn list(subjects: &BTreeSet<ExpectedSubject>) -> String {
    subjects.iter().map(|s| mark(&s.subject, s.is_conditional)).collect::<Vec<_>>().join(", ")
}

fn relations(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join("/"),
    }
}
