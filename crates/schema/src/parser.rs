//! What does a schema text say? Words and signs to definitions, partials, caveats and imports.
//!
//! A member ends at a newline, at `;` or before `}`. A sign that cannot begin a member continues the one before, so
//! expressions may be broken over lines before or after an operator and inside parentheses.
//!
//! # Invariants
//! * One token ahead, no going back: O(text).
//! * Nesting is bounded by [`EXPRESSION_DEPTH_MAX`] and [`TYPE_DEPTH_MAX`]; everything else is a loop.

use idhini_caveat::CaveatType;
use idhini_model::{TYPE_BYTES_MAX, validate_name, validate_type};

use crate::lexer::{Lexer, Token, TokenKind};
use crate::mistake::{Mistake, Place, quoted};
use crate::syntax::{
    Flags, MemberKind, Name, SyntaxBlock, SyntaxCaveat, SyntaxFile, SyntaxMember, SyntaxSubject,
};
use crate::{AllowedSubject, SubjectKind};

mod expression;

/// Deepest nesting of a permission's expression; `a - b - c` counts as nested.
pub const EXPRESSION_DEPTH_MAX: u32 = 100;
/// Deepest nesting of a caveat parameter's type, as in `list<map<int>>`.
pub const TYPE_DEPTH_MAX: usize = 16;
/// Longest text of a schema, in bytes, imports and spliced partials included.
pub const SCHEMA_BYTES_MAX: usize = 4 << 20;

/// Words that are never names.
const KEYWORDS: [&str; 6] = ["caveat", "definition", "nil", "permission", "relation", "with"];

/// Parses one file.
pub(crate) fn parse_file(text: &str, file: u32) -> Result<SyntaxFile, Mistake> {
    if text.len() > SCHEMA_BYTES_MAX {
        let message = format!(
            "the schema is {} bytes long and may have at most {SCHEMA_BYTES_MAX}: split it into namespaces",
            text.len()
        );
        return Err(Mistake::syntax(Place::new(file, 0), message));
    }
    let mut lexer = Lexer::new(text, file);
    let current = lexer.next_token()?;
    let flags = Flags::default();
    Parser { lexer, current, file, flags, comments: Vec::new(), end: 0 }.file()
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    current: Token<'a>,
    file: u32,
    flags: Flags,
    /// Comments met since the current member began.
    comments: Vec<String>,
    /// One past the last token taken.
    end: usize,
}

impl<'a> Parser<'a> {
    fn file(mut self) -> Result<SyntaxFile, Mistake> {
        let mut out = SyntaxFile::default();
        loop {
            let is_first = out.definitions.is_empty() && out.partials.is_empty() && out.caveats.is_empty();
            match (self.current.kind, self.current.text) {
                (TokenKind::End, _) => break,
                (TokenKind::Sign(";"), _) => {
                    self.advance()?;
                }
                (TokenKind::Word, "definition") => out.definitions.push(self.block("definition")?),
                (TokenKind::Word, "caveat") => out.caveats.push(self.caveat()?),
                (TokenKind::Word, "use") if is_first && out.imports.is_empty() => self.flag()?,
                (TokenKind::Word, "use") => {
                    return Err(
                        self.mistake("`use` must stand before any definition, caveat or import: move it up")
                    );
                }
                (TokenKind::Word, "partial") if self.flags.partial => {
                    out.partials.push(self.block("partial")?)
                }
                (TokenKind::Word, "import") if self.flags.import => out.imports.push(self.import()?),
                (TokenKind::Word, word @ ("partial" | "import")) => {
                    return Err(self.mistake(&format!(
                        "found `{word}`, which needs a flag: put `use {word}` before any definition"
                    )));
                }
                _ => return Err(self.unexpected("`definition`, `caveat` or `use`", "")),
            }
        }
        out.flags = self.flags;
        Ok(out)
    }

    fn flag(&mut self) -> Result<(), Mistake> {
        self.advance()?;
        match (self.current.kind, self.current.text) {
            (TokenKind::Word, "expiration") => self.flags.expiration = true,
            (TokenKind::Word, "import") => self.flags.import = true,
            (TokenKind::Word, "partial") => self.flags.partial = true,
            (TokenKind::Word, "self") => self.flags.self_object = true,
            (TokenKind::Word, "typechecking") => self.flags.typechecking = true,
            _ => {
                return Err(self.unexpected(
                    "a flag after `use`: `expiration`, `import`, `partial`, `self` or `typechecking`",
                    "",
                ));
            }
        }
        self.advance()?;
        self.take_trailing();
        Ok(())
    }

