//! What is wrong with a configuration, where, and what helps?

use std::fmt;
use std::path::Path;

use super::table::Setting;
use super::{Origin, place_in};

/// How far a name may be from the one that is proposed for it, in letters changed.
const SUGGESTED_DISTANCE_MAX: usize = 3;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// A flag, a variable, or a file with line and column.
    at: String,
    what: String,
    remedy: String,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one = self.0.len() == 1;
        if !is_one {
            write!(f, "{} mistakes in the configuration", self.0.len())?;
        }
        for Mistake { at, what, remedy } in &self.0 {
            write!(f, "{}{at}: {what}; {remedy}", if is_one { "" } else { "\n  " })?;
        }
        Ok(())
    }
}

impl Mistake {
    pub(super) fn new(at: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Mistake {
        Mistake { at: at.into(), what: what.into(), remedy: remedy.into() }
    }

    /// A value that its setting does not take.
    pub(super) fn of_value(setting: &Setting, origin: &Origin, what: &str) -> Mistake {
        let what = match origin {
            Origin::File { .. } => format!("`{}`: {what}", setting.name),
            _ => what.to_owned(),
        };
        Mistake::new(origin.place(setting), what, setting.kind.remedy())
    }

    pub(super) fn in_file(
        (path, line, column): (&Path, usize, usize),
        what: String,
        remedy: String,
    ) -> Mistake {
        Mistake::new(place_in(path, line, column), what, remedy)
    }
}

/// What may have been meant by a name that nobody knows.
pub(super) fn suggestion(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let near = known.map(|known| (strsim::damerau_levenshtein(name, &known), known));
    let nearest = near.min_by_key(|(distance, _)| *distance);
    // A short name is near to every other.
    nearest
        .filter(|(distance, _)| *distance <= SUGGESTED_DISTANCE_MAX.min(name.len() / 3))
        .map(|(_, name)| name)
}
