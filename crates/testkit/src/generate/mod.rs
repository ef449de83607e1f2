//! Worlds: a schema, relationships, contexts, instants and questions, all from one seed.
//!
//! # Invariants
//! * The same seed and options make the same world, on every machine.
//! * Every world is valid: its schema is accepted and its relationships are allowed by it.

mod caveats;
mod data;
mod questions;
mod schemas;
mod writes;

use idhini_model::{Context, Relationship, ResourceRef, SubjectRef, Timestamp};

use crate::rng::Rng;
use crate::sketch::Sketch;
pub use writes::{Update, WritePlan};

/// The moment around which expirations lie, in seconds since 1970.
pub const INSTANT_SECONDS: i64 = 1_900_000_000;

/// What kind of worlds to make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// No cycles in the data.
    pub acyclic: bool,
    /// Only what SpiceDB accepts, and expirations far from its clock.
    pub spicedb: bool,
}

/// A generated world.
#[derive(Debug, Clone)]
pub struct World {
    /// What it was made from.
    pub seed: u64,
    /// Its schema.
    pub sketch: Sketch,
    /// Its data; each identity once.
    pub relationships: Vec<Relationship>,
    /// Contexts that questions name by position; the first is empty.
    pub contexts: Vec<Context>,
    /// Instants that questions name by position; the first is the main one.
    pub instants: Vec<Timestamp>,
    /// What to ask.
    pub questions: Vec<Question>,
}

/// A question to a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// Position among the world's contexts.
    pub context: usize,
    /// Position among the world's instants.
    pub instant: usize,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Does the subject have the permission on the resource?
    Check {
        /// The resource.
        resource: ResourceRef,
        /// A relation or permission.
        permission: String,
        /// The subject.
        subject: SubjectRef,
    },
    /// On which resources does the subject have the permission?
    Resources {
        /// The resources' type.
        resource_type: String,
        /// A relation or permission.
        permission: String,
        /// The subject.
        subject: SubjectRef,
        /// Answers a page.
        page: usize,
    },
    /// Which subjects have the permission?
    Subjects {
        /// The resource.
        resource: ResourceRef,
        /// A relation or permission.
        permission: String,
        /// The subjects' type.
        subject_type: String,
        /// The subjects' relation.
        subject_relation: Option<String>,
        /// Concrete answers a page.
        page: usize,
    },
}

/// Makes the world of this seed.
#[must_use]
pub fn world(seed: u64, options: &Options) -> World {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let at = Timestamp::from_seconds(INSTANT_SECONDS);
    let instants = if options.spicedb {
        vec![at]
    } else {
        vec![at, Timestamp::from_seconds(INSTANT_SECONDS - 1), Timestamp::from_seconds(INSTANT_SECONDS + 1)]
    };
    let sketch = schemas::schema(rng, options);
    let fan_out = (!options.spicedb && rng.chance(2)).then(|| rng.between(100, 150));
    let objects = data::objects(rng, &sketch, fan_out);
    let relationships = data::relationships(rng, &sketch, &objects, options, fan_out, at);
    let count = rng.between(3, 6);
    let contexts = caveats::request_contexts(rng, count, !options.spicedb);
    let mut world = World { seed, sketch, relationships, contexts, instants, questions: Vec::new() };
    world.questions = questions::questions(rng, &world, &objects);
    world
}

/// The same context with a random value for every parameter that it leaves open.
#[must_use]
pub fn completed(rng: &mut Rng, context: &Context) -> Context {
    caveats::completed(rng, context)
}

impl World {
    /// The world's relationships as ways to write them that all end in the same state.
    #[must_use]
    pub fn write_plan(&self, rng: &mut Rng) -> WritePlan {
        writes::plan(rng, self)
    }

    /// Changes on top of the world's data, to be undone again.
    #[must_use]
    pub fn disturbance(&self, rng: &mut Rng) -> WritePlan {
        writes::disturbance(rng, self)
    }
}
