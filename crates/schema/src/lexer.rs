//! Which words, signs and comments does a schema text consist of?
//!
//! Bytes from outside: a character that belongs to nothing is a mistake with a place, never a panic. A caveat's body is
//! not the schema's language, so it is cut out whole, between its braces, with strings and comments respected.
//!
//! Cost: O(text); one token is alive at a time.

use crate::comment;
use crate::mistake::{Mistake, Place, Position, position_of};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Letters, digits and `_`; keywords too, since some of them are keywords only under a `use` flag.
    Word,
    /// `"…"` or `'…'` on one line.
    Quoted,
    /// One of the language's signs, such as `->`.
    Sign(&'static str),
    /// The text is over.
    End,
}

/// One token and the comments before it.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    /// Whether a newline stands between this token and the one before.
    pub(crate) after_newline: bool,
    pub(crate) comments: Vec<Comment>,
}

/// One comment in canonical form.
#[derive(Debug)]
pub(crate) struct Comment {
    pub(crate) text: String,
    /// Whether it closes the line of the token before, and so speaks of that.
    pub(crate) is_trailing: bool,
}

/// A caveat's expression as it stands between the braces.
#[derive(Debug)]
pub(crate) struct Body {
    /// Comments are blanked, so that places stay true.
    pub(crate) text: String,
    /// One past the opening brace.
    pub(crate) at: usize,
    /// Line and column of `text`, counted from there.
    pub(crate) inside: Position,
    pub(crate) comments: Vec<String>,
}

/// Longer signs first.
const SIGNS: [&str; 20] =
    ["...", "->", "{", "}", "(", ")", "|", ":", ";", "#", "*", "=", "+", "&", "-", ".", ",", "/", "<", ">"];

pub(crate) struct Lexer<'a> {
    text: &'a str,
    file: u32,
    at: usize,
}

