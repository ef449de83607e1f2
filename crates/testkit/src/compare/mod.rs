//! The engine against the reference, on one world: every call, every page size, every way of writing.
//!
//! # Invariants
//! * The first difference ends the comparison and says all that is needed to see it again.
//! * What is asked and how depends on the world's seed and on nothing else.

mod asking;
mod expansion;
mod explanation;
mod lasting;

use std::collections::HashSet;
use std::fmt;

use idhini_engine::Plans;
use idhini_graph::Root;
use idhini_model::{Entry, EntryKind, Relationship, SubjectRef};
use idhini_schema::Schema;

use crate::generate::{Ask, Question, World, WritePlan, completed};
use crate::reference::{Answer, Refusal, Subjects, Tables, Value, View};
use crate::rng::Rng;
use crate::shapes::{Shape, ShapeSet, Shapes};
use crate::tally::{Call, Tally, Turnout};
use asking::{Asking, Found, drawn};

/// Questions of a world that are asked again of roots written in other ways.
const ASKED_AGAIN_PERCENT: usize = 15;
/// Questions of a world whose answers are also explained or expanded.
const EXPLAINED_PERCENT: usize = 12;

const EXPLAINED_TURN: u64 = 100;
/// Ways of settling what is open, tried on each conditional wildcard.
const COMPLETIONS: usize = 4;
const COMPLETED_TURN: u64 = 200;
/// An id that no generated world uses.
const STRANGER: &str = "a_stranger";

/// The engine and the reference disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which comparison found it.
    pub what: &'static str,
    /// The question, if it is about one.
    pub question: Option<Question>,
    /// What the reference says.
    pub wanted: String,
    /// What the engine says.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:?}", self.what, self.question)?;
        writeln!(f, "  wanted {}", self.wanted)?;
        writeln!(f, "  got    {}", self.got)
    }
}

/// An answer of the reference to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To a check.
    Check(Result<Answer, Refusal>),
    /// To a lookup of resources.
    Resources(Result<Found, Refusal>),
    /// To a lookup of subjects.
    Subjects(Result<Subjects, Refusal>),
}

/// Asks everything; counts into `tally`.
///
/// # Errors
/// The first [`Difference`].
pub fn compare(world: &World, tally: &mut Tally) -> Result<(), Box<Difference>> {
    compare_text(&world.sketch.text(), world, tally)
}

/// The same with a schema text in place of the world's sketch.
///
/// # Errors
/// The first [`Difference`].
pub fn compare_text(text: &str, world: &World, tally: &mut Tally) -> Result<(), Box<Difference>> {
    let broken = |what: &'static str, got: String| {
        Box::new(Difference { what, question: None, wanted: "a valid world".into(), got })
    };
    let schema = Schema::parse(text).map_err(|e| broken("schema refused", e.to_string()))?;
    let tables = Tables::new(&schema, &world.relationships)
        .map_err(|e| broken("relationship of unknown names", format!("{e:?}")))?;
    let views: Vec<Vec<View<'_>>> = world
        .contexts
        .iter()
        .map(|context| world.instants.iter().map(|at| tables.view(context, *at)).collect())
        .collect();
    let mut rng = Rng::new(world.seed ^ 0xC0FF_EE00);
    let root = write(&schema, &world.write_plan(&mut rng))?;
    holds_exactly(&root, &world.relationships)?;
    let plans = compile(&root)?;
    let shapes: Vec<Shapes> = world.instants.iter().map(|at| Shapes::new(&tables, *at)).collect();
    let mut round = Round { world, tables: &tables, views: &views, shapes: &shapes, rng, tally };
    let wanted = round.ask_all(&root, &plans)?;
    round.ask_in_bulk(&root, &plans, &wanted)?;
    round.write_in_other_ways(&schema, &root, &plans, &wanted)?;
    tally.worlds += 1;
    Ok(())
}

/// Writes a plan to an empty root.
///
/// # Errors
/// A [`Difference`] if the graph refuses an entry.
pub fn write(schema: &Schema, plan: &WritePlan) -> Result<Root, Box<Difference>> {
    let mut root = Root::empty();
    let text = EntryKind::Schema { new: schema.canonical_text(), old: String::new() };
    apply(&mut root, text)?;
    for batch in &plan.batches {
        apply(&mut root, EntryKind::Relationships(batch.clone()))?;
    }
    Ok(root)
}

