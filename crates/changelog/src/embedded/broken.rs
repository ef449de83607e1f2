//! Deliberately wrong stores: each variant breaks one rule, and the test kit must catch every one.
//!
//! Without the feature `broken` nothing of this is compiled in: `is_broken` is the constant `false`. With it, a variant
//! is chosen for this thread by `break_with`, or for a whole process by the environment variable `IDHINI_BROKEN_LOG`.

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// What was written is not synced.
    SkipsSync,
    /// A batch is answered before it is written.
    AcknowledgesBeforeAppend,
    /// One entry more than asked for is given up.
    TrimsOneTooMany,
}

/// All variants.
#[cfg(feature = "broken")]
pub const VARIANTS: &[Variant] =
    &[Variant::SkipsSync, Variant::AcknowledgesBeforeAppend, Variant::TrimsOneTooMany];

#[cfg(feature = "broken")]
mod chosen {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::{VARIANTS, Variant};

    thread_local! {
        static CHOSEN: Cell<Option<Variant>> = const { Cell::new(None) };
    }

    static OF_PROCESS: OnceLock<Option<Variant>> = OnceLock::new();

    /// Breaks the stores that this thread steps; `None` mends them.
    pub fn break_with(variant: Option<Variant>) {
        CHOSEN.set(variant);
    }

    pub(crate) fn is_broken(variant: Variant) -> bool {
        CHOSEN.get().or_else(of_process) == Some(variant)
    }

    fn of_process() -> Option<Variant> {
        *OF_PROCESS.get_or_init(|| {
            let name = std::env::var("IDHINI_BROKEN_LOG").ok()?;
            VARIANTS.iter().copied().find(|variant| format!("{variant:?}") == name)
        })
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
