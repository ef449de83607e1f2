//! Tests only: the reference evaluator, generators of worlds, and the comparison of both with the engine.

pub mod reference;