    fn import(&mut self) -> Result<Name, Mistake> {
        let place = self.here();
        self.advance()?;
        if self.current.kind != TokenKind::Quoted {
            return Err(self.unexpected("a path in quotes after `import`", ""));
        }
        let path = self.advance()?;
        self.take_trailing();
        Ok(Name { text: path[1..path.len() - 1].to_owned(), place })
    }

    fn block(&mut self, keyword: &'static str) -> Result<SyntaxBlock, Mistake> {
        let mut comments = self.leading_comments();
        self.advance()?;
        let name = self.type_name(keyword)?;
        validate_type(&name.text).map_err(|e| Mistake::syntax(name.place, e.to_string()))?;
        let open = self.here();
        self.expect("{", &format!("after the name of a {keyword}"))?;
        self.take_trailing();
        comments.append(&mut self.comments);
        let mut members = Vec::new();
        loop {
            match (self.current.kind, self.current.text) {
                (TokenKind::Sign("}"), _) => break,
                (TokenKind::Sign(";"), _) => {
                    self.advance()?;
                }
                (TokenKind::Word, "relation") => members.push(self.relation()?),
                (TokenKind::Word, "permission") => members.push(self.permission()?),
                (TokenKind::Sign("..."), _) => members.push(self.splice()?),
                (TokenKind::End, _) => {
                    let message = format!(
                        "this `{{` of {keyword} {} is never closed: expected `}}`",
                        quoted(&name.text)
                    );
                    return Err(Mistake::syntax(open, message));
                }
                _ => return Err(self.unexpected("`relation`, `permission` or `}`", "")),
            }
        }
        self.comments.clear();
        self.advance()?;
        self.take_trailing();
        comments.append(&mut self.comments);
        Ok(SyntaxBlock { name, comments, members })
    }

    fn relation(&mut self) -> Result<SyntaxMember, Mistake> {
        let (start, comments) = self.begin_member()?;
        let name = self.member_name("relation")?;
        self.expect(":", "and the types of its subjects after a relation's name")?;
        let mut subjects = vec![self.subject()?];
        while self.take("|")? {
            subjects.push(self.subject()?);
        }
        self.end_member(start, comments, name, MemberKind::Relation(subjects), "`|`, `with`, `#` or `:*`")
    }

    fn permission(&mut self) -> Result<SyntaxMember, Mistake> {
        let (start, comments) = self.begin_member()?;
        let name = self.member_name("permission")?;
        let mut declared = None;
        if self.take(":")? {
            let mut types = vec![self.type_name("subject type")?];
            while self.take("|")? {
                types.push(self.type_name("subject type")?);
            }
            declared = Some(types);
        }
        self.expect("=", "and a rule after a permission's name")?;
        let (expression, places) = self.expression()?;
        let kind = MemberKind::Permission { declared, expression, places };
        self.end_member(start, comments, name, kind, "`+`, `&` or `-`")
    }

    fn splice(&mut self) -> Result<SyntaxMember, Mistake> {
        if !self.flags.partial {
            return Err(
                self.mistake("found `...`, which needs a flag: put `use partial` before any definition")
            );
        }
        let (start, comments) = self.begin_member()?;
        let name = self.type_name("partial")?;
        self.end_member(start, comments, name, MemberKind::Splice, "nothing more")
    }

    fn begin_member(&mut self) -> Result<(usize, Vec<String>), Mistake> {
        let start = self.current.at;
        let comments = self.leading_comments();
        self.advance()?;
        Ok((start, comments))
    }

    fn end_member(
        &mut self,
        start: usize,
        mut comments: Vec<String>,
        name: Name,
        kind: MemberKind,
        continuation: &str,
    ) -> Result<SyntaxMember, Mistake> {
        let bytes = self.end - start;
        let is_ended = self.current.after_newline
            || matches!(self.current.kind, TokenKind::End | TokenKind::Sign(";" | "}"));
        if !is_ended {
            let remedy = ": end the member before with a newline or `;`";
            return Err(self.unexpected(&format!("{continuation}, or the end of the member"), remedy));
        }
        self.take_trailing();
        while self.take(";")? {
            self.take_trailing();
        }
        comments.append(&mut self.comments);
        Ok(SyntaxMember { name, comments, bytes, kind })
    }

