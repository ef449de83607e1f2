//! Permission rules: `+` binds tightest, then `&`, then `-`, all from left to right.

use super::{EXPRESSION_DEPTH_MAX, Parser};
use crate::lexer::TokenKind;
use crate::mistake::{Mistake, Place, quoted};
use crate::{ArrowKind, Expression};

/// A rule under construction: its depth, and where its members and arrows stand.
struct Tree {
    expression: Expression,
    depth: u32,
}

impl Parser<'_> {
    /// A rule, and the places of its members and arrows from left to right.
    pub(super) fn expression(&mut self) -> Result<(Expression, Vec<Place>), Mistake> {
        let mut places = Vec::new();
        let tree = self.exclusion(0, &mut places)?;
        Ok((tree.expression, places))
    }

    fn exclusion(&mut self, level: u32, places: &mut Vec<Place>) -> Result<Tree, Mistake> {
        let mut base = self.intersection(level, places)?;
        loop {
            let place = self.here();
            if !self.take("-")? {
                return Ok(base);
            }
            let excluded = self.intersection(level, places)?;
            let depth = deeper(base.depth.max(excluded.depth), place)?;
            let expression = Expression::Exclusion(Box::new(base.expression), Box::new(excluded.expression));
            base = Tree { expression, depth };
        }
    }

    fn intersection(&mut self, level: u32, places: &mut Vec<Place>) -> Result<Tree, Mistake> {
        let place = self.here();
        let first = self.union(level, places)?;
        if self.current.kind != TokenKind::Sign("&") {
            return Ok(first);
        }
        let mut depth = first.depth;
        let mut terms = Vec::new();
        let mut add = |tree: Tree| {
            depth = depth.max(tree.depth);
            match tree.expression {
                Expression::Intersection(inner) => terms.extend(inner),
                other => terms.push(other),
            }
        };
        add(first);
        while self.take("&")? {
            add(self.union(level, places)?);
        }
        Ok(Tree { depth: deeper(depth, place)?, expression: Expression::Intersection(terms) })
    }

    fn union(&mut self, level: u32, places: &mut Vec<Place>) -> Result<Tree, Mistake> {
        let place = self.here();
        let first = self.term(level, places)?;
        if self.current.kind != TokenKind::Sign("+") {
            return Ok(first);
        }
        let mut depth = first.depth;
        let mut terms = Vec::new();
        let mut add = |tree: Tree| {
            depth = depth.max(tree.depth);
            match tree.expression {
                Expression::Union(inner) => terms.extend(inner),
                other => terms.push(other),
            }
        };
        add(first);
        while self.take("+")? {
            add(self.term(level, places)?);
        }
        Ok(Tree { depth: deeper(depth, place)?, expression: Expression::Union(terms) })
    }

    fn term(&mut self, level: u32, places: &mut Vec<Place>) -> Result<Tree, Mistake> {
        let place = self.here();
        let leaf = |expression| Ok(Tree { expression, depth: 0 });
        match (self.current.kind, self.current.text) {
            (TokenKind::Sign("("), _) => {
                self.advance()?;
                let level = deeper(level, place)?;
                let tree = self.exclusion(level, places)?;
                self.expect(")", "or an operator: this closes a parenthesis opened before")?;
                self.refuse_arrow("the left side of an arrow is one relation of the same definition")?;
                Ok(tree)
            }
            (TokenKind::Word, "nil") => {
                self.advance()?;
                self.refuse_arrow("`nil` leads nowhere")?;
                leaf(Expression::Nil)
            }
            (TokenKind::Word, "self") if self.flags.self_object => {
                self.advance()?;
                self.refuse_arrow("write what follows the arrow, since `self` is the same object")?;
                leaf(Expression::SelfObject)
            }
            (TokenKind::Word, word) if !self.is_keyword(word) => {
                places.push(place);
                let name = self.member_name("relation or permission")?.text;
                let expression = self.arrow(name)?;
                leaf(expression)
            }
            _ => Err(self.unexpected("a relation, a permission, `nil` or `(`", "")),
        }
    }

    /// What may follow a member's name: `->target`, `.any(target)`, `.all(target)`.
    fn arrow(&mut self, relation: String) -> Result<Expression, Mistake> {
        let (kind, target) = if self.take("->")? {
            (ArrowKind::Any, self.member_name("relation or permission after `->`")?.text)
        } else if self.take(".")? {
            let kind = match (self.current.kind, self.current.text) {
                (TokenKind::Word, "any") => ArrowKind::Any,
                (TokenKind::Word, "all") => ArrowKind::All,
                _ => return Err(self.unexpected("`any` or `all` after `.`", "")),
            };
            self.advance()?;
            self.expect("(", "after `.any` or `.all`")?;
            let target = self.member_name("relation or permission to follow to")?.text;
            self.expect(")", "after the one name inside `.any(` or `.all(`")?;
            (kind, target)
        } else {
            return Ok(Expression::Member(relation));
        };
        let remedy = format!(
            "arrows do not chain: give the followed type a permission that holds the rest, and follow {} to that",
            quoted(&relation)
        );
        self.refuse_arrow(&remedy)?;
        Ok(Expression::Arrow { relation, kind, target })
    }

    fn refuse_arrow(&self, why: &str) -> Result<(), Mistake> {
        match self.current.kind {
            TokenKind::Sign(sign @ ("->" | ".")) => {
                Err(self.mistake(&format!("found `{sign}`, expected an operator or the end: {why}")))
            }
            _ => Ok(()),
        }
    }
}

fn deeper(depth: u32, place: Place) -> Result<u32, Mistake> {
    if depth >= EXPRESSION_DEPTH_MAX {
        let message = format!(
            "this rule is nested deeper than {EXPRESSION_DEPTH_MAX} levels: move a part of it to a permission of its own"
        );
        return Err(Mistake::syntax(place, message));
    }
    Ok(depth + 1)
}
