//! Relationships in bulk: a file into the server, the server's into a file.
//!
//! # Invariants
//! * An import is one transaction: whatever is wrong, in the file or for the server, nothing of it is written.
//! * Neither direction holds more than a few messages; a validation file, which is one document, is held whole when read.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use idhini_model::Relationship;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::Asked;
use super::relationship::text_of;
use crate::arguments::{self, BulkExport, BulkImport, Format};
use crate::client::Server;
use crate::failure::Failure;
use crate::output;
use crate::progress;
use crate::validation::ValidationFile;

/// Messages that wait to be sent.
const MESSAGES_WAITING: usize = 4;
/// Bytes of relationships after which a message is full, whatever their number.
const MESSAGE_BYTES: usize = 1 << 20;
/// Longest line of a file, in bytes: a relationship with the longest names and values.
const LINE_BYTES_MAX: usize = 256 << 10;
/// Indents the texts of a validation file.
const INDENT: &str = "  ";

type Message = v1::ImportBulkRelationshipsRequest;

/// Creates the relationships of a file.
pub(super) async fn import(asked: Asked<'_>, of: &BulkImport) -> Result<(), Failure> {
    let format = of.format.unwrap_or_else(|| format_of(&of.file));
    let server = Server::connect_patiently(asked.connection).await?;
    let (sender, receiver) = mpsc::channel::<Message>(MESSAGES_WAITING);
    let (finish, mut finished) = oneshot::channel();
    let batches = Batches::new(sender.clone(), of.batch_size as usize);
    let path = of.file.clone();
    if format == Format::Validation {
        let file = ValidationFile::read(&path)?;
        if of.with_schema {
            let request = v1::WriteSchemaRequest { schema: file.schema_text.clone() };
            server.schemas().write_schema(server.request(request)).await?;
        }
        std::thread::spawn(move || finish.send(of_validation_file(file, batches)));
    } else {
        std::thread::spawn(move || finish.send(of_lines(&path, batches)));
    }
    let counter = progress::counter("sent", asked.style);
    let sent = counter.clone();
    let messages = tokio_stream::StreamExt::map(ReceiverStream::new(receiver), move |message: Message| {
        sent.inc(message.relationships.len() as u64);
        message
    });
    let mut permissions = server.permissions();
    let call = permissions.import_bulk_relationships(server.request(messages));
    tokio::pin!(call);
    // As long as it is held the stream has no end, so that a file that breaks off is not taken for one that ends.
    let mut held = Some(sender);
    let answer = loop {
        tokio::select! {
            read = &mut finished, if held.is_some() => {
                read.unwrap_or(Err(Failure::Answer { missing: "reader of the file" }))?;
                held = None;
            }
            answer = &mut call => break answer,
        }
    };
    counter.finish_and_clear();
    let answer = answer.map_err(|status| placed(&of.file, format, status))?.into_inner();
    match asked.connection.json {
        true => output::message(&answer),
        false => {
            output::line(&format!("{} relationships", answer.num_loaded));
            Ok(())
        }
    }
}

fn format_of(path: &Path) -> Format {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("yaml" | "yml") => Format::Validation,
        _ => Format::Lines,
    }
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Fills messages and hands them on; waits while too many wait.
struct Batches {
    sender: mpsc::Sender<Message>,
    rows_max: usize,
    open: Message,
    bytes: usize,
}

impl Batches {
    fn new(sender: mpsc::Sender<Message>, rows_max: usize) -> Batches {
        Batches { sender, rows_max, open: Message::default(), bytes: 0 }
    }

    /// Whether anybody still listens.
    fn push(&mut self, relationship: Relationship) -> bool {
        let relationship = v1::Relationship::from(relationship);
        self.bytes += relationship.encoded_len();
        self.open.relationships.push(relationship);
        let is_full = self.open.relationships.len() >= self.rows_max || self.bytes >= MESSAGE_BYTES;
        !is_full || self.flush()
    }

    fn flush(&mut self) -> bool {
        self.bytes = 0;
        let message = std::mem::take(&mut self.open);
        message.relationships.is_empty() || self.sender.blocking_send(message).is_ok()
    }
}

fn of_validation_file(file: ValidationFile, mut batches: Batches) -> Result<(), Failure> {
    // Whoever does not listen any more says why.
    let _ =
        file.relationships.into_iter().all(|(_, relationship)| batches.push(relationship)) && batches.flush();
    Ok(())
}

fn of_lines(path: &Path, mut batches: Batches) -> Result<(), Failure> {
    let mut is_heard = true;
    each_line(path, |relationship, _| {
        is_heard = batches.push(relationship);
        is_heard
    })?;
    let _ = is_heard && batches.flush();
    Ok(())
}

