//! What do definitions hold once partials are spliced into them?
//!
//! # Invariants
//! * Partials refer to each other without cycles, checked for all of them, used or not.
//! * Splicing copies at most [`SCHEMA_BYTES_MAX`] bytes of text, so a small text cannot stand for a huge schema.
//!
//! Cost: O(text + copied text); loops with their own stack, since a chain of partials may be as long as the text.

use std::collections::HashMap;

use crate::mistake::{Mistake, quoted};
use crate::parser::SCHEMA_BYTES_MAX;
use crate::syntax::{MemberKind, Name, SyntaxBlock, SyntaxMember};

/// All partials of a schema, by name.
pub(crate) struct Partials<'a> {
    blocks: Vec<&'a SyntaxBlock>,
    by_name: HashMap<&'a str, usize>,
    /// What splicing may still copy.
    bytes_left: usize,
}

/// How far a walk over partials came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    New,
    Open,
    Done,
}

impl<'a> Partials<'a> {
    /// Takes partials whose names are distinct.
    pub(crate) fn new(blocks: Vec<&'a SyntaxBlock>) -> Result<Partials<'a>, Mistake> {
        let by_name = blocks.iter().enumerate().map(|(i, b)| (b.name.text.as_str(), i)).collect();
        let partials = Partials { blocks, by_name, bytes_left: SCHEMA_BYTES_MAX };
        partials.refuse_cycles()?;
        Ok(partials)
    }

    /// The members of a definition, splices replaced by what they stand for, in order.
    pub(crate) fn members_of(&mut self, block: &'a SyntaxBlock) -> Result<Vec<&'a SyntaxMember>, Mistake> {
        let mut members = Vec::with_capacity(block.members.len());
        let mut stack = vec![block.members.iter()];
        while let Some(iterator) = stack.last_mut() {
            let Some(member) = iterator.next() else {
                stack.pop();
                continue;
            };
            if stack.len() > 1 {
                self.bytes_left =
                    self.bytes_left.checked_sub(member.bytes.max(1)).ok_or_else(|| too_much(block))?;
            }
            match member.kind {
                MemberKind::Splice => stack.push(self.blocks[self.find(&member.name)?].members.iter()),
                _ => members.push(member),
            }
        }
        Ok(members)
    }

    fn find(&self, name: &Name) -> Result<usize, Mistake> {
        self.by_name.get(name.text.as_str()).copied().ok_or_else(|| {
            let message =
                format!("there is no partial {}: define it, or correct the name", quoted(&name.text));
            Mistake::syntax(name.place, message)
        })
    }

    fn refuse_cycles(&self) -> Result<(), Mistake> {
        let mut progress = vec![Progress::New; self.blocks.len()];
        for start in 0..self.blocks.len() {
            if progress[start] != Progress::New {
                continue;
            }
            progress[start] = Progress::Open;
            let mut stack = vec![(start, self.blocks[start].members.iter())];
            while let Some((current, iterator)) = stack.last_mut() {
                let Some(member) = iterator.next() else {
                    progress[*current] = Progress::Done;
                    stack.pop();
                    continue;
                };
                if !matches!(member.kind, MemberKind::Splice) {
                    continue;
                }
                let next = self.find(&member.name)?;
                match progress[next] {
                    Progress::Done => {}
                    Progress::New => {
                        progress[next] = Progress::Open;
                        stack.push((next, self.blocks[next].members.iter()));
                    }
                    Progress::Open => {
                        let message = format!(
                            "partial {} contains itself by way of this splice: remove the cycle",
                            quoted(&member.name.text)
                        );
                        return Err(Mistake::of_types(member.name.place, message));
                    }
                }
            }
        }
        Ok(())
    }
}

fn too_much(block: &SyntaxBlock) -> Mistake {
    let message = format!(
        "the partials spliced up to {} come to more than {SCHEMA_BYTES_MAX} bytes: splice less",
        quoted(&block.name.text)
    );
    Mistake::syntax(block.name.place, message)
}
