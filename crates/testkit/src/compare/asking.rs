//! Asks the engine in the reference's words.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use idhini_engine::{
    ATTEMPT_MAX, Check, CheckBulk, EARLY_EDGES, EARLY_MAX, EngineError, Limits, LookupResources,
    LookupSubjects, Permissionship, Plans, Position, Progress, Snapshot,
};
use idhini_graph::Root;
use idhini_model::{Context, WILDCARD};

use super::{Difference, Wanted};
use crate::generate::{Ask, Question, World};
use crate::reference::{Answer, Refusal, Subjects, Value, Wildcard};
use crate::rng::Rng;

/// Entries of a lookup by id.
pub type Found = BTreeMap<String, Answer>;

/// Portions of fuel that one question may take. With a fuel of 1 that is its cost in edges: a lookup in a world of long
/// chains verifies a hundred subjects, each over the whole chain.
const PORTIONS_MAX: usize = 20_000_000;

/// One question to one root.
pub(super) struct Asking<'a> {
    pub(super) snapshot: Snapshot<'a>,
    pub(super) question: &'a Question,
    pub(super) world: &'a World,
    pub(super) context: &'a Context,
    fuel: u64,
    limits: Limits,
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        world: &'a World,
        root: &'a Root,
        plans: &'a Plans,
        question: &'a Question,
        turn: u64,
    ) -> Asking<'a> {
        let snapshot = Snapshot { root, plans, instant: world.instants[question.instant] };
        let context = &world.contexts[question.context];
        let mut rng = drawn(question, turn);
        let fuel = *rng.pick(&[u64::MAX, u64::MAX, u64::MAX, 1, 5, 30]);
        // Attempts that get nowhere, some way, and as far as is usual.
        let attempt_max = *rng.pick(&[0, 5, 12, 40, ATTEMPT_MAX, ATTEMPT_MAX]);
        // Lookups that tell nothing early, some, and as much as is usual.
        let early_max = *rng.pick(&[0, 1, 2, 5, EARLY_MAX, EARLY_MAX]);
        let early_edges = *rng.pick(&[0, 1, 3, 10, EARLY_EDGES, EARLY_EDGES]);
        let limits = Limits { attempt_max, early_max, early_edges, ..Limits::default() };
        Asking { snapshot, question, world, context, fuel, limits }
    }

    pub(super) fn differs(&self, what: &'static str, wanted: String, got: String) -> Box<Difference> {
        Box::new(Difference { what, question: Some(self.question.clone()), wanted, got })
    }

    /// Asks and compares; lookups whole and by pages.
    pub(super) fn holds(&self, wanted: &Wanted) -> Result<(), Box<Difference>> {
        match (&self.question.ask, wanted) {
            (Ask::Check { .. }, Wanted::Check(want)) => {
                let got = self.check();
                if !agree(want, &got) {
                    return Err(self.differs("check", format!("{want:?}"), format!("{got:?}")));
                }
            }
            (Ask::Resources { page, .. }, Wanted::Resources(want)) => {
                for (what, page) in [("lookup of resources", usize::MAX), ("pages of resources", *page)] {
                    let got = self.resources(page)?;
                    if !agree_on_lookup(want, &got, |want, got| want == got) {
                        return Err(self.differs(what, format!("{want:?}"), format!("{got:?}")));
                    }
                }
            }
            (Ask::Subjects { page, .. }, Wanted::Subjects(want)) => {
                for (what, page) in [("lookup of subjects", usize::MAX), ("pages of subjects", *page)] {
                    let got = self.subjects(page)?;
                    if !agree_on_lookup(want, &got, same_subjects) {
                        return Err(self.differs(what, format!("{want:?}"), format!("{got:?}")));
                    }
                }
            }
            _ => return Err(self.differs("harness", format!("{wanted:?}"), "another kind".into())),
        }
        Ok(())
    }

    pub(super) fn open_check(&self) -> Result<Check<'a>, EngineError> {
        let Ask::Check { resource, permission, subject } = &self.question.ask else {
            return Err(EngineError::Budget { cost_max: 0 });
        };
        let question = idhini_engine::Question { resource, permission, subject, context: self.context };
        Check::open(self.snapshot, question, self.limits)
    }

    pub(super) fn check(&self) -> Result<Answer, Refused> {
        let mut check = self.open_check().map_err(refused)?;
        match self.in_portions(|fuel| check.advance(fuel)) {
            Some(answer) => answer.map(converted).map_err(refused),
            None => Err(Refused::Other("does not end".into())),
        }
    }

    /// Asks a check with an attempt and without.
    pub(super) fn attempt_agrees(&self) -> Result<(), Box<Difference>> {
        if !matches!(self.question.ask, Ask::Check { .. }) {
            return Ok(());
        }
        let answered = |attempt_max| {
            let limits = Limits { attempt_max, ..self.limits };
            Asking { fuel: u64::MAX, limits, ..*self }.check()
        };
        let (evaluated, attempted) = (answered(0), answered(ATTEMPT_MAX));
        match evaluated == attempted {
            true => Ok(()),
            false => Err(self.differs("attempt", format!("{evaluated:?}"), format!("{attempted:?}"))),
        }
    }

    /// Drives an evaluation to its end with this question's fuel; `None` if it does not end.
    pub(super) fn in_portions<T>(
        &self,
        mut advance: impl FnMut(u64) -> Result<Progress<T>, EngineError>,
    ) -> Option<Result<T, EngineError>> {
        (0..PORTIONS_MAX).find_map(|_| match advance(self.fuel) {
            Ok(Progress::Done(done)) => Some(Ok(done)),
            Ok(Progress::More) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn resources(&self, page: usize) -> Result<Result<Found, Refused>, Box<Difference>> {
        let Ask::Resources { resource_type, permission, subject, .. } = &self.question.ask else {
            return Ok(Err(Refused::Other("not a lookup of resources".into())));
        };
        let mut found = Found::new();
        let mut after: Option<Position> = None;
        // Two pages out of three go on with what the page before reached, the others search again; every other one in
        // portions of another size.
        let (mut pages, mut reached) = (0, None);
        loop {
            let lookup = LookupResources::open(
                self.snapshot,
                (resource_type, permission),
                subject,
                self.context,
                after,
                self.limits,
            );
            let mut lookup = match (lookup, reached.take()) {
                (Ok(lookup), Some(reached)) => lookup.with_reached(reached),
                (Ok(lookup), None) => lookup,
                (Err(error), _) => return Ok(Err(refused(error))),
            };
            let mut left = page;
            let fuel = if pages % 2 == 0 { self.fuel } else { u64::MAX };
            for _ in 0..PORTIONS_MAX {
                match lookup.advance(fuel) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Done(None)) => return Ok(Ok(found)),
                    Ok(Progress::Done(Some(next))) => {
                        after = Some(next.position);
                        if found.insert(next.object_id.to_owned(), converted(next.answer)).is_some() {
                            return Err(self.differs(
                                "resource answered twice",
                                "once".into(),
                                next.object_id.to_owned(),
                            ));
                        }
                        left -= 1;
                        if left == 0 {
                            break;
                        }
                    }
                    Err(error) => return Ok(Err(refused(error))),
                }
            }
            if left > 0 {
                return Ok(Err(Refused::Other("does not end".into())));
            }
            pages += 1;
            reached = lookup.reached().filter(|_| pages % 3 > 0).cloned();
        }
    }

    pub(super) fn subjects(&self, page: usize) -> Result<Result<Subjects, Refused>, Box<Difference>> {
        let Ask::Subjects { resource, permission, subject_type, subject_relation, .. } = &self.question.ask
        else {
            return Ok(Err(Refused::Other("not a lookup of subjects".into())));
        };
        let mut found = Subjects::default();
        let mut after: Option<Position> = None;
        let (mut pages, mut named) = (0, None);
        loop {
            let lookup = LookupSubjects::open(
                self.snapshot,
                (resource, permission),
                (subject_type, subject_relation.as_deref()),
                self.context,
                after,
                self.limits,
            );
            let mut lookup = match (lookup, named.take()) {
                (Ok(lookup), Some(named)) => lookup.with_named(named),
                (Ok(lookup), None) => lookup,
                (Err(error), _) => return Ok(Err(refused(error))),
            };
            let mut left = page;
            for _ in 0..PORTIONS_MAX {
                match lookup.advance(self.fuel) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Done(None)) => return Ok(Ok(found)),
                    Ok(Progress::Done(Some(next))) => {
                        after = Some(next.position);
                        let is_wildcard = next.object_id == WILDCARD;
                        let id = next.object_id.to_owned();
                        let excluded = next.excluded.into_iter();
                        let excluded: Vec<_> =
                            excluded.map(|e| (e.object_id.to_owned(), converted(e.answer))).collect();
                        let answer = converted(next.answer);
                        let count = excluded.len();
                        let excluded: Found = excluded.into_iter().collect();
                        let repeats = excluded.len() != count
                            || if is_wildcard {
                                found.wildcard.replace(Wildcard { answer, excluded }).is_some()
                            } else {
                                !excluded.is_empty() || found.required.insert(id.clone(), answer).is_some()
                            };
                        if repeats {
                            return Err(self.differs("subject answered twice", "once".into(), id));
                        }
                        left -= 1;
                        if left == 0 {
                            break;
                        }
                    }
                    Err(error) => return Ok(Err(refused(error))),
                }
            }
            if left > 0 {
                return Ok(Err(Refused::Other("does not end".into())));
            }
            pages += 1;
            named = lookup.named().filter(|_| pages % 3 > 0).cloned();
        }
    }
}