/// Hands on each relationship of a file with its line, until `each` says no.
fn each_line(path: &Path, mut each: impl FnMut(Relationship, usize) -> bool) -> Result<(), Failure> {
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let mut reader: Box<dyn BufRead> = match is_standard(path) {
        true => Box::new(BufReader::new(std::io::stdin())),
        false => Box::new(BufReader::new(File::open(path).map_err(failed)?)),
    };
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let limited = (&mut reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes);
        if limited.map_err(failed)? == 0 {
            break;
        }
        let malformed = |message: String| Failure::Validation {
            path: path.display().to_string(),
            line,
            column: None,
            message,
        };
        if bytes.len() > LINE_BYTES_MAX {
            return Err(malformed(format!("the line has more than {LINE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?.trim();
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.is_empty() || text.starts_with("//") {
            continue;
        }
        let relationship =
            text.parse().map_err(|source| Failure::Line { path: path.to_owned(), line, source })?;
        if !each(relationship, line) {
            break;
        }
    }
    Ok(())
}

/// A refusal that names a relationship, with the line that it stands in, if the file can be read again.
fn placed(path: &Path, format: Format, status: Status) -> Failure {
    let named = |relationship: &Relationship| {
        let Relationship { resource, relation, subject, .. } = relationship;
        status.message().contains(&format!("{resource}#{relation}@{subject}"))
    };
    // Where it stands, and where it stands again.
    let mut found = Vec::new();
    match format {
        Format::Lines if !is_standard(path) => {
            // What could be read once is only read for its lines.
            let _ = each_line(path, |relationship, line| {
                if named(&relationship) {
                    found.push(line);
                }
                found.len() < 2
            });
        }
        Format::Validation => {
            if let Ok(file) = ValidationFile::read(path) {
                let lines = file.relationships.iter().filter(|(_, r)| named(r)).map(|(line, _)| *line);
                found.extend(lines.take(2));
            }
        }
        Format::Lines => {}
    }
    let path = path.to_owned();
    match (found.as_slice(), status.code()) {
        (&[first, line], Code::AlreadyExists) => Failure::Repeated { path, line, first },
        (&[line, ..], _) => Failure::RefusedLine { path, line, status },
        _ => Failure::Refused(status),
    }
}

/// Where an export goes: standard output, or a file that is there when it is whole.
struct Target {
    writer: Box<dyn Write>,
    /// Its name until then, and its own.
    file: Option<(PathBuf, PathBuf)>,
}

impl Target {
    fn open(path: &Path) -> Result<Target, Failure> {
        if is_standard(path) {
            return Ok(Target { writer: Box::new(BufWriter::new(std::io::stdout())), file: None });
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create(&part).map_err(|source| Failure::Write { path: part.clone(), source })?;
        Ok(Target { writer: Box::new(BufWriter::new(file)), file: Some((part, path.to_owned())) })
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        let outcome = writeln!(self.writer, "{text}");
        self.judge(outcome)
    }

    fn close(mut self) -> Result<(), Failure> {
        let outcome = self.writer.flush();
        self.judge(outcome)?;
        let Some((part, path)) = self.file else { return Ok(()) };
        std::fs::rename(part, &path).map_err(|source| Failure::Write { path, source })
    }

    fn judge(&self, outcome: std::io::Result<()>) -> Result<(), Failure> {
        match &self.file {
            Some((_, path)) => outcome.map_err(|source| Failure::Write { path: path.clone(), source }),
            None => {
                output::taken(outcome);
                Ok(())
            }
        }
    }
}

/// Prints all relationships of one snapshot.
pub(super) async fn export(asked: Asked<'_>, of: &BulkExport) -> Result<(), Failure> {
    let format = of.format.unwrap_or_else(|| format_of(&of.file));
    let (server, mut consistency) = Server::connect_patiently(asked.connection).await?.asked(&of.consistency);
    let mut target = Target::open(&of.file)?;
    let is_json = asked.connection.json;
    let is_document = format == Format::Validation && !is_json;
    if is_document {
        if of.consistency.is_said() && of.consistency.as_of.is_none() {
            return Err(Failure::SchemaOfPast);
        }
        let schema =
            server.schemas().read_schema(server.request(v1::ReadSchemaRequest {})).await?.into_inner();
        if of.consistency.as_of.is_none() {
            // Relationships and schema of one revision.
            let requirement = schema.read_at.map(Requirement::AtExactSnapshot);
            consistency = Some(v1::Consistency { requirement });
        }
        target.line("schema: |2-")?;
        for line in schema.schema_text.trim_end().lines() {
            target.line(&format!("{INDENT}{line}"))?;
        }
        target.line("relationships: |2-")?;
    }
    let request = v1::ExportBulkRelationshipsRequest {
        consistency,
        optional_limit: of.page_limit.unwrap_or(0),
        optional_cursor: None,
        optional_relationship_filter: of.filter.as_deref().map(arguments::filter),
    };
    let counter = progress::counter("received", asked.style);
    let mut answers =
        server.permissions().export_bulk_relationships(server.request(request)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        counter.inc(answer.relationships.len() as u64);
        if is_json {
            target.line(&idhini_wire::json(&answer)?)?;
            continue;
        }
        for relationship in answer.relationships {
            let text = text_of(Some(relationship))?;
            match is_document {
                true => target.line(&format!("{INDENT}{text}"))?,
                false => target.line(&text)?,
            }
        }
    }
    counter.finish_and_clear();
    target.close()
}
