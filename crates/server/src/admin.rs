//! What an operator's backup reads from a running server: entries as the log keeps them, and images.
//!
//! # Invariants
//! * Only what is durable is handed out.
//! * What goes away in between (trimmed, or an image that is no longer kept) is an error: the backup is taken anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use idhini_changelog::{LogError, LogId, Stored};
use idhini_model::Revision;
use idhini_replica::{Images, Namespace, Node};
use idhini_wire::idhini::admin::v1;
use idhini_wire::idhini::admin::v1::admin_service_server::AdminService;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status, async_trait};

use crate::lookups::Answers;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::telemetry::{self, Telemetry};

/// Bytes of entries in one message, unless one chunk is longer.
const ENTRIES_BYTES: usize = 1 << 20;
/// Messages that wait for the client to take them.
const MESSAGES_WAITING: usize = 4;

/// `AdminService` over the logs of a node.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    node: Arc<Node>,
    /// Has the clock.
    root: Arc<Namespace>,
    store: u64,
    timeline: u32,
    telemetry: Arc<Telemetry>,
}

impl Admin {
    pub(crate) fn new((node, root): (Arc<Node>, Arc<Namespace>), options: &Options) -> Admin {
        let Options { seal, telemetry, .. } = options;
        Admin { node, root, store: seal.store, timeline: seal.timeline, telemetry: Arc::clone(telemetry) }
    }

    /// A log that has entries; to open another would make room for it.
    async fn namespace(&self, log: u64) -> Result<Arc<Namespace>, Status> {
        let head = self.node.store().log(LogId(log)).head().await.map_err(|error| log_status(&error))?;
        if head.revision == Revision(0) {
            let text = format!("there is no log {log}; Describe lists those that there are");
            return Err(Refusal::new(Code::NotFound, text).into());
        }
        let opened = self.node.namespace(LogId(log)).await;
        opened.map_err(|error| {
            telemetry::failed_because(|| Some(error.for_log()));
            Status::unavailable(format!("log {log} cannot be opened: {error}"))
        })
    }
}

fn log_status(error: &LogError) -> Status {
    match error {
        LogError::Trimmed { .. } => Refusal::new(Code::OutOfRange, error.to_string()).into(),
        LogError::Deleted { .. } => Refusal::new(Code::NotFound, error.to_string()).into(),
        error => {
            telemetry::failed_because(|| Some(error.to_string()));
            Refusal::new(Code::Unavailable, "the log cannot be read at present").into()
        }
    }
}

#[async_trait]
impl AdminService for Admin {
    type ReadEntriesStream = Answers<v1::ReadEntriesResponse>;
    type ReadChunksStream = Answers<v1::ReadChunksResponse>;

    async fn describe(
        &self,
        _request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        // First: an entry that is in none of the logs yet is acknowledged later.
        let now = self.root.now();
        let mut logs = Vec::new();
        for id in self.node.store().logs().await.map_err(|error| log_status(&error))? {
            let head = self.node.store().log(id).head().await.map_err(|error| log_status(&error))?;
            logs.push(v1::Log { id: id.0, oldest: head.oldest.0, head: head.revision.0 });
        }
        Ok(Response::new(v1::DescribeResponse {
            store: self.store,
            timeline: self.timeline,
            logs,
            now_seconds: now.seconds(),
            now_nanos: now.nanos(),
        }))
    }

    async fn read_entries(
        &self,
        request: Request<v1::ReadEntriesRequest>,
    ) -> Result<Response<Self::ReadEntriesStream>, Status> {
        let v1::ReadEntriesRequest { log, after, last } = request.into_inner();
        let log = self.node.store().log(LogId(log));
        let answers = async_stream::try_stream! {
            let mut after = Revision(after.min(last));
            while after.0 < last {
                let read = log.read(after, ENTRIES_BYTES).await.map_err(|error| log_status(&error))?;
                let Some(end) = read.last().map(|stored| stored.revision) else { break };
                after = end;
                let mut gathered = Gathered::default();
                for chunk in read.into_iter().filter(|stored| stored.revision.0 <= last).flat_map(chunks) {
                    if let Some(full) = gathered.push(chunk) {
                        yield full;
                    }
                }
                yield v1::ReadEntriesResponse { chunks: gathered.chunks };
            }
        };
        Ok(Response::new(Box::pin(answers)))
    }

