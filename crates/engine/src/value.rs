//! Which values can an answer take, and how do they combine?
//!
//! Three values, no < conditional < has, and pairs of bounds on them: what is known of a value while something it
//! rests on is unfinished, failed or undefined. All operators work on both bounds, so one algebra serves them all.

/// What a subject has of a permission. Ordered: no < conditional < has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permissionship {
    /// The subject lacks the permission.
    No,
    /// The subject has the permission if the missing context says so.
    Conditional,
    /// The subject has the permission.
    Has,
}

impl Permissionship {
    /// Every value, in order.
    pub const ALL: [Permissionship; 3] =
        [Permissionship::No, Permissionship::Conditional, Permissionship::Has];

    /// no ↔ has; conditional stays.
    #[must_use]
    pub fn negated(self) -> Permissionship {
        match self {
            Permissionship::No => Permissionship::Has,
            Permissionship::Conditional => Permissionship::Conditional,
            Permissionship::Has => Permissionship::No,
        }
    }
}

/// Bounds on a value; a *point* when both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: Permissionship,
    pub(crate) high: Permissionship,
}

impl Bounds {
    pub(crate) const NO: Bounds = Bounds::point(Permissionship::No);
    pub(crate) const CONDITIONAL: Bounds = Bounds::point(Permissionship::Conditional);
    pub(crate) const HAS: Bounds = Bounds::point(Permissionship::Has);
    pub(crate) const UNKNOWN: Bounds = Bounds { low: Permissionship::No, high: Permissionship::Has };

    pub(crate) const fn point(value: Permissionship) -> Bounds {
        Bounds { low: value, high: value }
    }

    pub(crate) fn is_point(self) -> bool {
        self.low == self.high
    }

    pub(crate) fn or(self, other: Bounds) -> Bounds {
        Bounds { low: self.low.max(other.low), high: self.high.max(other.high) }
    }

    pub(crate) fn and(self, other: Bounds) -> Bounds {
        Bounds { low: self.low.min(other.low), high: self.high.min(other.high) }
    }

    pub(crate) fn negated(self) -> Bounds {
        Bounds { low: self.high.negated(), high: self.low.negated() }
    }
}
