//! Tests only: a real SpiceDB and Idhini are asked the same generated questions.
//!
//! Each disagreement is matched against a ledger of known ones (`ledger.rs`, explained for people in
//! `docs/differences.md`); one that matches none is shrunk and fails the run.
//!
//! Reading order: `query.rs` (what is asked and answered), `run.rs` (the loop), `compare.rs`, `ledger.rs`.

pub mod compare;
pub mod document;
pub mod ledger;
pub mod naming;
pub mod ours;
pub mod query;
pub mod report;
pub mod reproduce;
pub mod run;
pub mod shrink;
pub mod spicedb;
pub mod suppose;
pub mod worlds;