fn apply(root: &mut Root, kind: EntryKind) -> Result<Entry, Box<Difference>> {
    let entry = Entry { revision: root.revision().next(), kind };
    root.apply(&entry).map_err(|e| graph_differs("entry applied", format!("{e:?}")))?;
    Ok(entry)
}

fn graph_differs(wanted: &str, got: String) -> Box<Difference> {
    Box::new(Difference { what: "graph", question: None, wanted: wanted.into(), got })
}

fn compile(root: &Root) -> Result<Plans, Box<Difference>> {
    Plans::compile(root).ok_or_else(|| graph_differs("plans", "none".into()))
}

fn holds_exactly(root: &Root, relationships: &[Relationship]) -> Result<(), Box<Difference>> {
    if root.relationship_count() != relationships.len() as u64 {
        let got = format!("{} relationships", root.relationship_count());
        return Err(graph_differs(&format!("{} relationships", relationships.len()), got));
    }
    for relationship in relationships {
        let found = root.find(relationship);
        if found.as_ref() != Some(relationship) {
            return Err(graph_differs(&relationship.to_string(), format!("{found:?}")));
        }
    }
    Ok(())
}

struct Round<'r> {
    world: &'r World,
    tables: &'r Tables,
    views: &'r [Vec<View<'r>>],
    shapes: &'r [Shapes],
    rng: Rng,
    tally: &'r mut Tally,
}

