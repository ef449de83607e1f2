//! What can be said to `schema`?

use std::path::PathBuf;

use clap::{Args, Subcommand};
use idhini_model::Timestamp;

#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// Replace the schema with that of a file; `-` reads standard input
    Write {
        /// The file
        file: PathBuf,
    },
    /// Print the schema
    Read(ReadSchema),
    /// Print what differs from one schema to another: exit status 0 nothing, 1 something
    Diff {
        /// The schema before, as a file; alone, it is the schema after, and the server's is before
        before: PathBuf,
        /// The schema after, as a file
        after: Option<PathBuf>,
    },
    /// Check schemas without a server; a mistake is named with file, line and column
    Validate {
        /// The files; `-` reads standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a schema in its canonical form
    Format {
        /// The file; `-` reads standard input
        file: PathBuf,
        /// Replace the file instead of printing
        #[arg(long, conflicts_with = "check")]
        write: bool,
        /// Only say whether the file is in that form: exit status 0 it is, 1 it is not
        #[arg(long)]
        check: bool,
    },
    /// Run the assertions and expected relations of validation files, without a server
    ///
    /// A validation file is YAML: schema or schemaFile, relationships, assertions (assertTrue, assertFalse,
    /// assertCaveated) and validation. Each failure is named with file and line. Exit status 0: all hold, 1: some do not.
    Test {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Of when.
#[derive(Debug, Args)]
pub(crate) struct ReadSchema {
    /// As it was at a moment in the past, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<Timestamp>,
}