/// Draws from the question, so that it is asked in the same way when its world shrinks.
pub(super) fn drawn(question: &Question, turn: u64) -> Rng {
    let mut hasher = std::hash::DefaultHasher::new();
    (&question.ask, turn).hash(&mut hasher);
    Rng::new(hasher.finish())
}

/// Asks checks in one bulk call.
pub(super) fn bulk_holds(
    world: &World,
    root: &Root,
    plans: &Plans,
    questions: &[&Question],
    wanted: &[&Wanted],
) -> Result<(), Box<Difference>> {
    let Some(first) = questions.first() else { return Ok(()) };
    let asking = Asking::new(world, root, plans, first, 0);
    let asked = questions.iter().filter_map(|question| match &question.ask {
        Ask::Check { resource, permission, subject } => Some(idhini_engine::Question {
            resource,
            permission,
            subject,
            context: &world.contexts[question.context],
        }),
        _ => None,
    });
    let mut bulk = CheckBulk::open(asking.snapshot, asked.collect(), asking.limits);
    let answers = asking.in_portions(|fuel| Ok(bulk.advance(fuel)));
    let answers = answers.and_then(Result::ok).unwrap_or_default();
    if answers.len() != questions.len() {
        let count = format!("{} answers", questions.len());
        return Err(asking.differs("bulk check", count, format!("{} answers", answers.len())));
    }
    for ((answer, want), question) in answers.into_iter().zip(wanted).zip(questions) {
        let got = answer.map(converted).map_err(refused);
        if let Wanted::Check(want) = want
            && !agree(want, &got)
        {
            let asking = Asking { question, ..asking };
            return Err(asking.differs("bulk check", format!("{want:?}"), format!("{got:?}")));
        }
    }
    Ok(())
}