impl Round<'_> {
    /// Each question by itself; answers what the reference said.
    fn ask_all(&mut self, root: &Root, plans: &Plans) -> Result<Vec<Wanted>, Box<Difference>> {
        let mut wanted = Vec::with_capacity(self.world.questions.len());
        let mut asked = Asked::default();
        for question in &self.world.questions {
            let want = wanted_answer(&self.views[question.context][question.instant], &question.ask);
            let asking = Asking::new(self.world, root, plans, question, 0);
            asking.holds(&want)?;
            if let Wanted::Check(want) = &want {
                lasting::holds(&asking, self.tables, want)?;
            }
            if let Wanted::Subjects(Ok(found)) = &want {
                self.exclusions_are_complete(&asking, found)?;
            }
            let (call, mut shapes) = self.shapes_of(question);
            asked.mark(question, &mut shapes);
            if spans_pages(&question.ask, &want) {
                shapes.insert(Shape::LookupAcrossPages);
            }
            self.tally.count(call, turnout(&want), shapes);
            self.tally.comparisons += 1;
            if drawn(question, EXPLAINED_TURN).chance(EXPLAINED_PERCENT) {
                self.explain(root, plans, question, &want)?;
            }
            wanted.push(want);
        }
        Ok(wanted)
    }

    /// A conditional `*` stands for everybody whom it does not exclude: whatever the open parameters turn out to
    /// be, none of them may have less than a stranger.
    fn exclusions_are_complete(&self, asking: &Asking<'_>, want: &Subjects) -> Result<(), Box<Difference>> {
        let Ask::Subjects { resource, permission, subject_type, .. } = &asking.question.ask else {
            return Ok(());
        };
        if want.wildcard.as_ref().is_none_or(|w| w.answer.value != Value::Conditional) {
            return Ok(());
        }
        let Ok(got) = asking.subjects(usize::MAX)? else { return Ok(()) };
        let excluded = got.wildcard.map(|w| w.excluded).unwrap_or_default();
        let mut rng = drawn(asking.question, COMPLETED_TURN);
        for _ in 0..COMPLETIONS {
            let context = completed(&mut rng, asking.context);
            let view = self.tables.view(&context, asking.snapshot.instant);
            let has = |id: &str| view.check(resource, permission, &SubjectRef::object(subject_type, id));
            let Ok(stranger) = has(STRANGER) else { continue };
            for id in
                want.required.keys().chain(want.optional.keys()).filter(|id| !excluded.contains_key(*id))
            {
                if let Ok(answer) = has(id)
                    && answer.value < stranger.value
                {
                    let wanted = format!("{id} excluded: has less with {context}");
                    return Err(asking.differs("exclusions", wanted, format!("{excluded:?}")));
                }
            }
        }
        Ok(())
    }

    fn explain(
        &mut self,
        root: &Root,
        plans: &Plans,
        question: &Question,
        want: &Wanted,
    ) -> Result<(), Box<Difference>> {
        let Wanted::Check(want) = want else { return Ok(()) };
        let (_, shapes) = self.shapes_of(question);
        let view = &self.views[question.context][question.instant];
        let asking = Asking::new(self.world, root, plans, question, 0);
        explanation::holds(&asking, view, want)?;
        self.tally.count(Call::Explain, turnout(&Wanted::Check(want.clone())), shapes);
        self.tally.comparisons += 1;
        if expansion::holds(&asking, view, want, shapes)? {
            self.tally.count(Call::Expand, turnout(&Wanted::Check(want.clone())), shapes);
            self.tally.comparisons += 1;
        }
        Ok(())
    }

    /// Random batches of the checks, some items twice.
    fn ask_in_bulk(&mut self, root: &Root, plans: &Plans, wanted: &[Wanted]) -> Result<(), Box<Difference>> {
        let is_check = |at: &usize| matches!(wanted[*at], Wanted::Check(_));
        for instant in 0..self.world.instants.len() {
            let asked_then = |at: &usize| self.world.questions[*at].instant == instant;
            let checks: Vec<usize> = (0..wanted.len()).filter(is_check).filter(asked_then).collect();
            if checks.is_empty() {
                continue;
            }
            let mut batch: Vec<usize> =
                (0..self.rng.between(1, 16)).map(|_| *self.rng.pick(&checks)).collect();
            if self.rng.chance(70) {
                batch.push(batch[0]);
            }
            let questions: Vec<&Question> = batch.iter().map(|at| &self.world.questions[*at]).collect();
            let want: Vec<&Wanted> = batch.iter().map(|at| &wanted[*at]).collect();
            asking::bulk_holds(self.world, root, plans, &questions, &want)?;
            for (position, at) in batch.iter().enumerate() {
                let (_, mut shapes) = self.shapes_of(&self.world.questions[*at]);
                if batch.iter().enumerate().any(|(other, b)| other != position && b == at) {
                    shapes.insert(Shape::DuplicateInBatch);
                }
                self.tally.count(Call::Bulk, turnout(&wanted[*at]), shapes);
                self.tally.comparisons += 1;
            }
        }
        Ok(())
    }

    /// Another order of writing; more written and undone; the old root while the new one changes.
    fn write_in_other_ways(
        &mut self,
        schema: &Schema,
        root: &Root,
        plans: &Plans,
        wanted: &[Wanted],
    ) -> Result<(), Box<Difference>> {
        let other = write(schema, &self.world.write_plan(&mut self.rng))?;
        holds_exactly(&other, &self.world.relationships)?;
        self.ask_some(&other, &compile(&other)?, wanted, 1)?;
        let mut changed = root.clone();
        let mut entries = Vec::new();
        for batch in self.world.disturbance(&mut self.rng).batches {
            entries.push(apply(&mut changed, EntryKind::Relationships(batch))?);
            self.attempts_agree(&changed, plans)?;
        }
        holds_exactly(root, &self.world.relationships)?;
        self.ask_some(root, plans, wanted, 2)?;
        for entry in entries.iter().rev() {
            changed.undo(entry).map_err(|e| graph_differs("entry undone", format!("{e:?}")))?;
            self.attempts_agree(&changed, plans)?;
        }
        if changed.revision() != root.revision() {
            return Err(graph_differs(&root.revision().to_string(), changed.revision().to_string()));
        }
        holds_exactly(&changed, &self.world.relationships)?;
        self.ask_some(&changed, plans, wanted, 3)
    }

    /// What attempts tell the evaluator tells as well, though they remember what stood under the same plans before.
    fn attempts_agree(&mut self, root: &Root, plans: &Plans) -> Result<(), Box<Difference>> {
        for question in &self.world.questions {
            Asking::new(self.world, root, plans, question, 4).attempt_agrees()?;
            self.tally.comparisons += 1;
        }
        Ok(())
    }

    fn ask_some(
        &mut self,
        root: &Root,
        plans: &Plans,
        wanted: &[Wanted],
        turn: u64,
    ) -> Result<(), Box<Difference>> {
        for (question, want) in self.world.questions.iter().zip(wanted) {
            if drawn(question, turn + 1000).chance(ASKED_AGAIN_PERCENT) {
                Asking::new(self.world, root, plans, question, turn).holds(want)?;
                self.tally.comparisons += 1;
            }
        }
        Ok(())
    }

    fn shapes_of(&self, question: &Question) -> (Call, ShapeSet) {
        let shapes = &self.shapes[question.instant];
        match &question.ask {
            Ask::Check { resource, permission, .. } => {
                (Call::Check, shapes.of(self.tables, resource, permission))
            }
            Ask::Resources { resource_type, permission, .. } => {
                (Call::Resources, shapes.of_type(self.tables, resource_type, permission))
            }
            Ask::Subjects { resource, permission, .. } => {
                (Call::Subjects, shapes.of(self.tables, resource, permission))
            }
        }
    }
}

