//! Does Idhini decide about a directory tree as the Linux kernel does?
//!
//! Reads trees with owners, groups, modes and ACLs, states them as relationships to a server, asks it and the kernel
//! the same questions, and compares. `schema.zed` says what the relationships mean; nothing else here decides.

mod access_list;
mod accounts;
mod acl;
mod compare;
mod id;
mod made;
mod options;
mod probe;
mod questions;
mod relationships;
mod report;
mod rng;
mod run;
mod server;
mod tree;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::options::{CommandLine, Hidden};

const AGREES: u8 = 0;
const DIFFERS: u8 = 1;
const CANNOT: u8 = 2;

fn main() -> ExitCode {
    let command = CommandLine::parse();
    let ended = match command.hidden {
        Some(Hidden::Probe { uid, gid, groups }) => {
            let groups = groups.iter().filter_map(|group| group.parse().ok()).collect::<Vec<u32>>();
            probe::answer(uid, gid, &groups).map(|()| AGREES).map_err(Into::into)
        }
        None => report(&command.options),
    };
    ended.map_or_else(
        |error| {
            // There is nobody left to tell if standard error is closed.
            let _ = writeln!(io::stderr(), "posix: {error}");
            ExitCode::from(CANNOT)
        },
        ExitCode::from,
    )
}

fn report(options: &options::Options) -> Result<u8, Box<dyn std::error::Error>> {
    let report = run::run(options, now_ms)?;
    let mut output = io::stdout().lock();
    if options.json {
        writeln!(output, "{:#}", report.json())?;
    } else {
        write!(output, "{report}")?;
    }
    Ok(if report.objections().is_empty() { AGREES } else { DIFFERS })
}

/// Milliseconds since some fixed moment.
#[allow(clippy::disallowed_methods, reason = "only `main` reads a clock")]
fn now_ms() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
