//! Where in a text is a mistake, and what is it? Byte offsets inside, lines and columns outside.
//!
//! A place is turned into a line and a column once, when the first mistake is reported, so that reading costs nothing.

use crate::SchemaError;

/// Longest piece of outside text that a message quotes, in characters.
const QUOTED_CHARS_MAX: usize = 60;

/// A byte of one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) at: u32,
}

/// Line and column, from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A mistake at a place.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    /// Counted from `place`; beyond the first character only inside a caveat's expression.
    pub(crate) inside: Position,
    pub(crate) message: String,
    pub(crate) is_type_error: bool,
    pub(crate) names: Vec<(&'static str, String)>,
}

impl Place {
    pub(crate) fn new(file: u32, at: usize) -> Place {
        // INVARIANT: texts are at most 4 MiB, so nothing is cut off.
        Place { file, at: u32::try_from(at).unwrap_or(u32::MAX) }
    }
}

impl Position {
    pub(crate) const START: Position = Position { line: 1, column: 1 };

    /// `inner`, which was counted from this position.
    pub(crate) fn then(self, inner: Position) -> Position {
        if inner.line <= 1 {
            Position { line: self.line, column: self.column + inner.column.saturating_sub(1) }
        } else {
            Position { line: self.line + inner.line - 1, column: inner.column }
        }
    }
}

impl Mistake {
    /// The text is not a schema.
    pub(crate) fn syntax(place: Place, message: String) -> Mistake {
        Mistake { place, inside: Position::START, message, is_type_error: false, names: Vec::new() }
    }

    /// The text is a schema that makes no sense.
    pub(crate) fn of_types(place: Place, message: String) -> Mistake {
        Mistake { place, inside: Position::START, message, is_type_error: true, names: Vec::new() }
    }

    /// What the mistake is about, by the keys that the API has for it.
    pub(crate) fn about(mut self, names: &[(&'static str, &str)]) -> Mistake {
        self.names.extend(names.iter().map(|(key, name)| (*key, (*name).to_owned())));
        self
    }

    pub(crate) fn at(self, text: &str) -> SchemaError {
        let position = position_of(text, self.place.at as usize).then(self.inside);
        SchemaError {
            line: position.line,
            column: position.column,
            message: self.message,
            is_type_error: self.is_type_error,
            names: self.names,
        }
    }
}

/// The position of byte `at` of `text`.
pub(crate) fn position_of(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or(text);
    let before = before.strip_prefix('\u{feff}').unwrap_or(before);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    Position {
        line: count(before.bytes().filter(|b| *b == b'\n').count()),
        column: count(before[line_start..].chars().count()),
    }
}

/// Outside text in a message: in backquotes and never long.
pub(crate) fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTED_CHARS_MAX {
        return format!("`{text}`");
    }
    format!("`{}…`", text.chars().take(QUOTED_CHARS_MAX).collect::<String>())
}
