//! Does a permission reach only the subject types that it declares? `permission p: user | team = …`
//!
//! Every type that can stand anywhere in the rule counts, on the right side of `-` too: what is declared is an upper
//! bound. A declared type that is not reached is no mistake. `self` reaches the definition's own type; SpiceDB 1.54
//! forgets that, and accepts `permission p: user = self` in a definition other than `user`.
//!
//! Cost: what each declaring permission reaches, all together at most [`STEPS_MAX`] steps.

use std::collections::HashSet;

use super::Drafts;
use crate::mistake::{Mistake, Place, quoted};
use crate::syntax::{MemberKind, Name, SyntaxMember};
use crate::{Expression, SubjectKind};

/// Most members and subject types looked at for all declarations of a schema.
const STEPS_MAX: usize = 20_000_000;

pub(super) fn check(drafts: &Drafts<'_>) -> Result<(), Mistake> {
    let mut steps_left = STEPS_MAX;
    for draft in &drafts.list {
        for member in &draft.members {
            if let MemberKind::Permission { declared: Some(declared), .. } = &member.kind {
                let mut walk = Walk::new(drafts, &member.name, declared, steps_left);
                walk.run((&draft.name.text, member))?;
                steps_left = walk.steps_left;
            }
        }
    }
    Ok(())
}

type Goal<'a> = (&'a str, &'a SyntaxMember);

struct Walk<'a> {
    drafts: &'a Drafts<'a>,
    permission: &'a Name,
    declared: HashSet<&'a str>,
    seen: HashSet<(&'a str, &'a str)>,
    open: Vec<Goal<'a>>,
    steps_left: usize,
}

impl<'a> Walk<'a> {
    fn new(
        drafts: &'a Drafts<'a>,
        permission: &'a Name,
        declared: &'a [Name],
        steps_left: usize,
    ) -> Walk<'a> {
        let declared = declared.iter().map(|name| name.text.as_str()).collect();
        Walk { drafts, permission, declared, seen: HashSet::new(), open: Vec::new(), steps_left }
    }

    fn run(&mut self, start: Goal<'a>) -> Result<(), Mistake> {
        self.seen.insert((start.0, &start.1.name.text));
        self.open.push(start);
        while let Some((definition, member)) = self.open.pop() {
            match &member.kind {
                MemberKind::Relation(subjects) => {
                    for subject in subjects {
                        self.step()?;
                        match &subject.allowed.kind {
                            SubjectKind::Userset(relation) => {
                                self.visit(&subject.allowed.subject_type, relation)
                            }
                            _ => self.reach(&subject.allowed.subject_type)?,
                        }
                    }
                }
                MemberKind::Permission { expression, .. } => self.expression(definition, expression)?,
                MemberKind::Splice => {}
            }
        }
        Ok(())
    }

    /// Recursion is bounded by the parser's limit on nesting.
    fn expression(&mut self, definition: &'a str, expression: &'a Expression) -> Result<(), Mistake> {
        self.step()?;
        match expression {
            Expression::Nil => Ok(()),
            Expression::SelfObject => self.reach(definition),
            Expression::Member(name) => {
                self.visit(definition, name);
                Ok(())
            }
            Expression::Arrow { relation, target, .. } => {
                let followed = self.drafts.member(definition, relation);
                let Some(MemberKind::Relation(subjects)) = followed.map(|member| &member.kind) else {
                    return Ok(());
                };
                for subject in subjects {
                    self.step()?;
                    self.visit(&subject.allowed.subject_type, target);
                }
                Ok(())
            }
            Expression::Union(terms) | Expression::Intersection(terms) => {
                terms.iter().try_for_each(|term| self.expression(definition, term))
            }
            Expression::Exclusion(base, excluded) => {
                self.expression(definition, base)?;
                self.expression(definition, excluded)
            }
        }
    }

    fn visit(&mut self, definition: &'a str, member: &'a str) {
        if let Some(found) = self.drafts.member(definition, member)
            && self.seen.insert((definition, member))
        {
            self.open.push((definition, found));
        }
    }

    fn reach(&self, subject_type: &str) -> Result<(), Mistake> {
        if self.declared.contains(subject_type) {
            return Ok(());
        }
        let message = format!(
            "permission {} can hold subjects of type {}, which it does not declare: add the type, or take it out of the rule",
            quoted(&self.permission.text),
            quoted(subject_type)
        );
        Err(Mistake::of_types(self.place(), message))
    }

    fn step(&mut self) -> Result<(), Mistake> {
        match self.steps_left.checked_sub(1) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(Mistake::of_types(
                self.place(),
                format!("checking declared types took more than {STEPS_MAX} steps: declare fewer"),
            )),
        }
    }

    fn place(&self) -> Place {
        self.permission.place
    }
}
