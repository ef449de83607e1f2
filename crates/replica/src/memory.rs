//! What does a namespace hold in memory, and for what?
//!
//! Cost: the graph is walked whole; all else is a look at a number.

use idhini_graph::Memory;
use idhini_model::Revision;

use crate::Namespace;

/// Bytes of a namespace by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamespaceMemory {
    /// The revision that was walked.
    pub revision: Revision,
    /// Its relationships, expired ones included.
    pub relationships: u64,
    /// What it holds.
    pub graph: Memory,
    /// Revisions that are kept beside the newest.
    pub revisions: u64,
    /// What these hold that the newest does not.
    pub history_bytes: u64,
    /// What was rebuilt for questions about the past, about.
    pub rebuilt_bytes: u64,
    /// Writes that are not answered yet, about.
    pub writes_waiting_bytes: u64,
    /// The log: where its entries stand, or all of it if it is in memory only.
    pub log_bytes: u64,
}

impl NamespaceMemory {
    /// How many parts there are.
    pub const PARTS: usize = 9;

    /// Each part by its name, which metrics and commands call it too.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, u64); NamespaceMemory::PARTS] {
        let Memory { names_bytes, forward_bytes, reverse_bytes, attributes_bytes, catalog_bytes, .. } =
            self.graph;
        [
            ("names", names_bytes),
            ("forward_edges", forward_bytes),
            ("reverse_edges", reverse_bytes),
            ("attributes", attributes_bytes),
            ("catalog", catalog_bytes),
            ("history", self.history_bytes),
            ("rebuilt", self.rebuilt_bytes),
            ("writes_waiting", self.writes_waiting_bytes),
            ("log", self.log_bytes),
        ]
    }
}

impl Namespace {
    /// What is held now. Walks the graph, which takes a while; whoever writes or reads is not held up.
    #[must_use]
    pub fn memory(&self) -> NamespaceMemory {
        let head = self.head();
        let root = head.root();
        let walked = NamespaceMemory {
            revision: root.revision(),
            relationships: root.relationship_count(),
            graph: root.memory(),
            ..NamespaceMemory::default()
        };
        self.memory_since(walked)
    }

    /// The same, with the graph as it was walked some time ago.
    #[must_use]
    pub fn memory_since(&self, walked: NamespaceMemory) -> NamespaceMemory {
        let (revisions, history_bytes) = self.kept();
        NamespaceMemory {
            revisions: revisions as u64,
            history_bytes,
            rebuilt_bytes: self.rebuilt_bytes(),
            writes_waiting_bytes: self.waiting().1,
            log_bytes: self.log.memory_bytes(),
            ..walked
        }
    }
}
