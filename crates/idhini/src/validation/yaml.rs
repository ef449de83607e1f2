//! YAML as a tree that knows its lines.
//!
//! # Invariants
//! * The tree is no deeper than [`DEPTH_MAX`], and aliases are refused: what a small file says stays small.

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};

/// Deepest nesting taken.
const DEPTH_MAX: usize = 32;

/// A node, and the line that it begins in, from 1.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// What is wrong with the text, and in which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    /// Where in the line, from 1, if that is known.
    pub(super) column: Option<usize>,
    pub(super) message: String,
}

impl Mistake {
    pub(super) fn at(line: usize, message: impl Into<String>) -> Mistake {
        Mistake { line, column: None, message: message.into() }
    }
}

impl From<ScanError> for Mistake {
    fn from(error: ScanError) -> Mistake {
        Mistake::at(error.marker().line(), format!("not YAML: {}", error.info()))
    }
}

/// The one document of a text; nothing if the text has none.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Mistake> {
    let mut events = Events(Parser::new_from_str(text));
    let mut found = None;
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => return Ok(found),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if found.is_some() => {
                return Err(Mistake::at(
                    span.start.line(),
                    "a second document: write it to a file of its own",
                ));
            }
            event => found = Some(events.node(event, span, 0)?),
        }
    }
}

struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.0.next_event() {
            Some(event) => Ok(event?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The node that an event begins. Recursion is bounded by `DEPTH_MAX`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        let line = span.start.line();
        if depth > DEPTH_MAX {
            return Err(Mistake::at(line, format!("nested deeper than {DEPTH_MAX}")));
        }
        let value = match event {
            Event::Scalar(text, ..) => Value::Scalar(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        break Value::Sequence(items);
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break Value::Mapping(entries);
                    }
                    let key = self.node(event, span, depth + 1)?;
                    let (event, span) = self.next()?;
                    entries.push((key, self.node(event, span, depth + 1)?));
                }
            }
            Event::Alias(_) => return Err(Mistake::at(line, "an alias: write out what it stands for")),
            _ => return Err(Mistake::at(line, "the text ends too early")),
        };
        Ok(Node { line, value })
    }
}
