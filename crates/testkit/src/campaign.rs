//! Many worlds in many threads, until enough questions are asked.
//!
//! A difference or a panic of the engine is shrunk and kept as a golden file's text; the campaign goes on until
//! a handful of them are found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::compare::{Difference, compare};
use crate::generate::{Options, World, world};
use crate::golden;
use crate::shrink::shrink;
use crate::tally::Tally;

/// After so many failures there is enough to look at.
const FAILURES_MAX: usize = 8;

/// How much to ask.
#[derive(Debug, Clone, Copy)]
pub struct Campaign {
    /// Stop after at least so many questions.
    pub questions: u64,
    /// The first world's seed; the others follow.
    pub seed: u64,
    /// Threads.
    pub threads: usize,
}

/// A world on which engine and reference differ.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The world's seed.
    pub seed: u64,
    /// What differed, in the shrunk world.
    pub difference: Difference,
    /// The shrunk world as a golden file.
    pub golden: String,
}

/// What a campaign found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was asked.
    pub tally: Tally,
    /// Where the engine was wrong.
    pub failures: Vec<Failure>,
    /// The last seed used.
    pub seed_last: u64,
}

/// Which kind of world a seed makes in a campaign.
#[must_use]
pub fn options_of(seed: u64) -> Options {
    Options { acyclic: seed.is_multiple_of(5), spicedb: false }
}

/// Runs; calls `progress` with the tally so far from time to time.
pub fn run(campaign: &Campaign, progress: &(dyn Fn(&Tally) + Sync)) -> Outcome {
    let next = AtomicU64::new(campaign.seed);
    let outcome = Mutex::new(Outcome::default());
    thread::scope(|scope| {
        for _ in 0..campaign.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let mut tally = Tally::default();
                    let world = world(seed, &options_of(seed));
                    let failure = difference(&world, &mut tally).map(|d| shrunk(world, d));
                    // Counts stay whole even if another thread has panicked.
                    let mut outcome = outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let before = outcome.tally.questions / PROGRESS_QUESTIONS;
                    outcome.tally.add(&tally);
                    outcome.failures.extend(failure);
                    outcome.seed_last = outcome.seed_last.max(seed);
                    if outcome.tally.questions / PROGRESS_QUESTIONS > before {
                        progress(&outcome.tally);
                    }
                    if outcome.tally.questions >= campaign.questions || outcome.failures.len() >= FAILURES_MAX
                    {
                        return;
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Progress is told each time so many questions are answered.
const PROGRESS_QUESTIONS: u64 = 250_000;

/// What differs in a world, if anything does; a panic is a difference too.
pub fn difference(world: &World, tally: &mut Tally) -> Option<Box<Difference>> {
    match catch_unwind(AssertUnwindSafe(|| compare(world, tally))) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let got = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
            Some(Box::new(Difference {
                what: "panic",
                question: None,
                wanted: "no panic".into(),
                got: got.unwrap_or_default(),
            }))
        }
    }
}

fn shrunk(world: World, found: Box<Difference>) -> Failure {
    let seed = world.seed;
    let mut world = world;
    if let Some(question) = &found.question {
        let mut alone = world.clone();
        alone.questions = vec![question.clone()];
        if difference(&alone, &mut Tally::default()).is_some_and(|d| d.what == found.what) {
            world = alone;
        }
    }
    let same = |d: &Difference| d.what == found.what;
    let world = shrink(world, &mut |w| difference(w, &mut Tally::default()).is_some_and(|d| same(&d)));
    let difference = difference(&world, &mut Tally::default()).unwrap_or(found);
    let golden = golden::of_world(&format!("{} (seed {seed})", difference.what), &world);
    Failure { seed, difference: *difference, golden }
}
