//! The one integration test binary of the logs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod files;
mod scratch;
mod suite;
