//! Which words is an expression made of? CEL's tokens, each with its place.
//!
//! Cost: one pass over the text. Nothing here recurses.
//! Source: the CEL language definition, section "Syntax".

use crate::CompileError;
use crate::tree::Literal;

/// Most characters of an expression.
pub(crate) const EXPRESSION_CHARS_MAX: usize = 100_000;

/// Names that CEL keeps for later; they may stand after a dot only.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Operators and brackets, the longer ones first.
const SYMBOLS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "[", "]", "{", "}", "(", ")", ".", ",", "-", "+", "*", "/", "%", "?",
    ":", "!", "<", ">", "=", "&",
];

/// A token's meaning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    Name,
    /// A name that stands for nothing but itself: `if`, `for`.
    Reserved,
    In,
    Literal(Literal),
    /// A decimal or hexadecimal integer without its sign, which belongs to the literal.
    Integer(u64),
    Symbol(&'static str),
    End,
}

/// A token and the bytes it takes in the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) word: Word,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// An error at a byte offset of `text`.
pub(crate) fn error_at(text: &str, at: usize, message: impl Into<String>) -> CompileError {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let whole = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    CompileError { line: whole(line), column: whole(column), message: message.into() }
}

/// Splits `text` into tokens; the last is [`Word::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, CompileError> {
    if text.len() > EXPRESSION_CHARS_MAX
        && let Some((at, _)) = text.char_indices().nth(EXPRESSION_CHARS_MAX)
    {
        return Err(error_at(
            text,
            at,
            format!(
                "the expression is longer than {EXPRESSION_CHARS_MAX} characters; split the caveat in two"
            ),
        ));
    }
    let mut lexer = Lexer { text, bytes: text.as_bytes(), at: 0 };
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let word = lexer.word()?;
        let done = word == Word::End;
        tokens.push(Token { word, start: offset(start), end: offset(lexer.at) });
        if done {
            return Ok(tokens);
        }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
}

