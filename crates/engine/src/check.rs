//! Check: does a subject hold a permission on a resource, in one snapshot?
//!
//! Pure: no clock, no I/O, no task; resumed by its caller with fuel. This is where to start reading the engine: a
//! check binds its question to the plan's numbers, hands one goal to the evaluator (`evaluate.rs`), and turns the
//! goal's value into an answer (`inquire.rs`).
//!
//! # Invariants
//! * Every edge read is from the snapshot the check was opened on.
//! * A bulk check answers each item as a check of its own would; items share work, never values that depend on what
//!   they do not share (subject, context, instant).

use std::collections::HashMap;

use idhini_model::Timestamp;

use crate::broken::{Variant, is_broken};
use crate::evaluate::{Evaluator, GoalKey};
use crate::explain::{Explaining, Explanation};
use crate::inquire::Inquiry;
use crate::{Answer, EngineError, Limits, Progress, Question, Snapshot};

/// One check, resumable.
pub struct Check<'a> {
    evaluator: Evaluator<'a>,
    goal: GoalKey,
    question: Question<'a>,
    inquiry: Inquiry,
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
        let (goal, subject) = bind(snapshot, question)?;
        let mut evaluator = Evaluator::new(snapshot, question.context, subject, limits);
        let inquiry = Inquiry::open(&mut evaluator, goal);
        Ok(Check { evaluator, goal, question, inquiry, explaining: None })
    }

    /// Works on for about `fuel` edges. Asked again after its answer, it gives the same.
    ///
    /// # Errors
    /// [`EngineError::Budget`], [`EngineError::Caveat`], [`EngineError::Cycle`].
    pub fn advance(&mut self, fuel: u64) -> Result<Progress<Answer>, EngineError> {
        self.inquiry.advance(&mut self.evaluator, fuel)
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
        self.evaluator.until()
    }

    /// What was spent so far, in edges.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.evaluator.cost()
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
        let end = self.evaluator.cost().saturating_add(fuel);
        let open = || Explaining::open(&self.evaluator, self.goal);
        let mut explaining = self.explaining.take().unwrap_or_else(open);
        match explaining.advance(&mut self.evaluator, self.question, end) {
            Ok(Progress::More) => {
                self.explaining = Some(explaining);
                Ok(Progress::More)
            }
            Err(EngineError::Budget { .. }) => {
                let answer = self.inquiry.permissionship();
                Ok(Progress::Done(explaining.cut(&self.evaluator, self.question, self.goal, answer)))
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
}

/// Many checks on one snapshot, resumable; answered in the order asked, each by itself.
pub struct CheckBulk<'a> {
    snapshot: Snapshot<'a>,
    questions: Vec<Question<'a>>,
    limits: Limits,
    /// Indexes of questions that share subject and context, last group first.
    groups: Vec<Vec<usize>>,
    running: Option<Group<'a>>,
    answers: Vec<Option<Result<Answer, EngineError>>>,
    cost: u64,
    cost_max: u64,
}

struct Group<'a> {
    evaluator: Evaluator<'a>,
    /// Questions still to be asked, and the one being answered.
    open: Vec<usize>,
    inquiry: Option<(usize, Inquiry)>,
}

