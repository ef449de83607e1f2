//! Check: does a subject hold a permission on a resource, in one snapshot?
//!
//! Pure: no clock, no I/O, no task; resumed by its caller with fuel. This is where to start reading the engine: a
//! check binds its question to the plan's numbers and attempts to answer it at once (`attempt.rs`). What is not settled by
//! that, it hands to the evaluator (`evaluate.rs`), and turns the goal's value into an answer (`inquire.rs`).
//!
//! # Invariants
//! * Every edge read is from the snapshot the check was opened on.
//! * A bulk check answers each item as a check of its own would; items share work, never values that depend on what
//!   they do not share (subject, context, instant).

use std::collections::{BTreeSet, HashMap};

use idhini_model::Timestamp;
use idhini_schema::MemberIndex;

use crate::attempt::{Attempt, Attempted, ClosureUse};
use crate::broken::{Variant, is_broken};
use crate::evaluate::{Evaluator, GoalKey};
use crate::explain::{Explaining, Explanation};
use crate::inquire::Inquiry;
use crate::question::BoundSubject;
use crate::{Answer, EngineError, Limits, Permissionship, Progress, Question, Snapshot};

/// One check, resumable.
pub struct Check<'a> {
    snapshot: Snapshot<'a>,
    question: Question<'a>,
    limits: Limits,
    goal: GoalKey,
    subject: BoundSubject,
    attempted: Attempted,
    evaluation: Option<Box<Evaluation<'a>>>,
}

/// What no attempt settles, and what is to be explained.
struct Evaluation<'a> {
    evaluator: Evaluator<'a>,
    inquiry: Inquiry,
    is_ended: bool,
    explaining: Option<Explaining>,
}

impl<'a> Check<'a> {
    /// Binds a question to a snapshot.
    ///
    /// # Errors
    /// [`EngineError::UnknownDefinition`], [`EngineError::UnknownMember`], [`EngineError::WildcardSubject`].
    pub fn open(
        snapshot: Snapshot<'a>,
        question: Question<'a>,
        limits: Limits,
    ) -> Result<Check<'a>, EngineError> {
        let (goal, subject) = snapshot.bind(question)?;
        let (attempted, evaluation) = (Attempted::default(), None);
        Ok(Check { snapshot, question, limits, goal, subject, attempted, evaluation })
    }

    /// Works on for about `fuel` edges. Asked again after its answer, it gives the same. A first portion of
    /// [`Limits::attempt_max`] or more is enough for most questions.
    ///
    /// # Errors
    /// [`EngineError::Budget`], [`EngineError::Caveat`], [`EngineError::Cycle`].
    pub fn advance(&mut self, fuel: u64) -> Result<Progress<Answer>, EngineError> {
        let mut left = fuel;
        if self.evaluation.is_none() && self.settled().is_none() && fuel >= self.limits.attempt_max {
            self.attempt();
            left = fuel.saturating_sub(self.attempted.edges);
        }
        if let Some(permissionship) = self.settled() {
            return Ok(Progress::Done(Answer { permissionship, missing: BTreeSet::new() }));
        }
        self.evaluation().advance(left)
    }

    /// Runs to the end without a pause.
    ///
    /// # Errors
    /// As [`Check::advance`].
    pub fn answer(&mut self) -> Result<Answer, EngineError> {
        loop {
            if let Progress::Done(answer) = self.advance(u64::MAX)? {
                return Ok(answer);
            }
        }
    }

    /// Until when the answer stays the same, missing parameters included, while relationships expire and nothing else
    /// happens; `None` if it does so for good. A bound: behind it the answer need not be another. Call it after the
    /// answer.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        // What an attempt told rests on nothing that expires.
        self.evaluation.as_ref().filter(|_| self.settled().is_none())?.evaluator.until()
    }

    /// What was spent so far, in edges.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.attempted.edges + self.evaluation.as_ref().map_or(0, |evaluation| evaluation.evaluator.cost())
    }

    /// How often it was remembered what contains a group.
    #[must_use]
    pub fn closures(&self) -> ClosureUse {
        self.attempted.closures
    }

    /// Why is the answer what it is? Works on that for about `fuel` edges. Call it after the answer; before, it tells
    /// what is known. After a refusal it tells what has no value; where the budget was spent on evaluating, what was
    /// being evaluated then.
    ///
    /// Explaining is charged to the question. When the budget ends, what was explained so far is the explanation, and
    /// it says that it is cut: an answer is never lost to its explanation.
    ///
    /// # Errors
    /// None at present.
    pub fn advance_explanation(&mut self, fuel: u64) -> Result<Progress<Explanation>, EngineError> {
        let (question, goal, settled) = (self.question, self.goal, self.settled());
        let evaluation = self.evaluation();
        let end = evaluation.evaluator.cost().saturating_add(fuel);
        // An attempt tells what the answer is, and only the evaluator how it is so.
        if settled.is_some() && !evaluation.is_ended && matches!(evaluation.advance(fuel), Ok(Progress::More))
        {
            return Ok(Progress::More);
        }
        let Evaluation { evaluator, inquiry, explaining: kept, .. } = evaluation;
        let mut explaining = kept.take().unwrap_or_else(|| Explaining::open(evaluator, goal));
        match explaining.advance(evaluator, question, end) {
            Ok(Progress::More) => {
                *kept = Some(explaining);
                Ok(Progress::More)
            }
            Err(EngineError::Budget { .. }) => {
                let answer = settled.or_else(|| inquiry.permissionship());
                Ok(Progress::Done(explaining.cut(evaluator, question, goal, answer)))
            }
            ended => ended,
        }
    }

    /// Explains to the end without a pause.
    ///
    /// # Errors
    /// As [`Check::advance_explanation`].
    pub fn explain(&mut self) -> Result<Explanation, EngineError> {
        loop {
            if let Progress::Done(explanation) = self.advance_explanation(u64::MAX)? {
                return Ok(explanation);
            }
        }
    }

    fn attempt(&mut self) {
        if let Some(mut attempt) = Attempt::open(self.snapshot, self.goal.member, self.subject) {
            self.attempted = attempt.ask(self.goal, self.limits.attempt_max.min(self.limits.cost_max));
        }
    }

    /// What an attempt told.
    pub(crate) fn settled(&self) -> Option<Permissionship> {
        self.attempted.permissionship
    }

    fn evaluation(&mut self) -> &mut Evaluation<'a> {
        self.evaluation.get_or_insert_with(|| {
            let Question { context, .. } = self.question;
            let mut evaluator = Evaluator::new(self.snapshot, context, self.subject, self.limits);
            let inquiry = Inquiry::open(&mut evaluator, self.goal);
            Box::new(Evaluation { evaluator, inquiry, is_ended: false, explaining: None })
        })
    }
}

