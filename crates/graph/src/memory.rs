//! How many bytes does a root hold, and for what?
//!
//! Counted from the structures: each allocation with its header and its slack, without the allocator's rounding.

/// The strong and the weak count in front of what an `Arc` holds.
const ARC_HEADER_BYTES: u64 = 16;

/// Bytes of one root by part; what it shares with other roots is counted in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Object ids: the ids themselves and the index from id to number.
    pub names_bytes: u64,
    /// Of `names_bytes`: when which numbers were given, for undoing.
    pub births_bytes: u64,
    /// Edges by resource.
    pub forward_bytes: u64,
    /// Edges by subject.
    pub reverse_bytes: u64,
    /// Caveats with their contexts, and expirations.
    pub attributes_bytes: u64,
    /// Types, classes, counters and what holds them together; the schema is not counted.
    pub catalog_bytes: u64,
}

impl Memory {
    /// Edges in both directions.
    #[must_use]
    pub fn edges_bytes(&self) -> u64 {
        self.forward_bytes + self.reverse_bytes
    }

    /// All parts.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.names_bytes + self.edges_bytes() + self.attributes_bytes + self.catalog_bytes
    }
}

/// Bytes of the allocation behind an `Arc<[T]>`.
pub(crate) fn slice_bytes<T>(slice: &[T]) -> u64 {
    ARC_HEADER_BYTES + size_of_val(slice) as u64
}

/// Bytes of the allocation behind an `Arc<T>`.
pub(crate) fn arc_bytes<T>() -> u64 {
    ARC_HEADER_BYTES + size_of::<T>() as u64
}
