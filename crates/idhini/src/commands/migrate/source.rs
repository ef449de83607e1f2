//! What the SpiceDB has, and what it tells of changes; calls that break off go on where they were.

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::MigrateError;
use crate::client::Server;
use crate::failure::Failure;

/// Relationships in one message.
const PAGE_ROWS: u32 = 1_000;
/// How often in a row a call is tried again, and how long it is waited before the first time; twice as long each time.
const TRIES_MAX: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Messages of changes that wait to be applied.
const MESSAGES_WAITING: usize = 16;
/// How long nothing must have changed until everything counts as told: longer than any store polls.
const QUIET: Duration = Duration::from_secs(3);

/// At one revision.
pub(super) fn exact(token: &str) -> Option<v1::Consistency> {
    let token = v1::ZedToken { token: token.to_owned() };
    Some(v1::Consistency { requirement: Some(Requirement::AtExactSnapshot(token)) })
}

/// Whether it may go better the next time.
pub(super) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Aborted
            | Code::Unknown
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Cancelled
    )
}

/// Waits before another try, if there is one left.
pub(super) async fn again(tries: &mut u32, status: Status) -> Result<(), Status> {
    if !is_passing(&status) || *tries >= TRIES_MAX {
        return Err(status);
    }
    tokio::time::sleep(FIRST_WAIT * 2u32.pow(*tries)).await;
    *tries += 1;
    Ok(())
}

/// All relationships of a server, at one revision, a message at a time.
pub(super) struct Export {
    server: Server,
    consistency: Option<v1::Consistency>,
    cursor: Option<v1::Cursor>,
    stream: Option<Streaming<v1::ExportBulkRelationshipsResponse>>,
    tries: u32,
}

impl Export {
    pub(super) fn new(server: &Server, consistency: Option<v1::Consistency>) -> Export {
        Export { server: server.clone(), consistency, cursor: None, stream: None, tries: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<v1::Relationship>>, Status> {
        loop {
            match self.ask().await {
                Ok(Some(answer)) => {
                    self.tries = 0;
                    self.cursor = answer.after_result_cursor.or(self.cursor.take());
                    return Ok(Some(answer.relationships));
                }
                Ok(None) => return Ok(None),
                Err(status) => {
                    self.stream = None;
                    again(&mut self.tries, status).await?;
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<Option<v1::ExportBulkRelationshipsResponse>, Status> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let request = v1::ExportBulkRelationshipsRequest {
                    consistency: self.consistency.clone(),
                    optional_limit: PAGE_ROWS,
                    optional_cursor: self.cursor.clone(),
                    optional_relationship_filter: None,
                };
                let request = self.server.request(request);
                self.server.permissions().export_bulk_relationships(request).await?.into_inner()
            }
        };
        let answer = stream.message().await?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

/// What is told of changes.
pub(super) struct Changes {
    receiver: mpsc::Receiver<Result<v1::WatchResponse, Status>>,
    changed: Instant,
}

impl Changes {
    /// Everything after a revision.
    pub(super) fn follow(server: Server, after: String) -> Changes {
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING);
        tokio::spawn(pump(server, after, sender));
        Changes { receiver, changed: Instant::now() }
    }

    /// The next message; can be given up at any time without losing one.
    pub(super) async fn next(&mut self) -> Result<Option<v1::WatchResponse>, Failure> {
        let Some(answer) = self.receiver.recv().await else {
            return Err(Failure::Answer { missing: "further changes" });
        };
        let answer = answer.map_err(|status| match status.code() {
            Code::OutOfRange => MigrateError::Window(status.message().to_owned()).into(),
            _ => Failure::Refused(status),
        })?;
        if answer.is_checkpoint && answer.updates.is_empty() && !answer.schema_updated {
            return Ok(None);
        }
        self.wait_anew();
        Ok(Some(answer))
    }

    /// How long it takes until everything counts as told, if nothing is.
    pub(super) fn quiet_left(&self) -> Duration {
        QUIET.saturating_sub(self.changed.elapsed())
    }

    pub(super) fn wait_anew(&mut self) {
        self.changed = Instant::now();
    }
}

/// Watches, and watches again behind the last revision that was told whole: several messages may be of one revision, and
/// only what comes behind them says that they were all.
async fn pump(server: Server, after: String, sender: mpsc::Sender<Result<v1::WatchResponse, Status>>) {
    let (mut whole, mut current, mut tries) = (after.clone(), after, 0);
    loop {
        let kinds = [
            v1::WatchKind::IncludeRelationshipUpdates,
            v1::WatchKind::IncludeSchemaUpdates,
            v1::WatchKind::IncludeCheckpoints,
        ];
        let request = v1::WatchRequest {
            optional_start_cursor: Some(v1::ZedToken { token: whole.clone() }),
            optional_update_kinds: kinds.map(|kind| kind as i32).to_vec(),
            ..Default::default()
        };
        let mut watches = server.watches();
        let broken = match watches.watch(server.request(request)).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(answer)) => {
                            tries = 0;
                            let token = answer.changes_through.clone().unwrap_or_default().token;
                            if token != current {
                                whole = std::mem::replace(&mut current, token.clone());
                            }
                            if answer.is_checkpoint {
                                whole = token;
                            }
                            if sender.send(Ok(answer)).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break Status::unavailable("the watch ended"),
                        Err(status) => break status,
                    }
                }
            }
        };
        if let Err(status) = again(&mut tries, broken).await {
            // Whoever does not listen any more needs no reason.
            let _ = sender.send(Err(status)).await;
            return;
        }
    }
}