/// Why the engine gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    Reason(Refusal),
    Other(String),
}

fn refused(error: EngineError) -> Refused {
    Refused::Reason(match error {
        EngineError::UnknownDefinition { definition } => Refusal::UnknownDefinition(definition),
        EngineError::UnknownMember { definition, member } => Refusal::UnknownMember { definition, member },
        EngineError::WildcardSubject => Refusal::WildcardSubject,
        EngineError::Caveat(_) => Refusal::CaveatFailed,
        EngineError::Cycle { .. } => Refusal::Cycle,
        other => return Refused::Other(other.to_string()),
    })
}

pub(super) fn value(permissionship: Permissionship) -> Value {
    match permissionship {
        Permissionship::No => Value::No,
        Permissionship::Conditional => Value::Conditional,
        Permissionship::Has => Value::Has,
    }
}

fn converted(answer: idhini_engine::Answer) -> Answer {
    Answer { value: value(answer.permissionship), missing: answer.missing }
}

fn agree<T: PartialEq>(want: &Result<T, Refusal>, got: &Result<T, Refused>) -> bool {
    match (want, got) {
        (Ok(want), Ok(got)) => want == got,
        (Err(Refusal::Undefined), Err(Refused::Reason(Refusal::CaveatFailed | Refusal::Cycle))) => true,
        (Err(want), Err(Refused::Reason(got))) => want == got,
        _ => false,
    }
}

/// Which of several undefined candidates a lookup meets first is its own affair.
fn agree_on_lookup<T>(
    want: &Result<T, Refusal>,
    got: &Result<T, Refused>,
    same: impl Fn(&T, &T) -> bool,
) -> bool {
    let undefined = |r: &Refusal| matches!(r, Refusal::CaveatFailed | Refusal::Cycle | Refusal::Undefined);
    match (want, got) {
        (Ok(want), Ok(got)) => same(want, got),
        (Err(want), Err(Refused::Reason(got))) => want == got || (undefined(want) && undefined(got)),
        _ => false,
    }
}

/// The same wildcard, without whoever has less. Who is as conditional as it may be left out as well, since what the
/// values do not show, one's own condition may take away.
fn same_wildcard(want: &Subjects, got: &Subjects) -> bool {
    let (Some(wildcard), Some(other)) = (&want.wildcard, &got.wildcard) else {
        return want.wildcard.is_none() && got.wildcard.is_none();
    };
    let may_lack = |id: &String| want.optional.get(id).filter(|a| a.value == Value::Conditional);
    wildcard.answer == other.answer
        && wildcard.excluded.keys().all(|id| other.excluded.contains_key(id))
        && other
            .excluded
            .iter()
            .all(|(id, answer)| wildcard.excluded.get(id).or_else(|| may_lack(id)) == Some(answer))
}

/// All required entries, any of the optional ones, and the same wildcard.
fn same_subjects(want: &Subjects, got: &Subjects) -> bool {
    let allowed = |id: &String| want.required.get(id).or_else(|| want.optional.get(id));
    same_wildcard(want, got)
        && want.required.keys().all(|id| got.required.contains_key(id))
        && got.required.iter().all(|(id, answer)| allowed(id) == Some(answer))
}
