//! Are words that came from outside a leaf, and what do leaves add up to?
//!
//! Each edge is in two tries. Whether two tries have the same edges is not looked up one by one: the edges of each
//! class are counted and summed up, each as a product with secret numbers. Since words ascend, no edge is in a trie
//! twice; so equal sums mean equal edges, but for one case in 2⁶⁴ that nobody who does not know the seed can choose.

use idhini_model::WILDCARD;
use idhini_schema::SubjectKind;

use super::LeafRef;
use crate::names::{Names, hash};

const ROWS: &str = "the rows of a leaf do not end one after another";
const SHIFT: &str = "the class shift of a leaf is out of range";
const CLASS: &str = "an edge of a class that its type does not have";
const NUMBER: &str = "an edge to an object that does not exist, or that its class does not admit";
const OBJECT: &str = "a row of an object that does not exist";
const ORDER: &str = "the words of a row do not ascend";
const TWICE: &str = "a run lies both in its leaf and beside it";

/// Which numbers may stand on one side of a class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    start: u32,
    end: u32,
    except: Option<u32>,
}

impl Numbers {
    pub(crate) fn all(names: &Names) -> Numbers {
        Numbers { start: 0, end: names.count(), except: None }
    }

    /// The subjects of a class: the wildcard stands in classes of its own.
    pub(crate) fn of_subjects(kind: &SubjectKind, names: &Names) -> Numbers {
        let wildcard = names.number(WILDCARD);
        match (kind, wildcard) {
            (SubjectKind::Userset(_), _) => Numbers::all(names),
            (SubjectKind::Object, _) => Numbers { except: wildcard, ..Numbers::all(names) },
            (SubjectKind::Wildcard, Some(only)) => Numbers { start: only, end: only + 1, except: None },
            (SubjectKind::Wildcard, None) => Numbers { start: 0, end: 0, except: None },
        }
    }

    #[inline]
    pub(crate) fn contain(self, number: u32) -> bool {
        self.start <= number && number < self.end && self.except != Some(number)
    }
}

/// The edges of one class that were seen in one trie, and what they must keep to.
#[derive(Debug, Clone)]
pub(crate) struct ClassTally {
    /// On the other side of the class.
    pub(crate) numbers: Numbers,
    pub(crate) edges: u64,
    pub(crate) sum: u64,
    secrets: [u64; 2],
    is_forward: bool,
}

impl ClassTally {
    pub(crate) fn new(seed: u64, class: u32, numbers: Numbers, is_forward: bool) -> ClassTally {
        let secrets = [0, 1].map(|at| hash(seed, &(u64::from(class) << 1 | at).to_le_bytes()));
        ClassTally { numbers, edges: 0, sum: 0, secrets, is_forward }
    }

    /// Whether it is the same edges that were seen in the other direction.
    pub(crate) fn agrees(&self, other: &ClassTally) -> bool {
        (self.edges, self.sum) == (other.edges, other.sum)
    }

    #[inline]
    pub(crate) fn add(&mut self, object: u32, number: u32) {
        let (resource, subject) = if self.is_forward { (object, number) } else { (number, object) };
        let edge = u64::from(resource) << 32 | u64::from(subject);
        self.edges += 1;
        self.sum = self.sum.wrapping_add(mixed(self.secrets, edge));
    }
}

#[inline]
fn mixed([first, second]: [u64; 2], edge: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    fold(fold(edge ^ first, second | 1) ^ second, ODD ^ first)
}

impl LeafRef<'_> {
    /// Holds a leaf that starts at `object` against the limits of its type, and counts the edges in its words.
    ///
    /// `tallies` are by local class. What passes is never read beyond its words.
    pub(crate) fn check(
        self,
        object: u32,
        objects_end: u32,
        tallies: &mut [ClassTally],
    ) -> Result<(), &'static str> {
        let Some(body) = self.words.len().checked_sub(Self::head_len(self.bits)) else { return Err(ROWS) };
        let shift = self.class_shift();
        if !(1..=31).contains(&shift) {
            return Err(SHIFT);
        }
        let mask = (1u32 << shift) - 1;
        let mut start = 0;
        for slot in 0..1u32 << self.bits {
            let end = self.end(slot);
            if end < start || end > body {
                return Err(ROWS);
            }
            // A leaf covers numbers of 32 bits: it was admitted at an aligned place.
            let object = object + slot;
            if start < end && object >= objects_end {
                return Err(OBJECT);
            }
            let mut before = None;
            for word in self.row_slice(slot) {
                if before.is_some_and(|before| before >= *word) {
                    return Err(ORDER);
                }
                before = Some(*word);
                let Some(tally) = tallies.get_mut((word >> shift) as usize) else { return Err(CLASS) };
                if !tally.numbers.contain(word & mask) {
                    return Err(NUMBER);
                }
                tally.add(object, word & mask);
            }
            start = end;
        }
        if start != body {
            return Err(ROWS);
        }
        let words = LeafRef { spilled: &[], ..self };
        match self.spilled.iter().any(|run| !words.row(run.slot).run(run.class).is_empty()) {
            true => Err(TWICE),
            false => Ok(()),
        }
    }
}
