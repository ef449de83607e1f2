//! How much may a namespace take, and each of its callers? What is kept in its metadata under reserved keys.
//!
//! ```text
//! idhini.quota.calls_per_second: "500"            of the namespace, with all below it
//! idhini.token_quota.concurrent_calls: "8"        of each caller, in the namespace and below it
//! idhini.audit: "decisions"                       whether decisions are audited
//! ```
//!
//! # Invariants
//! * No key that begins with `idhini.` is stored unless it is known here and its value can be read.
//! * Whose quotas these are cannot change them: that is for who administrates the namespace above.

use std::collections::BTreeMap;

/// What all reserved keys begin with.
pub const RESERVED: &str = "idhini.";
const OF_NAMESPACE: &str = "idhini.quota.";
const OF_CALLER: &str = "idhini.token_quota.";
/// Whether decisions are audited.
pub const AUDIT: &str = "idhini.audit";
/// Its one value.
pub const AUDIT_DECISIONS: &str = "decisions";
/// The highest rate, a second.
pub const RATE_MAX: u64 = 1_000_000_000;
/// The highest number of anything else.
pub const STOCK_MAX: u64 = 1_000_000_000_000_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QuotaKind {
    /// Calls that are begun, a second.
    Calls,
    /// Calls under way, watches aside.
    Concurrent,
    /// Edges that questions and readings visit, a second.
    Cost,
    /// Relationships that are stored.
    Relationships,
    /// Bytes of the log and of images.
    Disk,
    /// Watches under way.
    Watches,
}

/// Whose uses are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaOf {
    /// Of everybody who calls.
    Namespace,
    /// Of each caller by itself.
    Caller,
}

/// Limits, by kind; none of what is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas([Option<u64>; QuotaKind::ALL.len()]);

/// Why reserved metadata is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReservedError {
    /// No such key.
    #[error(
        "the metadata key `{key}` is not known: keys that begin with `{RESERVED}` are reserved; there are `{AUDIT}`, `{OF_NAMESPACE}NAME` and `{OF_CALLER}NAME` with the names {names}", names = names()
    )]
    UnknownKey {
        /// As asked.
        key: String,
    },
    /// What is stored belongs to a namespace.
    #[error("there is no `{key}`: what is stored is a namespace's and nobody's; set `{OF_NAMESPACE}{name}`", name = .kind.as_str())]
    NotOfCaller {
        /// As asked.
        key: String,
        /// What it names.
        kind: QuotaKind,
    },
    /// Not a number, or one that is none of the possible.
    #[error(
        "the metadata `{key}` is `{value}`, and takes a whole number from {min} to {max}; drop the key for no limit"
    )]
    Value {
        /// As asked.
        key: String,
        /// As asked, shortened.
        value: String,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Not how decisions can be audited.
    #[error(
        "the metadata `{AUDIT}` is `{value}`, and takes `{AUDIT_DECISIONS}`; drop the key to audit no decisions"
    )]
    Audit {
        /// As asked, shortened.
        value: String,
    },
}

impl ReservedError {
    /// The key that is wrong.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            ReservedError::UnknownKey { key }
            | ReservedError::NotOfCaller { key, .. }
            | ReservedError::Value { key, .. } => key,
            ReservedError::Audit { .. } => AUDIT,
        }
    }
}

impl QuotaKind {
    /// All of them.
    pub const ALL: [QuotaKind; 6] = [
        QuotaKind::Calls,
        QuotaKind::Concurrent,
        QuotaKind::Cost,
        QuotaKind::Relationships,
        QuotaKind::Disk,
        QuotaKind::Watches,
    ];

    /// As it is written behind `idhini.quota.`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            QuotaKind::Calls => "calls_per_second",
            QuotaKind::Concurrent => "concurrent_calls",
            QuotaKind::Cost => "cost_per_second",
            QuotaKind::Relationships => "relationships",
            QuotaKind::Disk => "disk_bytes",
            QuotaKind::Watches => "open_watches",
        }
    }

    /// Reads what [`QuotaKind::as_str`] gives.
    #[must_use]
    pub fn of(name: &str) -> Option<QuotaKind> {
        QuotaKind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether it counts what lies stored, and not what is done.
    #[must_use]
    pub fn is_stored(self) -> bool {
        matches!(self, QuotaKind::Relationships | QuotaKind::Disk)
    }

    /// What a limit may be. Of what is stored or watched there may be nothing; whoever is to make no calls is locked.
    fn bounds(self) -> (u64, u64) {
        match self {
            QuotaKind::Calls | QuotaKind::Cost => (1, RATE_MAX),
            QuotaKind::Concurrent => (1, STOCK_MAX),
            QuotaKind::Relationships | QuotaKind::Disk | QuotaKind::Watches => (0, STOCK_MAX),
        }
    }
}

fn names() -> String {
    QuotaKind::ALL.map(QuotaKind::as_str).join(", ")
}

