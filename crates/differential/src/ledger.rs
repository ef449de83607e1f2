//! The known disagreements: which are they, by what are they recognised, why are they as they are?
//!
//! Each entry has an id, under which `docs/differences.md` explains it with a minimal example, and a predicate that is
//! as narrow as can be decided from the question, both replies and the evidence. The first that matches counts.
//!
//! # Invariants
//! * No predicate looks at texts of errors or at seeds.

use crate::compare::Disagreement;

/// One known kind of disagreement.
pub struct Entry {
    /// The id in `docs/differences.md`.
    pub id: &'static str,
    /// Why ours is right or deliberate, in a line.
    pub reason: &'static str,
    /// Whether a disagreement is of this kind.
    pub matches: fn(&Disagreement) -> bool,
}

/// The ledger, in order of matching.
pub const LEDGER: &[Entry] = &[];

/// The entry that explains a disagreement.
#[must_use]
pub fn explain(disagreement: &Disagreement) -> Option<&'static Entry> {
    LEDGER.iter().find(|entry| (entry.matches)(disagreement))
}