impl<'t> Lexer<'t> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error<T>(&self, at: usize, message: impl Into<String>) -> Result<T, CompileError> {
        Err(error_at(self.text, at, message))
    }

    /// Whitespace and `//` comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.at += 1,
                b'/' if self.peek(1) == b'/' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    fn word(&mut self) -> Result<Word, CompileError> {
        if self.at == self.bytes.len() {
            return Ok(Word::End);
        }
        let byte = self.peek(0);
        if let Some(word) = self.quoted()? {
            return Ok(word);
        }
        if byte.is_ascii_alphabetic() || byte == b'_' {
            return Ok(self.name());
        }
        if byte.is_ascii_digit() || (byte == b'.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        let rest = &self.text[self.at..];
        match SYMBOLS.into_iter().find(|s| rest.starts_with(s)) {
            Some("=") => self.error(self.at, "`=` is not an operator; to compare, write `==`"),
            Some("&") => self.error(self.at, "`&` is not an operator; for a conjunction, write `&&`"),
            Some(symbol) => {
                self.at += symbol.len();
                Ok(Word::Symbol(symbol))
            }
            None if byte == b'|' => {
                self.error(self.at, "`|` is not an operator; for a disjunction, write `||`")
            }
            None => {
                let character = rest.chars().next().unwrap_or_default();
                self.error(
                    self.at,
                    format!("`{}` has no meaning in a caveat expression", character.escape_default()),
                )
            }
        }
    }

    fn name(&mut self) -> Word {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == b'_' {
            self.at += 1;
        }
        match &self.text[start..self.at] {
            "true" => Word::Literal(Literal::Bool(true)),
            "false" => Word::Literal(Literal::Bool(false)),
            "null" => Word::Literal(Literal::Null),
            "in" => Word::In,
            name if RESERVED.contains(&name) => Word::Reserved,
            _ => Word::Name,
        }
    }

    fn digits(&mut self, accept: fn(&u8) -> bool) -> usize {
        let start = self.at;
        while accept(&self.peek(0)) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Word, CompileError> {
        let start = self.at;
        if self.peek(0) == b'0' && self.peek(1) == b'x' && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            self.digits(u8::is_ascii_hexdigit);
            return self.integer(start, &self.text[start + 2..self.at], 16);
        }
        let whole = self.digits(u8::is_ascii_digit);
        let mut double = whole == 0;
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            double = true;
            self.at += 1;
            self.digits(u8::is_ascii_digit);
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                double = true;
                self.at += 1 + sign;
                self.digits(u8::is_ascii_digit);
            }
        }
        let text = &self.text[start..self.at];
        if !double {
            return self.integer(start, text, 10);
        }
        self.end_of_number(start)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Word::Literal(Literal::Double(value))),
            _ => self.error(start, "this number is too large for a double"),
        }
    }

    fn integer(&mut self, start: usize, digits: &str, radix: u32) -> Result<Word, CompileError> {
        let value = u64::from_str_radix(digits, radix);
        let unsigned = matches!(self.peek(0), b'u' | b'U');
        self.at += usize::from(unsigned);
        self.end_of_number(start)?;
        match value {
            Ok(value) if unsigned => Ok(Word::Literal(Literal::Uint(value))),
            Ok(value) => Ok(Word::Integer(value)),
            Err(_) => {
                self.error(start, "this number is too large for 64 bits; write a double such as `1e30`")
            }
        }
    }

    fn end_of_number(&self, start: usize) -> Result<(), CompileError> {
        if self.peek(0).is_ascii_alphanumeric() || self.peek(0) == b'_' {
            return self
                .error(start, "a number ends where a name begins; put an operator or a space between them");
        }
        Ok(())
    }

    /// A string or bytes literal, if one begins here.
    fn quoted(&mut self) -> Result<Option<Word>, CompileError> {
        let start = self.at;
        let (mut raw, mut bytes, mut ahead) = (false, false, 0);
        // At most one `b`, then at most one `r`.
        if matches!(self.peek(ahead), b'b' | b'B') {
            (bytes, ahead) = (true, ahead + 1);
        }
        if matches!(self.peek(ahead), b'r' | b'R') {
            (raw, ahead) = (true, ahead + 1);
        }
        let quote = self.peek(ahead);
        if !matches!(quote, b'"' | b'\'') {
            return Ok(None);
        }
        let triple = self.peek(ahead + 1) == quote && self.peek(ahead + 2) == quote;
        let width = if triple { 3 } else { 1 };
        self.at += ahead + width;
        let from = self.at;
        let closes = |l: &Lexer<'t>| (0..width).all(|i| l.peek(i) == quote);
        while !closes(self) {
            match self.peek(0) {
                _ if self.at >= self.bytes.len() => return self.error(start, "this string is never closed"),
                b'\n' | b'\r' if !triple => {
                    return self.error(
                        start,
                        "this string is not closed on its line; write `\\n`, or use three quotes on each side",
                    );
                }
                b'\\' if !raw => self.at += 2,
                _ => self.at += 1,
            }
        }
        let to = self.at.min(self.bytes.len());
        self.at += width;
        let value = self.unescape(from, to, raw, bytes)?;
        if bytes {
            return Ok(Some(Word::Literal(Literal::Bytes(value.into()))));
        }
        match String::from_utf8(value) {
            Ok(text) => Ok(Some(Word::Literal(Literal::String(text.into())))),
            Err(_) => self.error(start, "this string is not UTF-8"),
        }
    }

    /// The value of `text[from..to]`; line ends are read as `\n`.
    fn unescape(&self, from: usize, to: usize, raw: bool, bytes: bool) -> Result<Vec<u8>, CompileError> {
        let mut value = Vec::with_capacity(to - from);
        let mut at = from;
        while at < to {
            let byte = self.bytes[at];
            if byte == b'\r' {
                value.push(b'\n');
                at += if self.bytes.get(at + 1) == Some(&b'\n') { 2 } else { 1 };
            } else if byte != b'\\' || raw {
                value.push(byte);
                at += 1;
            } else {
                at = self.escape(at, bytes, &mut value)?;
            }
        }
        Ok(value)
    }

    /// Reads the escape that begins at `at`; answers where it ends.
    fn escape(&self, at: usize, bytes: bool, value: &mut Vec<u8>) -> Result<usize, CompileError> {
        let code = self.bytes.get(at + 1).copied().unwrap_or(0);
        let (digits_at, count, radix) = match code {
            b'x' | b'X' => (at + 2, 2, 16),
            b'u' if !bytes => (at + 2, 4, 16),
            b'U' if !bytes => (at + 2, 8, 16),
            b'0'..=b'3' => (at + 1, 3, 8),
            _ => {
                const NAMED: &[(u8, u8)] = &[
                    (b'a', 7),
                    (b'b', 8),
                    (b'f', 12),
                    (b'n', 10),
                    (b'r', 13),
                    (b't', 9),
                    (b'v', 11),
                    (b'\\', b'\\'),
                    (b'?', b'?'),
                    (b'"', b'"'),
                    (b'\'', b'\''),
                    (b'`', b'`'),
                ];
                return match NAMED.iter().find(|(name, _)| *name == code) {
                    Some((_, byte)) => {
                        value.push(*byte);
                        Ok(at + 2)
                    }
                    None => self.error(
                        at,
                        "this escape has no meaning; write `\\\\` for a backslash, or a raw string such as r\"\\d\"",
                    ),
                };
            }
        };
        let end = digits_at + count;
        let number = self.text.get(digits_at..end).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match number.and_then(|d| u32::from_str_radix(d, radix).ok()) {
            Some(number) if bytes => value.push(u8::try_from(number).unwrap_or(u8::MAX)),
            Some(number) => match char::from_u32(number) {
                Some(character) => value.extend(character.encode_utf8(&mut [0; 4]).bytes()),
                None => return self.error(at, "this escape is not a Unicode character"),
            },
            None => return self.error(at, format!("this escape needs {count} digits")),
        }
        Ok(end)
    }
}