impl Quotas {
    /// Of a namespace's metadata.
    ///
    /// # Errors
    /// [`ReservedError`], which nothing that was stored by the rules is.
    pub fn of(metadata: &BTreeMap<String, String>, whose: QuotaOf) -> Result<Quotas, ReservedError> {
        let prefix = match whose {
            QuotaOf::Namespace => OF_NAMESPACE,
            QuotaOf::Caller => OF_CALLER,
        };
        let mut quotas = Quotas::default();
        for (key, value) in metadata.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix))
        {
            if let Some((_, kind, max)) = read(key, value)? {
                quotas.set(kind, Some(max));
            }
        }
        Ok(quotas)
    }

    /// Limits one kind, or no longer.
    pub fn set(&mut self, kind: QuotaKind, max: Option<u64>) {
        if let Some(at) = self.0.get_mut(kind as usize) {
            *at = max;
        }
    }

    /// The most of a kind.
    #[must_use]
    pub fn max(&self, kind: QuotaKind) -> Option<u64> {
        self.0.get(kind as usize).copied().flatten()
    }

    /// Whether nothing is limited of what is stored, or of what is done.
    #[must_use]
    pub fn are_none(&self, is_stored: bool) -> bool {
        QuotaKind::ALL.into_iter().all(|kind| kind.is_stored() != is_stored || self.max(kind).is_none())
    }
}

/// Whether it takes the namespace above to change this.
pub(super) fn is_from_above(key: &str) -> bool {
    key.starts_with(OF_NAMESPACE) || key.starts_with(OF_CALLER)
}

/// Refuses metadata that is reserved and not as it must be.
pub(super) fn expect(metadata: &BTreeMap<String, String>) -> Result<(), ReservedError> {
    let reserved = metadata.range(RESERVED.to_owned()..).take_while(|(key, _)| key.starts_with(RESERVED));
    for (key, value) in reserved {
        read(key, value)?;
    }
    Ok(())
}

/// What one reserved key says; nothing of quotas if it is `idhini.audit`.
fn read(key: &str, value: &str) -> Result<Option<(QuotaOf, QuotaKind, u64)>, ReservedError> {
    if key == AUDIT {
        return match value {
            AUDIT_DECISIONS => Ok(None),
            other => Err(ReservedError::Audit { value: shortened(other) }),
        };
    }
    let of_namespace = key.strip_prefix(OF_NAMESPACE).map(|name| (QuotaOf::Namespace, name));
    let of_caller = || key.strip_prefix(OF_CALLER).map(|name| (QuotaOf::Caller, name));
    let named = of_namespace.or_else(of_caller);
    let Some((whose, kind)) = named.and_then(|(whose, name)| Some((whose, QuotaKind::of(name)?))) else {
        return Err(ReservedError::UnknownKey { key: shortened(key) });
    };
    if whose == QuotaOf::Caller && kind.is_stored() {
        return Err(ReservedError::NotOfCaller { key: key.to_owned(), kind });
    }
    let (min, max) = kind.bounds();
    let is_plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| is_plain && (min..=max).contains(number));
    match number {
        Some(number) => Ok(Some((whose, kind, number))),
        None => Err(ReservedError::Value { key: key.to_owned(), value: shortened(value), min, max }),
    }
}

/// Of what somebody wrote, as much as an error repeats.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    let mut escaped = text.escape_default().to_string();
    escaped.truncate(CHARACTERS_MAX);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn quotas_are_read_from_their_keys_and_others_are_left_alone() {
        let metadata = metadata(&[
            ("idhini.quota.calls_per_second", "500"),
            ("idhini.quota.open_watches", "0"),
            ("idhini.token_quota.concurrent_calls", "8"),
            ("idhini.audit", "decisions"),
            ("idhinix", "anything"),
            ("owner", "team a"),
        ]);
        expect(&metadata).unwrap();
        let own = Quotas::of(&metadata, QuotaOf::Namespace).unwrap();
        let of_caller = Quotas::of(&metadata, QuotaOf::Caller).unwrap();
        for kind in QuotaKind::ALL {
            let (one, other) = match kind {
                QuotaKind::Calls => (Some(500), None),
                QuotaKind::Watches => (Some(0), None),
                QuotaKind::Concurrent => (None, Some(8)),
                _ => (None, None),
            };
            assert_eq!((own.max(kind), of_caller.max(kind)), (one, other), "{kind:?}");
        }
        assert!(own.are_none(true) && !own.are_none(false));
    }

    #[test]
    fn what_is_reserved_and_wrong_is_refused_by_its_key() {
        for (key, value) in [
            ("idhini.", ""),
            ("idhini.quota", "1"),
            ("idhini.quota.", "1"),
            ("idhini.quota.calls", "1"),
            ("idhini.quotas.relationships", "1"),
            ("idhini.quota.calls_per_second", "0"),
            ("idhini.quota.calls_per_second", "1000000001"),
            ("idhini.quota.cost_per_second", ""),
            ("idhini.quota.relationships", "-1"),
            ("idhini.quota.relationships", "+1"),
            ("idhini.quota.relationships", "1e3"),
            ("idhini.quota.disk_bytes", "99999999999999999999999"),
            ("idhini.token_quota.relationships", "5"),
            ("idhini.token_quota.disk_bytes", "5"),
            ("idhini.audit", "everything"),
            ("idhini.Audit", "decisions"),
        ] {
            let error = expect(&metadata(&[("a", "b"), (key, value)])).unwrap_err();
            assert_eq!(error.key(), key, "{value}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