impl Evaluation<'_> {
    fn advance(&mut self, fuel: u64) -> Result<Progress<Answer>, EngineError> {
        let progress = self.inquiry.advance(&mut self.evaluator, fuel);
        self.is_ended = !matches!(progress, Ok(Progress::More));
        progress
    }
}

/// Many checks on one snapshot, resumable; answered in the order asked, each by itself.
pub struct CheckBulk<'a> {
    snapshot: Snapshot<'a>,
    questions: Vec<Question<'a>>,
    limits: Limits,
    /// What is still to be asked, the next one last; those that share context and subject follow each other, and among
    /// them those that share a member.
    open: Vec<Item>,
    group: Option<Group<'a>>,
    /// The one being evaluated.
    running: Option<(usize, Inquiry)>,
    answers: Vec<Option<Result<Answer, EngineError>>>,
    cost: u64,
    cost_max: u64,
    closures: ClosureUse,
}

/// One question, by what it shares with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    context: usize,
    subject: BoundSubject,
    goal: GoalKey,
    at: usize,
}

/// Questions of one subject in one context.
struct Group<'a> {
    context: usize,
    subject: BoundSubject,
    /// About one member.
    attempt: Option<(MemberIndex, Attempt<'a>)>,
    evaluator: Option<Evaluator<'a>>,
}

