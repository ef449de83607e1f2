//! `idhini`: the command line, and the only place where a clock and randomness are real.
//!
//! Exit status: 0 done (a check: has), 1 a check: no (a comparison or a test: something differs; a namespace: locked), 2 a
//! check: conditional; 3 the request is malformed, 4 the server refused it, 5 the server cannot be reached or was not
//! understood, 6 the server cannot start; 130 interrupted a second time, 141 whoever read standard output has left.

mod arguments;
mod audit;
mod authority;
mod backup;
mod client;
mod client_file;
mod commands;
mod configuration;
mod debug;
mod entropy;
mod failure;
mod files;
mod output;
mod progress;
mod root_token;
mod serve;
mod telemetry;
mod validation;

use std::process::ExitCode;

use idhini::clock;

use crate::arguments::{Arguments, Command, ConfigCommand, TokenCommand};
use crate::commands::Asked;
use crate::configuration::{Configuration, Format, Server};
use crate::failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let style = output::Style::of_terminal();
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            output::misuse(&error, &arguments::next_step(std::env::args_os()), style);
            return ExitCode::from(failure::STATUS_MALFORMED);
        }
        Err(help) => {
            // A closed pipe is the reader's wish, not a failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(arguments, style) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            output::failure(&failure, style);
            ExitCode::from(failure.status())
        }
    }
}

fn run(arguments: Arguments, style: output::Style) -> Result<u8, Failure> {
    match arguments.command {
        Command::Serve(flags) => serve::run(&flags, style).map(|()| 0),
        Command::ServeTesting(flags) => serve::testing::run(&flags, style).map(|()| 0),
        Command::Config(ConfigCommand::Print { flags, toml }) => {
            let format = match (toml, arguments.connection.json) {
                (true, _) => Format::Toml,
                (false, true) => Format::Json,
                (false, false) => Format::Text,
            };
            configuration::print(&Configuration::read(Server::Serve, &flags.0)?, format);
            Ok(0)
        }
        Command::Ca(command) => commands::authority(&command, arguments.connection.json).map(|()| 0),
        Command::Token(TokenCommand::Reset(of)) => {
            root_token::reset(&of, arguments.connection.json, style).map(|()| 0)
        }
        Command::Backup(backup) => backup::run(&arguments.connection, &backup, style).map(|()| 0),
        Command::Restore(restore) => backup::restore(&restore, arguments.connection.json, style).map(|()| 0),
        Command::Audit(command) => audit::run(&command, arguments.connection.json, style),
        Command::Debug(debug) => debug::run(&arguments.connection, &debug, style).map(|()| 0),
        command => commands::run(Asked { connection: &arguments.connection, style }, command),
    }
}
