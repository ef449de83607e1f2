//! The real binary: its command line, and the calls of a server that it runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod backups;
mod bootstrap;
mod calls;
mod command_line;
mod configuration;
mod docs;
mod durable;
mod experimental;
mod gateway;
mod kills;
mod own;
mod paging;
mod process;
mod refusals;
#[cfg(target_os = "linux")]
mod root_token;
mod serve_testing;
#[cfg(target_os = "linux")]
mod syscalls;
mod watch;
