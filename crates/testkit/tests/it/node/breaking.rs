//! Which rule is broken, if any: the same on all threads of one sweep.

#[cfg(feature = "broken")]
mod chosen {
    use std::cell::Cell;

    use idhini_changelog::embedded::broken as store;
    use idhini_replica::broken as namespace;

    /// A rule of a store or of a namespace.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Variant {
        Store(store::Variant),
        Namespace(namespace::Variant),
    }

    thread_local! {
        static CHOSEN: Cell<Option<Variant>> = const { Cell::new(None) };
    }

    pub fn choose(variant: Option<Variant>) {
        CHOSEN.set(variant);
        store::break_with(variant.and_then(|variant| match variant {
            Variant::Store(variant) => Some(variant),
            Variant::Namespace(_) => None,
        }));
        namespace::break_with(variant.and_then(|variant| match variant {
            Variant::Store(_) => None,
            Variant::Namespace(variant) => Some(variant),
        }));
    }

    pub fn chosen() -> Option<Variant> {
        CHOSEN.get()
    }

    pub fn variants() -> impl Iterator<Item = Variant> {
        let of_stores = store::VARIANTS.iter().copied().map(Variant::Store);
        of_stores.chain(namespace::VARIANTS.iter().copied().map(Variant::Namespace))
    }
}

#[cfg(feature = "broken")]
pub use chosen::{choose, chosen, variants};

/// There is nothing to choose.
#[cfg(not(feature = "broken"))]
#[derive(Clone, Copy)]
pub struct Unbroken;

#[cfg(not(feature = "broken"))]
pub fn choose(_: Unbroken) {}

#[cfg(not(feature = "broken"))]
pub fn chosen() -> Unbroken {
    Unbroken
}