    fn subject(&mut self) -> Result<SyntaxSubject, Mistake> {
        let name = self.type_name("subject type")?;
        let (place, mut relation_place, mut caveat_place) = (name.place, name.place, name.place);
        let mut kind = SubjectKind::Object;
        if self.take(":")? {
            self.expect("*", "after `:`: a relation names types of subjects, or all of a type")?;
            kind = SubjectKind::Wildcard;
        } else if self.take("#")? {
            relation_place = self.here();
            if !self.take("...")? {
                kind = SubjectKind::Userset(self.member_name("subject relation")?.text);
            }
        }
        let (mut caveat, mut expiration) = (None, false);
        if self.is_word("with") {
            self.advance()?;
            caveat_place = self.here();
            if self.is_expiration() {
                self.advance()?;
                expiration = true;
                if self.is_word("and") {
                    return Err(
                        self.mistake("the caveat comes first: write `with caveat_name and expiration`")
                    );
                }
            } else {
                caveat = Some(self.type_name("caveat")?.text);
                if self.is_word("and") {
                    self.advance()?;
                    if !self.is_expiration() {
                        let remedy = ": a relation has one caveat, and `expiration` needs `use expiration`";
                        return Err(self.unexpected("`expiration` after `and`", remedy));
                    }
                    self.advance()?;
                    expiration = true;
                }
            }
        }
        let allowed = AllowedSubject { subject_type: name.text, kind, caveat, expiration };
        Ok(SyntaxSubject { allowed, place, relation_place, caveat_place })
    }

    fn caveat(&mut self) -> Result<SyntaxCaveat, Mistake> {
        let mut comments = self.leading_comments();
        self.advance()?;
        let name = self.type_name("caveat")?;
        if name.text.len() > TYPE_BYTES_MAX {
            let message = format!("{} is longer than {TYPE_BYTES_MAX} bytes", quoted(&name.text));
            return Err(Mistake::syntax(name.place, message));
        }
        self.expect("(", "after the name of a caveat")?;
        let mut parameters: Vec<(Name, CaveatType)> = Vec::new();
        loop {
            if self.current.kind == TokenKind::Sign(")") {
                return Err(self.mistake(
                    "found `)`, expected a parameter: a caveat has at least one, as in `(region string)`",
                ));
            }
            let parameter = self.parameter_name()?;
            let value_type = self.parameter_type(&parameter)?;
            parameters.push((parameter, value_type));
            if !self.take(",")? {
                break;
            }
        }
        self.expect(")", "or `,` after a caveat's parameter")?;
        if self.current.kind != TokenKind::Sign("{") {
            return Err(self.unexpected("`{` and an expression after a caveat's parameters", ""));
        }
        comments.append(&mut self.comments);
        comments.extend(std::mem::take(&mut self.current.comments).into_iter().map(|c| c.text));
        let mut body = self.lexer.body(self.current.at)?;
        comments.append(&mut body.comments);
        self.current = self.lexer.next_token()?;
        self.take_trailing();
        comments.append(&mut self.comments);
        let body_place = Place::new(self.file, body.at);
        Ok(SyntaxCaveat { name, comments, parameters, body: body.text, body_place, body_inside: body.inside })
    }

    /// Parameters follow the expression language: any identifier.
    fn parameter_name(&mut self) -> Result<Name, Mistake> {
        let name = self.name("parameter")?;
        let text = name.text.as_str();
        let is_identifier = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text.len() <= TYPE_BYTES_MAX;
        if !is_identifier {
            let message = format!(
                "{} is not a parameter's name: letters, digits and `_`, not starting with a digit, at most {TYPE_BYTES_MAX}",
                quoted(text)
            );
            return Err(Mistake::syntax(name.place, message));
        }
        Ok(name)
    }