impl<'a> CheckBulk<'a> {
    /// Orders the questions; mistakes in single questions become those items' errors.
    #[must_use]
    pub fn open(snapshot: Snapshot<'a>, questions: Vec<Question<'a>>, limits: Limits) -> CheckBulk<'a> {
        let mut contexts: HashMap<String, usize> = HashMap::new();
        let mut answers: Vec<Option<Result<Answer, EngineError>>> = vec![None; questions.len()];
        let mut open = Vec::with_capacity(questions.len());
        for (at, question) in questions.iter().enumerate() {
            let context = match question.context {
                context if context.is_empty() || is_broken(Variant::BulkSharesOneContext) => 0,
                // Contexts have no hash of their own, but one text each.
                context => {
                    let next = contexts.len() + 1;
                    *contexts.entry(context.to_string()).or_insert(next)
                }
            };
            match snapshot.bind(*question) {
                // Subjects that no relationship names are alike, each to its own resource and to all others.
                Ok((goal, subject)) => open.push(Item { context, subject, goal, at }),
                Err(error) => answers[at] = Some(Err(error)),
            }
        }
        open.sort_unstable_by(|one, other| other.cmp(one));
        let (group, running, cost, cost_max) = (None, None, 0, u64::MAX);
        let closures = ClosureUse::default();
        CheckBulk { snapshot, questions, limits, open, group, running, answers, cost, cost_max, closures }
    }

    /// Asks no further question once all together have spent so much, in edges; those are answered by
    /// [`EngineError::BulkBudget`].
    #[must_use]
    pub fn within(self, cost_max: u64) -> CheckBulk<'a> {
        CheckBulk { cost_max, ..self }
    }

    /// Works on for about `fuel` edges. Done once: asked again after that, it has no answers to give.
    pub fn advance(&mut self, fuel: u64) -> Progress<Vec<Result<Answer, EngineError>>> {
        let progress = self.work(fuel);
        if let Some(group) = &mut self.group {
            // Its lists are the thread's, which others use until this goes on.
            group.attempt = None;
        }
        progress
    }

    fn work(&mut self, mut fuel: u64) -> Progress<Vec<Result<Answer, EngineError>>> {
        let attempts = fuel >= self.limits.attempt_max;
        loop {
            let before = self.cost;
            if self.running.is_some() {
                self.evaluate(fuel);
                if self.running.is_some() {
                    return Progress::More;
                }
            } else if attempts && fuel < self.limits.attempt_max && !self.open.is_empty() {
                return Progress::More;
            } else if let Some(item) = self.open.pop() {
                self.ask(item, attempts);
            } else {
                if is_broken(Variant::BulkDeniesRepeats) {
                    self.deny_repeats();
                }
                return Progress::Done(std::mem::take(&mut self.answers).into_iter().flatten().collect());
            }
            fuel = fuel.saturating_sub(self.cost - before);
            if fuel == 0 {
                return Progress::More;
            }
        }
    }

    /// What was spent so far on all of them, in edges.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// How often it was remembered what contains a group, over all of them.
    #[must_use]
    pub fn closures(&self) -> ClosureUse {
        self.closures
    }

    /// What a batch must not do; see [`Variant::BulkDeniesRepeats`].
    fn deny_repeats(&mut self) {
        let is_repeat = |at: usize| {
            let asked = |q: &Question<'_>| (q.resource.clone(), q.permission.to_owned(), q.subject.clone());
            self.questions[..at].iter().any(|q| asked(q) == asked(&self.questions[at]))
        };
        for at in (0..self.questions.len()).filter(|at| is_repeat(*at)).collect::<Vec<_>>() {
            let missing = Default::default();
            self.answers[at] = Some(Ok(Answer { permissionship: Permissionship::No, missing }));
        }
    }

    /// Attempts one question, or hands it to its group's evaluator.
    fn ask(&mut self, item: Item, attempts: bool) {
        let Item { context, subject, goal, at } = item;
        if self.cost >= self.cost_max {
            self.answers[at] = Some(Err(EngineError::BulkBudget { cost_max: self.cost_max }));
            return;
        }
        let is_next = |group: &Group<'_>| (group.context, group.subject) != (context, subject);
        if self.group.as_ref().is_none_or(is_next) {
            // The lists of the last one's attempt are given back first.
            self.group = None;
        }
        let new = || Group { context, subject, attempt: None, evaluator: None };
        let group = self.group.get_or_insert_with(new);
        if group.attempt.as_ref().is_none_or(|(member, _)| *member != goal.member) {
            group.attempt = None;
            group.attempt =
                Attempt::open(self.snapshot, goal.member, subject).map(|open| (goal.member, open));
        }
        if attempts && let Some((_, attempt)) = &mut group.attempt {
            let attempted = attempt.ask(goal, self.limits.attempt_max.min(self.limits.cost_max));
            self.cost += attempted.edges;
            self.closures += attempted.closures;
            if let Some(permissionship) = attempted.permissionship {
                self.answers[at] = Some(Ok(Answer { permissionship, missing: BTreeSet::new() }));
                return;
            }
        }
        let (snapshot, limits, context) = (self.snapshot, self.limits, self.questions[at].context);
        let new = || Evaluator::new(snapshot, context, subject, limits);
        let evaluator = group.evaluator.get_or_insert_with(new);
        self.running = Some((at, Inquiry::open(evaluator, goal)));
    }

    /// Goes on with the question that is being evaluated.
    fn evaluate(&mut self, fuel: u64) {
        let Some((at, inquiry)) = &mut self.running else { return };
        let Some(evaluator) = self.group.as_mut().and_then(|group| group.evaluator.as_mut()) else { return };
        let before = evaluator.cost();
        let progress = inquiry.advance(evaluator, fuel);
        self.cost += evaluator.cost() - before;
        self.answers[*at] = match progress {
            Ok(Progress::More) => return,
            Ok(Progress::Done(answer)) => Some(Ok(answer)),
            Err(error) => Some(Err(error)),
        };
        self.running = None;
    }
}
