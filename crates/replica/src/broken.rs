//! Deliberately wrong namespaces: each variant breaks one rule, and the test kit must catch every one.
//!
//! Without the feature `broken` nothing of this is compiled in: `is_broken` is the constant `false`. With it, a variant
//! is chosen for the current thread by `break_with`.

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The log is trimmed by one entry more than history and images allow.
    TrimsOneTooMany,
    /// The log is trimmed to the newest image, whatever the history promises.
    TrimsToNewestImage,
    /// An image has its name before it is durable.
    NamesImagesUnsynced,
    /// A write is seen and answered before the log has it.
    PublishesBeforeAppend,
    /// After an append of unknown outcome the log is not asked what became of it.
    TakesUnknownForRefused,
    /// A namespace is opened from its image alone.
    IgnoresTail,
    /// What is restored lacks its last entry.
    RestoresOneTooFew,
    /// An undone entry is left as it was.
    UndoesNothing,
}

/// All variants.
#[cfg(feature = "broken")]
pub const VARIANTS: &[Variant] = &[
    Variant::TrimsOneTooMany,
    Variant::TrimsToNewestImage,
    Variant::NamesImagesUnsynced,
    Variant::PublishesBeforeAppend,
    Variant::TakesUnknownForRefused,
    Variant::IgnoresTail,
    Variant::RestoresOneTooFew,
    Variant::UndoesNothing,
];

#[cfg(feature = "broken")]
mod chosen {
    use std::cell::Cell;

    use super::Variant;

    thread_local! {
        static CHOSEN: Cell<Option<Variant>> = const { Cell::new(None) };
    }

    /// Breaks the namespaces that this thread runs; `None` mends them.
    pub fn break_with(variant: Option<Variant>) {
        CHOSEN.set(variant);
    }

    pub(crate) fn is_broken(variant: Variant) -> bool {
        CHOSEN.get() == Some(variant)
    }
}

#[cfg(feature = "broken")]
pub use chosen::break_with;
#[cfg(feature = "broken")]
pub(crate) use chosen::is_broken;

#[cfg(not(feature = "broken"))]
#[inline(always)]
pub(crate) const fn is_broken(_: Variant) -> bool {
    false
}