    fn parameter_type(&mut self, parameter: &Name) -> Result<CaveatType, Mistake> {
        let place = self.here();
        let mut text = String::new();
        let mut depth = 0;
        loop {
            if self.current.kind != TokenKind::Word {
                let expected = format!("the type of parameter {}, such as `string`", quoted(&parameter.text));
                return Err(self.unexpected(&expected, ""));
            }
            text.push_str(self.advance()?);
            if !self.take("<")? {
                break;
            }
            text.push('<');
            depth += 1;
            if depth > TYPE_DEPTH_MAX {
                let message = format!("a parameter's type is nested deeper than {TYPE_DEPTH_MAX} levels");
                return Err(Mistake::syntax(place, message));
            }
        }
        for _ in 0..depth {
            self.expect(">", "after the type inside `<`: `list` and `map` take one type")?;
            text.push('>');
        }
        text.parse::<CaveatType>().map_err(|_| {
            let message = format!(
                "{} is not a parameter type: expected any, bool, string, int, uint, double, bytes, duration, timestamp, ipaddress, list<T> or map<T>",
                quoted(&text)
            );
            Mistake::syntax(place, message)
        })
    }

    /// A name with `/` prefixes, not yet held against the rules for names.
    fn type_name(&mut self, what: &str) -> Result<Name, Mistake> {
        let mut name = self.name(what)?;
        while self.take("/")? {
            let segment = self.name(what)?;
            name.text.push('/');
            name.text.push_str(&segment.text);
        }
        Ok(name)
    }

    fn member_name(&mut self, what: &str) -> Result<Name, Mistake> {
        let name = self.name(what)?;
        validate_name(&name.text).map_err(|e| Mistake::syntax(name.place, e.to_string()))?;
        Ok(name)
    }

    fn name(&mut self, what: &str) -> Result<Name, Mistake> {
        if self.current.kind != TokenKind::Word {
            return Err(self.unexpected(&format!("the name of a {what}"), ""));
        }
        if self.is_keyword(self.current.text) {
            return Err(self.unexpected(
                &format!("the name of a {what}"),
                ", and this word is a keyword here: choose another name",
            ));
        }
        let place = self.here();
        Ok(Name { text: self.advance()?.to_owned(), place })
    }

    fn is_keyword(&self, word: &str) -> bool {
        KEYWORDS.contains(&word)
            || match word {
                "and" | "expiration" => self.flags.expiration,
                "import" => self.flags.import,
                "partial" => self.flags.partial,
                "self" => self.flags.self_object,
                "typechecking" => self.flags.typechecking,
                _ => false,
            }
    }

    fn is_expiration(&self) -> bool {
        self.flags.expiration && self.is_word("expiration")
    }

    fn is_word(&self, word: &str) -> bool {
        self.current.kind == TokenKind::Word && self.current.text == word
    }

    /// Takes the current token and reads the next one.
    fn advance(&mut self) -> Result<&'a str, Mistake> {
        let next = self.lexer.next_token()?;
        let taken = std::mem::replace(&mut self.current, next);
        self.comments.extend(taken.comments.into_iter().map(|comment| comment.text));
        self.end = taken.at + taken.text.len();
        Ok(taken.text)
    }

    fn take(&mut self, sign: &str) -> Result<bool, Mistake> {
        let is_there = matches!(self.current.kind, TokenKind::Sign(found) if found == sign);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn expect(&mut self, sign: &str, context: &str) -> Result<(), Mistake> {
        if self.take(sign)? { Ok(()) } else { Err(self.unexpected(&format!("`{sign}` {context}"), "")) }
    }

    /// The comments above the current token; forgets those that were met before it.
    fn leading_comments(&mut self) -> Vec<String> {
        self.comments.clear();
        std::mem::take(&mut self.current.comments).into_iter().map(|comment| comment.text).collect()
    }

    /// Keeps the comments that close the line of the token taken last.
    fn take_trailing(&mut self) {
        let all = std::mem::take(&mut self.current.comments);
        let (trailing, leading) = all.into_iter().partition::<Vec<_>, _>(|comment| comment.is_trailing);
        self.comments.extend(trailing.into_iter().map(|comment| comment.text));
        self.current.comments = leading;
    }

    fn here(&self) -> Place {
        Place::new(self.file, self.current.at)
    }

    fn mistake(&self, message: &str) -> Mistake {
        Mistake::syntax(self.here(), message.to_owned())
    }

    fn unexpected(&self, expected: &str, remedy: &str) -> Mistake {
        let found = match self.current.kind {
            TokenKind::End => "the end of the text".to_owned(),
            _ => quoted(self.current.text),
        };
        self.mistake(&format!("found {found}, expected {expected}{remedy}"))
    }
}