/// What was asked before, so that the same but for one part is noticed.
#[derive(Default)]
struct Asked {
    whole: HashSet<String>,
    contexts: HashSet<String>,
    instants: HashSet<String>,
    relations: HashSet<String>,
}

impl Asked {
    fn mark(&mut self, question: &Question, shapes: &mut ShapeSet) {
        let Ask::Check { resource, permission, subject } = &question.ask else { return };
        let object = format!("{resource}#{permission}@{}:{}", subject.object_type, subject.object_id);
        let relation = subject.relation.as_deref().unwrap_or("");
        let (context, instant) = (question.context, question.instant);
        let is_new = self.whole.insert(format!("{object}#{relation} {context} {instant}"));
        let mut same = |seen: &mut HashSet<String>, key: String, shape: Shape| {
            if !seen.insert(key) && is_new {
                shapes.insert(shape);
            }
        };
        same(&mut self.contexts, format!("{object}#{relation} {instant}"), Shape::SameButContext);
        same(&mut self.instants, format!("{object}#{relation} {context}"), Shape::SameButInstant);
        same(&mut self.relations, format!("{object} {context} {instant}"), Shape::SameButSubjectRelation);
    }
}

/// What the reference says.
#[must_use]
pub fn wanted_answer(view: &View<'_>, ask: &Ask) -> Wanted {
    match ask {
        Ask::Check { resource, permission, subject } => {
            Wanted::Check(view.check(resource, permission, subject))
        }
        Ask::Resources { resource_type, permission, subject, .. } => {
            Wanted::Resources(view.lookup_resources(resource_type, permission, subject))
        }
        Ask::Subjects { resource, permission, subject_type, subject_relation, .. } => Wanted::Subjects(
            view.lookup_subjects(resource, permission, subject_type, subject_relation.as_deref()),
        ),
    }
}

/// Whether a lookup has more answers than one page takes.
pub(crate) fn spans_pages(ask: &Ask, wanted: &Wanted) -> bool {
    match (ask, wanted) {
        (Ask::Resources { page, .. }, Wanted::Resources(Ok(found))) => found.len() > *page,
        (Ask::Subjects { page, .. }, Wanted::Subjects(Ok(found))) => {
            found.required.len() + usize::from(found.wildcard.is_some()) > *page
        }
        _ => false,
    }
}

pub(crate) fn turnout(wanted: &Wanted) -> Turnout {
    let best = |found: Option<Value>| Turnout::Value(found.unwrap_or(Value::No));
    let result = match wanted {
        Wanted::Check(Ok(answer)) => Ok(best(Some(answer.value))),
        Wanted::Resources(Ok(found)) => Ok(best(found.values().map(|a| a.value).max())),
        Wanted::Subjects(Ok(found)) => {
            let wildcard = found.wildcard.iter().map(|w| w.answer.value);
            Ok(best(found.required.values().map(|a| a.value).chain(wildcard).max()))
        }
        Wanted::Check(Err(refusal)) | Wanted::Resources(Err(refusal)) | Wanted::Subjects(Err(refusal)) => {
            Err(refusal)
        }
    };
    result.unwrap_or_else(|refusal| Turnout::Refused(refusal.into()))
}