impl<'a> CheckBulk<'a> {
    /// Groups the questions; mistakes in single questions become those items' errors.
    #[must_use]
    pub fn open(snapshot: Snapshot<'a>, questions: Vec<Question<'a>>, limits: Limits) -> CheckBulk<'a> {
        // Contexts have no hash of their own, but one text each.
        let mut by_subject: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, question) in questions.iter().enumerate() {
            let context = match question.context {
                _ if is_broken(Variant::BulkSharesOneContext) => String::new(),
                context if context.is_empty() => String::new(),
                context => context.to_string(),
            };
            by_subject.entry((question.subject, context)).or_default().push(at);
        }
        let mut groups: Vec<Vec<usize>> = by_subject.into_values().collect();
        groups.sort_unstable_by(|a, b| b.cmp(a));
        let answers = vec![None; questions.len()];
        let (running, cost, cost_max) = (None, 0, u64::MAX);
        CheckBulk { snapshot, questions, limits, groups, running, answers, cost, cost_max }
    }

    /// Asks no further question once all together have spent so much, in edges; those are answered by
    /// [`EngineError::BulkBudget`].
    #[must_use]
    pub fn within(self, cost_max: u64) -> CheckBulk<'a> {
        CheckBulk { cost_max, ..self }
    }

    /// Works on for about `fuel` edges. Done once: asked again after that, it has no answers to give.
    pub fn advance(&mut self, mut fuel: u64) -> Progress<Vec<Result<Answer, EngineError>>> {
        loop {
            let Some(group) = &mut self.running else {
                let Some(open) = self.groups.pop() else {
                    if is_broken(Variant::BulkDeniesRepeats) {
                        self.deny_repeats();
                    }
                    return Progress::Done(std::mem::take(&mut self.answers).into_iter().flatten().collect());
                };
                self.begin(open);
                continue;
            };
            let Some((at, inquiry)) = &mut group.inquiry else {
                match group.open.pop() {
                    None => self.running = None,
                    Some(at) if self.cost >= self.cost_max => {
                        self.answers[at] = Some(Err(EngineError::BulkBudget { cost_max: self.cost_max }));
                    }
                    Some(at) => match bind(self.snapshot, self.questions[at]) {
                        Ok((goal, _)) => {
                            group.inquiry = Some((at, Inquiry::open(&mut group.evaluator, goal)))
                        }
                        Err(error) => self.answers[at] = Some(Err(error)),
                    },
                }
                continue;
            };
            let before = group.evaluator.cost();
            let progress = inquiry.advance(&mut group.evaluator, fuel);
            let spent = group.evaluator.cost() - before;
            self.cost += spent;
            match progress {
                Ok(Progress::More) => return Progress::More,
                Ok(Progress::Done(answer)) => self.answers[*at] = Some(Ok(answer)),
                Err(error) => self.answers[*at] = Some(Err(error)),
            }
            group.inquiry = None;
            fuel = fuel.saturating_sub(spent);
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

    /// What a batch must not do; see [`Variant::BulkDeniesRepeats`].
    fn deny_repeats(&mut self) {
        let is_repeat = |at: usize| {
            let asked = |q: &Question<'_>| (q.resource.clone(), q.permission.to_owned(), q.subject.clone());
            self.questions[..at].iter().any(|q| asked(q) == asked(&self.questions[at]))
        };
        for at in (0..self.questions.len()).filter(|at| is_repeat(*at)).collect::<Vec<_>>() {
            let missing = Default::default();
            self.answers[at] = Some(Ok(Answer { permissionship: crate::Permissionship::No, missing }));
        }
    }

    fn begin(&mut self, open: Vec<usize>) {
        // A group shares its subject, so the first question that binds speaks for all.
        let bound = open.iter().find_map(|at| {
            let question = self.questions[*at];
            self.snapshot.bind_subject(question.subject).ok().map(|subject| (question.context, subject))
        });
        match bound {
            Some((context, subject)) => {
                let evaluator = Evaluator::new(self.snapshot, context, subject, self.limits);
                self.running = Some(Group { evaluator, open, inquiry: None });
            }
            None => {
                for at in open {
                    let error = bind(self.snapshot, self.questions[at]).err();
                    self.answers[at] = error.map(Err);
                }
            }
        }
    }
}

fn bind(
    snapshot: Snapshot<'_>,
    question: Question<'_>,
) -> Result<(GoalKey, crate::question::BoundSubject), EngineError> {
    let object_type = snapshot.bind_type(&question.resource.object_type)?;
    let member = snapshot.bind_member(object_type, question.permission)?;
    let subject = snapshot.bind_subject(question.subject)?;
    let object = snapshot.bind_resource(object_type, question.resource, question.subject);
    Ok((GoalKey { member, object }, subject))
}