/// What was skipped before a token.
#[derive(Default)]
struct Skipped {
    found: Vec<(String, usize, bool)>,
    last_newline_at: Option<usize>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str, file: u32) -> Lexer<'a> {
        // Editors of some systems put a byte order mark first; it means nothing in UTF-8.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer { text, file, at }
    }

    pub(crate) fn next_token(&mut self) -> Result<Token<'a>, Mistake> {
        let skipped = self.skip()?;
        let at = self.at;
        let rest = &self.text[at..];
        let (kind, length) = match rest.chars().next() {
            None => (TokenKind::End, 0),
            Some(c) if is_word(c) => {
                (TokenKind::Word, rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()))
            }
            Some(quote @ ('"' | '\'')) => (TokenKind::Quoted, self.quoted_length(rest, quote)?),
            Some(c) => match SIGNS.iter().find(|s| rest.starts_with(**s)) {
                Some(sign) => (TokenKind::Sign(sign), sign.len()),
                None => return Err(self.mistake(at, unknown_character(c))),
            },
        };
        self.at = at + length;
        let comments = skipped
            .found
            .into_iter()
            .map(|(text, end, on_line_of_previous)| Comment {
                text,
                is_trailing: on_line_of_previous
                    && (kind == TokenKind::End || skipped.last_newline_at.is_some_and(|n| n >= end)),
            })
            .collect();
        let after_newline = skipped.last_newline_at.is_some();
        Ok(Token { kind, text: &rest[..length], at, after_newline, comments })
    }

    /// Cuts out a caveat's body. `open` is the place of its `{`, which was the last token read.
    pub(crate) fn body(&mut self, open: usize) -> Result<Body, Mistake> {
        let start = open + 1;
        let bytes = self.text.as_bytes();
        let mut blanked = String::new();
        let mut comments = Vec::new();
        let (mut at, mut copied, mut depth) = (start, start, 0_u32);
        while at < bytes.len() {
            match bytes[at] {
                b'{' => depth += 1,
                b'}' if depth == 0 => {
                    blanked.push_str(&self.text[copied..at]);
                    self.at = at + 1;
                    return Ok(trimmed(&blanked, start, comments));
                }
                b'}' => depth -= 1,
                b'\'' | b'"' => {
                    at = self.string_end(at, start)?;
                    continue;
                }
                b'/' if matches!(bytes.get(at + 1), Some(b'/' | b'*')) => {
                    let end = self.comment_end(at)?;
                    comments.push(comment::canonical(&self.text[at..end]));
                    blanked.push_str(&self.text[copied..at]);
                    // One blank per character, so that columns stay true.
                    blanked.extend(self.text[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                    (at, copied) = (end, end);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        Err(self
            .mistake(open, "this `{` of a caveat is never closed: expected `}` after the expression".into()))
    }

    fn mistake(&self, at: usize, message: String) -> Mistake {
        Mistake::syntax(Place::new(self.file, at), message)
    }

    fn skip(&mut self) -> Result<Skipped, Mistake> {
        let bytes = self.text.as_bytes();
        let mut skipped = Skipped::default();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'\n' => skipped.last_newline_at = Some(self.at),
                b' ' | b'\t' | b'\r' => {}
                b'/' if matches!(bytes.get(self.at + 1), Some(b'/' | b'*')) => {
                    let end = self.comment_end(self.at)?;
                    let text = &self.text[self.at..end];
                    let on_line_of_previous = skipped.last_newline_at.is_none();
                    skipped.found.push((comment::canonical(text), end, on_line_of_previous));
                    if text.contains('\n') {
                        skipped.last_newline_at = Some(end - 1);
                    }
                    self.at = end;
                    continue;
                }
                _ => break,
            }
            self.at += 1;
        }
        Ok(skipped)
    }

    /// One past the comment that starts at `at`; a line comment ends before its newline.
    fn comment_end(&self, at: usize) -> Result<usize, Mistake> {
        let rest = &self.text[at..];
        if rest.starts_with("//") {
            return Ok(at + rest.find('\n').unwrap_or(rest.len()));
        }
        match rest[2..].find("*/") {
            Some(length) => Ok(at + 2 + length + 2),
            None => Err(self.mistake(at, "this comment is never closed: expected `*/`".into())),
        }
    }

    fn quoted_length(&self, rest: &str, quote: char) -> Result<usize, Mistake> {
        let inside = &rest[1..];
        match inside.find([quote, '\n']) {
            Some(length) if inside.as_bytes()[length] != b'\n' => Ok(length + 2),
            _ => Err(self
                .mistake(self.at, format!("this string is never closed: expected {quote} on the same line"))),
        }
    }

    /// One past the expression language's string that starts at `at`; backslashes escape unless it is raw.
    fn string_end(&self, at: usize, start: usize) -> Result<usize, Mistake> {
        let bytes = self.text.as_bytes();
        let before = |n: usize| (at >= start + n).then(|| bytes[at - n].to_ascii_lowercase());
        let is_raw = before(1) == Some(b'r') || (before(1) == Some(b'b') && before(2) == Some(b'r'));
        let quote = bytes[at];
        let is_triple = bytes[at..].starts_with(&[quote; 3]);
        let length = if is_triple { 3 } else { 1 };
        let mut end = at + length;
        while end < bytes.len() {
            match bytes[end] {
                b'\\' if !is_raw => end += 1,
                b'\n' if !is_triple => break,
                byte if byte == quote && (!is_triple || bytes[end..].starts_with(&[quote; 3])) => {
                    return Ok(end + length);
                }
                _ => {}
            }
            end += 1;
        }
        let quotes = char::from(quote).to_string().repeat(length);
        Err(self.mistake(at, format!("this string is never closed: expected {quotes}")))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn unknown_character(c: char) -> String {
    if c.is_control() || c.is_whitespace() {
        format!("the character U+{:04X} has no meaning in a schema: remove it", u32::from(c))
    } else {
        format!("`{c}` has no meaning in a schema: remove it")
    }
}

fn trimmed(body: &str, at: usize, comments: Vec<String>) -> Body {
    let text = body.trim_start();
    let blank = &body[..body.len() - text.len()];
    Body { text: text.trim_end().to_owned(), at, inside: position_of(blank, blank.len()), comments }
}
