//! The one integration test binary of the test kit.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod arrows;
#[cfg(feature = "broken")]
mod broken;
mod folder;
mod generated;
mod golden;
mod images;
mod log_acceptance;
mod log_store;
mod log_sweep;
mod log_workload;
mod node;
mod preconditions;
