//! What can an operator set? Limits, each with its unit and default.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use idhini_audit::Trail;
use idhini_engine::COST_MAX;

use crate::auth::Keys;
use crate::lane::GiveWay;
use crate::own::Randomness;
use crate::seal::SealOptions;
use crate::telemetry::Telemetry;

/// Longest schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest message of a client, in bytes: the longest schema and what is around it.
pub const MESSAGE_BYTES_MAX: usize = SCHEMA_BYTES_MAX + 1024 * 1024;
/// Longest transaction metadata, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 65_000;
/// Longest context of a request, in bytes of protobuf.
pub const CONTEXT_BYTES_MAX: usize = 4_096;
/// About the longest message that is streamed to a client, in bytes; clients refuse more than 4 MiB unless told.
pub(crate) const STREAMED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What one request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Updates of one write.
    pub updates_max: usize,
    /// Preconditions of one write or delete.
    pub preconditions_max: usize,
    /// The `limit` field of reads, lookups and deletes.
    pub page_rows_max: u32,
    /// The `limit` field of exports.
    pub export_rows_max: u32,
    /// Items of one bulk check.
    pub bulk_items_max: usize,
    /// What the items of one bulk check may visit before no further one is asked, in edges.
    pub bulk_cost_max: u64,
    /// The context stored with one relationship, in bytes of protobuf.
    pub relationship_context_bytes_max: usize,
    /// Relationships of one import.
    pub import_relationships_max: usize,
    /// What one question may visit, in edges.
    pub cost_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            updates_max: 1_000,
            preconditions_max: 1_000,
            page_rows_max: 1_000,
            export_rows_max: 10_000,
            bulk_items_max: 10_000,
            bulk_cost_max: 4 * COST_MAX,
            relationship_context_bytes_max: 25_000,
            import_relationships_max: 20_000_000,
            cost_max: COST_MAX,
        }
    }
}

/// How the services behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who may call a namespace.
    pub keys: Keys,
    /// What requests may ask for.
    pub limits: Limits,
    /// What tells our tokens from others'.
    pub seal: SealOptions,
    /// What is counted and told of calls.
    pub telemetry: Arc<Telemetry>,
    /// How long calls under way may take after the server was told to stop.
    pub drain_max: Duration,
    /// Threads that answer calls, each with its own connections.
    pub worker_threads: NonZeroUsize,
    /// Has threads that do what takes long give way to those that answer.
    pub give_way: GiveWay,
    /// What tokens and keys are drawn from.
    pub randomness: Randomness,
    /// Where what is changed, decided and refused is put on record, if that is wanted.
    pub trail: Option<Trail>,
}

#[cfg(test)]
impl Options {
    /// With these keys, sealing under a key that everybody knows.
    pub(crate) fn for_tests(keys: Keys) -> Options {
        let namespace = "root".to_owned();
        Options {
            keys,
            limits: Limits::default(),
            seal: SealOptions { key: [7; 32], key_id: 1, store: 2, timeline: 1, namespace },
            telemetry: Arc::new(Telemetry::new(None)),
            drain_max: Duration::ZERO,
            worker_threads: NonZeroUsize::MIN,
            give_way: || (),
            randomness: crate::own::seeded(1),
            trail: None,
        }
    }
}
