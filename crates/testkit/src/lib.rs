//! Tests only: the reference evaluator, generators of worlds, and the comparison of both with the engine.

pub mod campaign;
pub mod compare;
pub mod disk;
pub mod generate;
pub mod golden;
pub mod reference;
pub mod rng;
pub mod shapes;
pub mod shrink;
pub mod sketch;
pub mod tally;
pub mod workload;
