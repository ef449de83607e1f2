//! Commands that ask a server, or look at schemas; a module a group.

mod access;
mod authority;
mod bulk;
mod history;
mod lookups;
mod migrate;
mod namespace;
mod questions;
mod relationship;
mod schema;
mod told;
mod version;
mod watch;

use clap::CommandFactory as _;

pub(crate) use self::authority::run as authority;
pub(crate) use self::migrate::MigrateError;
use crate::arguments::{
    Arguments, AsOf, Command, Connection, PastCommand, PastRelationships, PastSchema, Question,
    RelationshipCommand,
};
use crate::failure::Failure;
use crate::output::{self, Style};

/// How a command was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) style: Style,
}

/// Runs a command; answers the exit status.
pub(crate) fn run(asked: Asked<'_>, command: Command) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "a runtime", source })?;
    runtime.block_on(async {
        match command {
            Command::Namespace(command) => namespace::run(asked, command).await,
            Command::Token(command) => access::tokens(asked, command).await.map(|()| 0),
            Command::Auth(command) => access::auth(asked, command).await,
            Command::Schema(command) => schema::run(asked, command).await,
            Command::Relationship(command) => relationships(asked, command).await.map(|()| 0),
            Command::Question(question) | Command::Permission(question) => ask(asked, question).await,
            Command::AsOf(as_of) => ask_of_past(asked, as_of).await,
            Command::Watch(watch) => watch::run(asked, &watch).await.map(|()| 0),
            Command::History(of) => history::run(asked, &of).await.map(|()| 0),
            Command::Migrate(migrate) => migrate::run(asked, &migrate).await,
            Command::Version => version::run(asked).await.map(|()| 0),
            Command::Completion { shell } => {
                completion(shell);
                Ok(0)
            }
            // The caller runs these itself.
            Command::Serve(_)
            | Command::ServeTesting(_)
            | Command::Config(_)
            | Command::Ca(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Audit(_)
            | Command::Debug(_) => Ok(0),
        }
    })
}

async fn relationships(asked: Asked<'_>, command: RelationshipCommand) -> Result<(), Failure> {
    match command {
        RelationshipCommand::Read(arguments) => relationship::read(asked, &arguments).await,
        RelationshipCommand::BulkImport(arguments) => bulk::import(asked, &arguments).await,
        RelationshipCommand::BulkExport(arguments) => bulk::export(asked, &arguments).await,
        RelationshipCommand::Create(arguments) => relationship::create(asked, &arguments).await,
        RelationshipCommand::Touch(arguments) => relationship::touch(asked, &arguments).await,
        RelationshipCommand::Delete(arguments) => relationship::delete(asked, &arguments).await,
    }
}

async fn ask(asked: Asked<'_>, question: Question) -> Result<u8, Failure> {
    match question {
        Question::Check(check) => questions::check(asked, check).await,
        Question::LookupResources(of) => lookups::resources(asked, of).await.map(|()| 0),
        Question::LookupSubjects(of) => lookups::subjects(asked, of).await.map(|()| 0),
        Question::Expand(of) => questions::expand(asked, of).await.map(|()| 0),
    }
}

async fn ask_of_past(asked: Asked<'_>, AsOf { time, mut command }: AsOf) -> Result<u8, Failure> {
    let (is_said, moment) = command.as_of();
    if is_said {
        return Err(Failure::TwoMoments);
    }
    *moment = Some(time);
    match command {
        PastCommand::Question(question) => ask(asked, question).await,
        PastCommand::Relationship(PastRelationships::Read(of)) => {
            relationship::read(asked, &of).await.map(|()| 0)
        }
        PastCommand::Schema(PastSchema::Read(of)) => schema::read(asked, &of).await.map(|()| 0),
        PastCommand::Relationship(PastRelationships::BulkExport(of)) => {
            bulk::export(asked, &of).await.map(|()| 0)
        }
    }
}

/// What stands before one of so many children in a tree, and before what is below it.
fn branch(at: usize, of: usize) -> (&'static str, &'static str) {
    if at + 1 == of { ("└─ ", "   ") } else { ("├─ ", "│  ") }
}

fn completion(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "idhini", &mut script);
    output::bytes(&script);
}
