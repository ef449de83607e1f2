//! What is a namespace called? `team_a/subteam_b`, names from the top down; the empty path is `root`.
//!
//! # Invariants
//! * A namespace has one spelling: nothing is folded, decoded or normalised, so that no two names can be taken for one.

use std::fmt;
use std::str::FromStr;

/// The name of the namespace above all others, in what is asked and answered; its path is empty.
pub const ROOT: &str = "root";
/// Longest name of one namespace, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 320;
/// Most names of a path.
pub const DEPTH_MAX: usize = 16;
/// Names that a namespace cannot have, however they are spelled.
const RESERVED: [&str; 5] = [ROOT, "sys", "audit", "auth", "identity"];

/// A namespace's path. Never has a leading, trailing or double `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NamespacePath(String);

/// Why a text is not a namespace's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing between two `/`.
    #[error("`{path}` has an empty name; write names separated by single `/`, such as `team_a/subteam_b`")]
    EmptyName {
        /// As asked, shortened.
        path: String,
    },
    /// A name that has a meaning of its own.
    #[error(
        "`{name}` cannot be the name of a namespace: `.`, `..`, root, sys, audit, auth and identity are reserved"
    )]
    Reserved {
        /// As asked.
        name: String,
    },
    /// A character that names do not have.
    #[error(
        "the namespace name `{name}` has a character that names do not have: use letters A-Z a-z, digits and ASCII punctuation other than `+`, `*`, `/` and `\\`; no spaces"
    )]
    Character {
        /// As asked, escaped and shortened.
        name: String,
    },
    /// Too long or too deep.
    #[error(
        "the namespace path is too long: at most {NAME_BYTES_MAX} bytes a name, {PATH_BYTES_MAX} in all, {DEPTH_MAX} names"
    )]
    TooLong,
}

impl NamespacePath {
    /// The path of the namespace above all others.
    #[must_use]
    pub fn root() -> NamespacePath {
        NamespacePath::default()
    }

    /// Whether this is the namespace above all others.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// As it is stored; empty for `root`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name; `root` has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The namespace that this one is directly in; `None` for `root`.
    #[must_use]
    pub fn parent(&self) -> Option<NamespacePath> {
        if self.is_root() {
            return None;
        }
        Some(NamespacePath(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }

    /// Those above, from the nearest to `root`.
    pub fn ancestors(&self) -> impl Iterator<Item = NamespacePath> {
        std::iter::successors(self.parent(), NamespacePath::parent)
    }

    /// Whether `other` is this namespace or below it.
    #[must_use]
    pub fn holds(&self, other: &NamespacePath) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        rest.is_some_and(|rest| self.is_root() || rest.is_empty() || rest.starts_with('/'))
    }

    /// The path of what is called `relative` inside of this namespace.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn join(&self, relative: &NamespacePath) -> Result<NamespacePath, PathError> {
        match (self.is_root(), relative.is_root()) {
            (true, _) => Ok(relative.clone()),
            (_, true) => Ok(self.clone()),
            _ => format!("{}/{}", self.0, relative.0).parse(),
        }
    }
}

impl FromStr for NamespacePath {
    type Err = PathError;

    /// Reads a path; `root` and the empty text are the namespace above all others.
    fn from_str(text: &str) -> Result<NamespacePath, PathError> {
        if text.is_empty() || text == ROOT {
            return Ok(NamespacePath::root());
        }
        if text.len() > PATH_BYTES_MAX || text.split('/').count() > DEPTH_MAX {
            return Err(PathError::TooLong);
        }
        for name in text.split('/') {
            good(name, text)?;
        }
        Ok(NamespacePath(text.to_owned()))
    }
}

fn good(name: &str, path: &str) -> Result<(), PathError> {
    if name.is_empty() {
        return Err(PathError::EmptyName { path: path.escape_default().to_string() });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '*' | '\\');
    if !name.chars().all(fits) {
        return Err(PathError::Character { name: name.escape_default().to_string() });
    }
    if matches!(name, "." | "..") || RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(PathError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

impl fmt::Display for NamespacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { ROOT } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_they_are_or_not_at_all() {
        for good in
            ["team_a", "team_a/subteam_b/division_c", "Team-A", "a.b", "a=b", "@x", "rooted", "x/sysops"]
        {
            let path: NamespacePath = good.parse().unwrap();
            assert_eq!(path.to_string(), good);
        }
        for bad in [
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/..",
            "sys",
            "a/Root",
            "AUDIT/b",
            "auth",
            "identity",
            "a b",
            "a+b",
            "a*",
            "a\\b",
            "a\u{0}",
            "a\n",
            "\u{e9}",
            "\u{ff41}",
            "a\u{200b}",
            "\u{7f}",
        ] {
            assert!(bad.parse::<NamespacePath>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(NAME_BYTES_MAX + 1).parse::<NamespacePath>().is_err());
        assert!(["a"; DEPTH_MAX + 1].join("/").parse::<NamespacePath>().is_err());
        assert_eq!("root".parse::<NamespacePath>().unwrap(), NamespacePath::root());
        assert_eq!("".parse::<NamespacePath>().unwrap().to_string(), "root");
    }

    #[test]
    fn what_is_above_and_below() {
        let path = |text: &str| text.parse::<NamespacePath>().unwrap();
        let above: Vec<String> = path("a/b/c").ancestors().map(|a| a.to_string()).collect();
        assert_eq!(above, ["a/b", "a", "root"]);
        assert!(
            path("a").holds(&path("a/b")) && path("a").holds(&path("a")) && path("root").holds(&path("a"))
        );
        assert!(!path("a").holds(&path("ab")) && !path("a/b").holds(&path("a")));
        assert_eq!(path("a").join(&path("b/c")).unwrap(), path("a/b/c"));
        assert_eq!(path("a").join(&path("root")).unwrap(), path("a"));
        assert_eq!(path("a/b").name(), "b");
    }
}
