//! The real binary: its command line, and the calls of a server that it runs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod auditing;
mod backups;
mod bootstrap;
mod calls;
mod command_line;
mod configuration;
#[cfg(target_os = "linux")]
mod connections;
mod contract;
mod docs;
mod durable;
#[cfg(target_os = "linux")]
mod errors;
mod experimental;
mod eyes;
mod gateway;
mod http;
mod kills;
#[cfg(target_os = "linux")]
mod leaving;
mod library;
mod namespaces;
mod own;
mod pages;
mod paging;
mod process;
mod quotas;
mod reflection;
mod refusals;
#[cfg(target_os = "linux")]
mod root_token;
mod secured;
mod serve_testing;
mod short_way;
#[cfg(target_os = "linux")]
mod slow_readers;
#[cfg(target_os = "linux")]
mod syscalls;
mod traces;
mod watch;
#[cfg(target_os = "linux")]
mod workers;
