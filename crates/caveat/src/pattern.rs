//! Does a text match a pattern of RE2?
//!
//! CEL's `matches` speaks RE2's language. The `regex` crate has the same guarantee of linear time, and nearly the
//! same language; this module writes an RE2 pattern in the crate's words where they differ: `\d \w \s \b` are ASCII,
//! a bracket inside a class is a character, `&&`, `--` and `~~` are nothing special, `\Q…\E` quotes, `\123` is octal.
//!
//! Compiling may take a thousand times the memory and time of the pattern's length. A pattern that stands in an
//! expression is kept with it only if it is small ([`Pattern::literal`]), so that a schema takes memory and time in
//! proportion to its text; all others are compiled when they are used, and the last of them kept by each thread.
//!
//! # Invariants
//! * What a use is charged does not depend on what a thread has kept.
//!
//! Cost: one pass over the pattern; compiling is bounded by [`COMPILED_BYTES_MAX`] and [`REPEAT_MAX`].

use std::cell::RefCell;
use std::collections::VecDeque;

use regex::bytes::{Regex, RegexBuilder};

use crate::budget::{Budget, Exhausted};

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 16_384;
/// Most memory that a compiled pattern may take, and again for its search tables.
const COMPILED_BYTES_MAX: usize = 1 << 18;
/// Memory that a small pattern takes, and more for each byte of it.
const SMALL_BYTES: usize = 2_048;
const SMALL_BYTES_PER_BYTE: usize = 256;
/// Memory for the search tables of a small pattern.
const SMALL_TABLE_BYTES_MAX: usize = 65_536;
/// Compiled patterns that a thread keeps.
const THREAD_PATTERNS_MAX: usize = 8;
/// Most repetitions that `{n,m}` may ask for.
const REPEAT_MAX: u32 = 1_000;
/// Deepest nesting of groups.
const GROUP_DEPTH_MAX: u32 = 200;
/// Steps that compiling a small pattern costs, and more for each byte.
const SMALL_STEPS: u64 = 500;
const SMALL_STEPS_PER_BYTE: u64 = 64;
/// Steps that compiling a large pattern costs on top.
const LARGE_STEPS: u64 = 50_000;

const DIGIT: &str = "0-9";
const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = "\\t\\n\\x0C\\r ";

thread_local! {
    /// Patterns that this thread used last, the latest in front. A memory of answers that are always the same.
    static RECENT: RefCell<VecDeque<Pattern>> = const { RefCell::new(VecDeque::new()) };
}

/// A compiled pattern; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    source: Box<str>,
    /// Whether it takes more memory than small patterns do.
    large: bool,
}

impl Pattern {
    /// Checks a pattern that stands in an expression, and compiles it if that is cheap.
    pub(crate) fn literal(source: &str) -> Result<Option<Pattern>, String> {
        // Unicode classes and folding take hundreds of times as long as other patterns, small or not.
        if ["\\p", "\\P", "(?i"].iter().any(|dear| source.contains(dear)) {
            return translate(source).map(|_| None);
        }
        match Pattern::build(source, false)? {
            Ok(pattern) => Ok(Some(pattern)),
            Err(regex::Error::CompiledTooBig(_)) => Ok(None),
            Err(error) => Err(reason(&error, source)),
        }
    }

    /// Compiles a pattern, or finds it among the last ones.
    pub(crate) fn compile(source: &str, budget: &mut Budget) -> Result<Result<Pattern, String>, Exhausted> {
        budget.spend(SMALL_STEPS + SMALL_STEPS_PER_BYTE * source.len() as u64)?;
        let known = RECENT.with_borrow_mut(|recent| {
            let at = recent.iter().position(|pattern| &*pattern.source == source)?;
            recent.remove(at)
        });
        let mut built = match known {
            Some(pattern) if pattern.large => {
                budget.spend(LARGE_STEPS)?;
                Ok(Ok(pattern))
            }
            Some(pattern) => Ok(Ok(pattern)),
            None => Pattern::build(source, false),
        };
        if let Ok(Err(regex::Error::CompiledTooBig(_))) = built {
            budget.spend(LARGE_STEPS)?;
            built = Pattern::build(source, true);
        }
        Ok(match built {
            Ok(Ok(pattern)) => {
                RECENT.with_borrow_mut(|recent| {
                    recent.push_front(pattern.clone());
                    recent.truncate(THREAD_PATTERNS_MAX);
                });
                Ok(pattern)
            }
            Ok(Err(error)) => Err(reason(&error, source)),
            Err(why) => Err(why),
        })
    }

