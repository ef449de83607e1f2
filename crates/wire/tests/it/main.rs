//! What the compiled protocol must be, held against the published client's facts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod contract;