    async fn read_image(
        &self,
        request: Request<v1::ReadImageRequest>,
    ) -> Result<Response<v1::ReadImageResponse>, Status> {
        let namespace = self.namespace(request.into_inner().log).await?;
        let newest = namespace.images().and_then(|images| images.facts().pop());
        let Some(newest) = newest else { return Ok(Response::new(v1::ReadImageResponse::default())) };
        // Reading blocks, so it is done where that harms nobody. The task can only have panicked.
        let reading = tokio::task::spawn_blocking(move || {
            let (manifest, written_at) = namespace.images()?.manifest(newest.revision).ok()?;
            Some(v1::ReadImageResponse {
                manifest: manifest.to_bytes(),
                written_at_seconds: written_at.seconds(),
                written_at_nanos: written_at.nanos(),
            })
        });
        Ok(Response::new(reading.await.ok().flatten().ok_or_else(gone)?))
    }

    async fn read_chunks(
        &self,
        request: Request<v1::ReadChunksRequest>,
    ) -> Result<Response<Self::ReadChunksStream>, Status> {
        let v1::ReadChunksRequest { log, revision, places } = request.into_inner();
        let namespace = self.namespace(log).await?;
        let places: Vec<usize> = places.into_iter().map(|place| place as usize).collect();
        let (sender, mut receiver) = mpsc::channel(MESSAGES_WAITING);
        // Reading blocks, so it is done where that harms nobody; it ends when the client has left.
        tokio::task::spawn_blocking(move || {
            let read = namespace.images().map(|images: &Images| {
                images.chunks(Revision(revision), &places, |chunk| sender.blocking_send(Ok(chunk)).is_ok())
            });
            if !matches!(read, Some(Ok(()))) {
                // Whoever has left does not hear it.
                let _ = sender.blocking_send(Err(gone()));
            }
        });
        let answers = async_stream::try_stream! {
            while let Some(chunk) = receiver.recv().await {
                yield v1::ReadChunksResponse { chunk: chunk? };
            }
        };
        Ok(Response::new(Box::pin(answers)))
    }

    async fn read_memory(
        &self,
        request: Request<v1::ReadMemoryRequest>,
    ) -> Result<Response<v1::ReadMemoryResponse>, Status> {
        let namespace = self.namespace(request.into_inner().log).await?;
        let is_root = Arc::ptr_eq(&namespace, &self.root);
        // Walking the graph takes a while, so it is done where that harms nobody. The task can only have panicked.
        let walking = tokio::task::spawn_blocking(move || namespace.memory()).await;
        let memory = walking.map_err(|error| {
            telemetry::failed_because(|| Some(error.to_string()));
            Refusal::new(Code::Internal, "counting failed inside the server")
        })?;
        let part = |(name, bytes): (&str, u64)| v1::MemoryPart { name: name.to_owned(), bytes };
        // Calls are made to the one namespace, and so are the searches that they leave behind.
        let searches = is_root.then(|| ("searches", self.telemetry.searches_bytes.load(Ordering::Relaxed)));
        Ok(Response::new(v1::ReadMemoryResponse {
            revision: memory.revision.0,
            relationships: memory.relationships,
            revisions: memory.revisions,
            parts: memory.parts().into_iter().chain(searches).map(part).collect(),
        }))
    }
}

/// A message being filled.
#[derive(Default)]
struct Gathered {
    chunks: Vec<v1::Chunk>,
    bytes: usize,
}

impl Gathered {
    /// Adds a chunk; gives what was gathered before it if that is enough for a message.
    fn push(&mut self, chunk: v1::Chunk) -> Option<v1::ReadEntriesResponse> {
        let full = self.bytes + chunk.bytes.len() > ENTRIES_BYTES && !self.chunks.is_empty();
        let before = full.then(|| std::mem::take(self));
        self.bytes += chunk.bytes.len();
        self.chunks.push(chunk);
        before.map(|before| v1::ReadEntriesResponse { chunks: before.chunks })
    }
}

fn chunks(stored: Stored) -> impl Iterator<Item = v1::Chunk> {
    let last = stored.record.chunks.len().saturating_sub(1);
    let revision = stored.revision.0;
    let chunks = stored.record.chunks.into_iter().enumerate();
    chunks.map(move |(at, bytes)| v1::Chunk { revision, bytes: bytes.to_vec(), is_last: at == last })
}

fn gone() -> Status {
    Refusal::new(Code::Aborted, "the image is no longer there, or cannot be read; take the backup again")
        .into()
}