    fn build(source: &str, large: bool) -> Result<Result<Pattern, regex::Error>, String> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let translated =
            Translator { rest: source, output: String::with_capacity(source.len() + 16) }.run()?;
        let small = (SMALL_BYTES + SMALL_BYTES_PER_BYTE * source.len()).min(COMPILED_BYTES_MAX);
        let (compiled, tables) =
            if large { (COMPILED_BYTES_MAX, COMPILED_BYTES_MAX) } else { (small, SMALL_TABLE_BYTES_MAX) };
        let mut builder = RegexBuilder::new(&translated);
        let built = builder.size_limit(compiled).dfa_size_limit(tables).nest_limit(GROUP_DEPTH_MAX).build();
        Ok(built.map(|regex| Pattern { regex, source: source.into(), large }))
    }

    /// Whether it is found anywhere in `text`: in time by the text's length times, at worst, the pattern's.
    pub(crate) fn is_match(&self, text: &str, budget: &mut Budget) -> Result<bool, Exhausted> {
        budget.read(text.len().saturating_mul(1 + self.source.len() / 8))?;
        Ok(self.regex.is_match(text.as_bytes()))
    }
}

/// The pattern in the words of the `regex` crate.
fn translate(source: &str) -> Result<String, String> {
    if source.len() > PATTERN_BYTES_MAX {
        return Err(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"));
    }
    Translator { rest: source, output: String::with_capacity(source.len() + 16) }.run()
}

fn reason(error: &regex::Error, source: &str) -> String {
    let source: String = source.chars().take(80).collect();
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("the pattern `{source}` is too large once compiled; repeat less")
        }
        regex::Error::Syntax(text) => {
            let why = text.lines().last().unwrap_or_default();
            format!("`{source}` is not a pattern of RE2: {}", why.strip_prefix("error: ").unwrap_or(why))
        }
        _ => format!("`{source}` is not a pattern of RE2"),
    }
}

struct Translator<'p> {
    rest: &'p str,
    output: String,
}

impl<'p> Translator<'p> {
    fn run(mut self) -> Result<String, String> {
        // A repetition operator may not follow another, `?` for "lazy" apart.
        let mut repeated = false;
        while let Some(next) = self.rest.chars().next() {
            let was_repeated = std::mem::take(&mut repeated);
            match next {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    if was_repeated {
                        return Err(format!("the repetition `{next}` follows another repetition"));
                    }
                    self.copy(1);
                    if self.rest.starts_with('?') {
                        self.copy(1);
                    }
                    repeated = true;
                }
                '{' => {
                    let Some(length) = repetition(self.rest)? else {
                        self.output.push_str("\\{");
                        self.rest = &self.rest[1..];
                        continue;
                    };
                    if was_repeated {
                        return Err("the repetition `{…}` follows another repetition".to_owned());
                    }
                    self.copy(length);
                    if self.rest.starts_with('?') {
                        self.copy(1);
                    }
                    repeated = true;
                }
                '}' | ']' => {
                    self.output.push('\\');
                    self.copy(1);
                }
                _ => self.copy(next.len_utf8()),
            }
        }
        Ok(self.output)
    }

    fn copy(&mut self, bytes: usize) {
        let (copied, rest) = self.rest.split_at(bytes);
        self.output.push_str(copied);
        self.rest = rest;
    }

    /// Replaces the next `bytes` by `written`.
    fn replace(&mut self, bytes: usize, written: &str) {
        self.output.push_str(written);
        self.rest = &self.rest[bytes..];
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        match self.rest.as_bytes().get(1) {
            Some(b'd') => self.replace(2, &format!("[{DIGIT}]")),
            Some(b'D') => self.replace(2, &format!("[^{DIGIT}]")),
            Some(b'w') => self.replace(2, &format!("[{WORD}]")),
            Some(b'W') => self.replace(2, &format!("[^{WORD}]")),
            Some(b's') => self.replace(2, &format!("[{SPACE}]")),
            Some(b'S') => self.replace(2, &format!("[^{SPACE}]")),
            Some(b'b') => self.replace(2, "(?-u:\\b)"),
            Some(b'B') => self.replace(2, "(?-u:\\B)"),
            Some(b'A' | b'z') => self.copy(2),
            Some(b'Q') => {
                let quoted = &self.rest[2..];
                let (quoted, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                self.output.push_str(&regex::escape(quoted));
                self.rest = rest;
            }
            _ => self.escaped_character()?,
        }
        Ok(())
    }

    /// An escape that stands for a character or a Unicode class.
    fn escaped_character(&mut self) -> Result<(), String> {
        let code = self.rest[1..].chars().next();
        match code {
            Some('p' | 'P') => {
                let length = match self.rest.as_bytes().get(2) {
                    Some(b'{') => self.rest.find('}').map(|at| at + 1),
                    _ => self.rest[2..].chars().next().map(|c| 2 + c.len_utf8()),
                };
                self.copy(length.ok_or("the Unicode class has no name")?);
            }
            Some('x') => {
                let length = match self.rest.as_bytes().get(2) {
                    Some(b'{') => self.rest.find('}').map(|at| at + 1),
                    _ => self.rest.get(..4).map(str::len),
                };
                self.copy(length.ok_or("`\\x` needs two digits, or some in braces")?);
            }
            Some('0'..='7') => {
                let digits = self.rest[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                if code != Some('0') && digits == 1 {
                    return Err("references to groups are not part of RE2".to_owned());
                }
                let number = u32::from_str_radix(&self.rest[1..=digits], 8).unwrap_or_default();
                self.replace(1 + digits, &format!("\\x{{{number:x}}}"));
            }
            Some('a' | 'f' | 't' | 'n' | 'r' | 'v') => self.copy(2),
            // Any mark may be escaped; in braces, because some escaped marks mean something to the crate.
            Some(mark) if mark.is_ascii_punctuation() => {
                self.replace(2, &format!("\\x{{{:x}}}", u32::from(mark)));
            }
            Some(other) => {
                return Err(format!("the escape `\\{}` is not part of RE2", other.escape_default()));
            }
            None => return Err("a backslash ends the pattern".to_owned()),
        }
        Ok(())
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<(), String> {
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            let Some(next) = self.rest.chars().next() else { return Err("a class has no `]`".to_owned()) };
            match next {
                ']' if !first => {
                    self.copy(1);
                    return Ok(());
                }
                '[' if self.rest.starts_with("[:") && self.rest.contains(":]") => {
                    let length = self.rest.find(":]").map_or(1, |at| at + 2);
                    self.copy(length);
                }
                '\\' => match self.rest.as_bytes().get(1) {
                    Some(b'd') => self.replace(2, DIGIT),
                    Some(b'w') => self.replace(2, WORD),
                    Some(b's') => self.replace(2, SPACE),
                    Some(b'D') => self.replace(2, &format!("[^{DIGIT}]")),
                    Some(b'W') => self.replace(2, &format!("[^{WORD}]")),
                    Some(b'S') => self.replace(2, &format!("[^{SPACE}]")),
                    _ => self.range()?,
                },
                _ => self.range()?,
            }
            first = false;
        }
    }

    /// A character of a class, or a range of them.
    fn range(&mut self) -> Result<(), String> {
        self.class_character()?;
        if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            self.copy(1);
            self.class_character()?;
        }
        Ok(())
    }

    fn class_character(&mut self) -> Result<(), String> {
        match self.rest.chars().next() {
            None => return Err("a class has no `]`".to_owned()),
            Some('\\') => return self.escaped_character(),
            Some('[' | ']' | '&' | '~' | '^' | '-') => {
                self.output.push('\\');
                self.copy(1);
            }
            Some(other) => self.copy(other.len_utf8()),
        }
        Ok(())
    }

    /// An opening parenthesis, perhaps with flags or a name.
    fn group(&mut self) -> Result<(), String> {
        let Some(inside) = self.rest.strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        if inside.starts_with("P<") || inside.starts_with('<') {
            let length = self.rest.find('>').ok_or("a group's name has no `>`")?;
            self.copy(length + 1);
            return Ok(());
        }
        let flags = inside.bytes().take_while(|b| matches!(b, b'i' | b'm' | b's' | b'U' | b'-')).count();
        match inside.as_bytes().get(flags) {
            Some(b':' | b')') => {
                self.copy(2 + flags + 1);
                Ok(())
            }
            _ => Err("a group begins with `(?` and something that is not part of RE2".to_owned()),
        }
    }
}

/// The length of a `{n}`, `{n,}` or `{n,m}` at the start; anything else in braces is text.
fn repetition(text: &str) -> Result<Option<usize>, String> {
    let Some(close) = text.find('}') else { return Ok(None) };
    let (least, most) = text[1..close].split_once(',').unwrap_or((&text[1..close], ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if least.is_empty() || !digits(least) || !digits(most) {
        return Ok(None);
    }
    for bound in [least, most] {
        if !bound.is_empty() && bound.parse().map_or(true, |n: u32| n > REPEAT_MAX) {
            return Err(format!("a pattern repeats at most {REPEAT_MAX} times"));
        }
    }
    Ok(Some(close + 1))
}
