//! How was each subject met? Bits by its number.

use crate::question::UNNAMED_SUBJECT;

/// How a subject or goal was met; the greater supersedes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Met {
    Never,
    /// Behind a `-` only.
    Named,
    /// Where it may grant.
    Possible,
    /// Where it surely grants, unless what stands behind a `-` takes it away.
    Sure,
}

impl Met {
    const ALL: [Met; 4] = [Met::Never, Met::Named, Met::Possible, Met::Sure];
}

/// How each subject was met: two bits each.
#[derive(Debug)]
pub(super) struct Marks {
    words: Vec<u64>,
    count: usize,
}

impl Marks {
    const BITS: usize = 2;
    const IN_WORD: usize = u64::BITS as usize / Self::BITS;

    /// For subjects of numbers below `count`.
    pub(super) fn new(count: usize) -> Marks {
        Marks { words: vec![0; count.div_ceil(Marks::IN_WORD)], count }
    }

    pub(super) fn of(&self, object: u32) -> Met {
        let (word, shift) = Marks::place(object);
        Marks::read(self.words.get(word).map_or(0, |word| word >> shift))
    }

    /// The greater supersedes; of what has no number there is no mark.
    #[inline]
    pub(super) fn raise(&mut self, object: u32, met: Met) {
        if object as usize >= self.count {
            return;
        }
        let (word, shift) = Marks::place(object);
        let word = &mut self.words[word];
        if met > Marks::read(*word >> shift) {
            *word = *word & !(0b11 << shift) | (met as u64) << shift;
        }
    }

    /// The first subject from this number on that was met at all.
    pub(super) fn next_from(&self, object: u32) -> Option<(u32, Met)> {
        let (first, shift) = Marks::place(object);
        let mut word = first;
        let mut bits = self.words.get(word)? >> shift << shift;
        while bits == 0 {
            word += 1;
            bits = *self.words.get(word)?;
        }
        let at = bits.trailing_zeros() as usize / Marks::BITS;
        let met = Marks::read(bits >> (at * Marks::BITS));
        u32::try_from(word * Marks::IN_WORD + at).ok().map(|object| (object, met))
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    fn read(bits: u64) -> Met {
        Met::ALL[(bits & 0b11) as usize]
    }

    fn place(object: u32) -> (usize, usize) {
        let object = object as usize;
        (object / Marks::IN_WORD, object % Marks::IN_WORD * Marks::BITS)
    }
}

/// Who was named behind a `-`: a bit each, up to the last of them.
#[derive(Debug, Default)]
pub(super) struct Taken {
    words: Vec<u64>,
    /// Whether the subject is among them that no relationship names.
    unnamed: bool,
}

impl Taken {
    pub(super) fn insert(&mut self, object: u32) {
        if object == UNNAMED_SUBJECT {
            self.unnamed = true;
            return;
        }
        let word = object as usize / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (object % 64);
    }

    #[inline]
    pub(super) fn contains(&self, object: u32) -> bool {
        match object {
            UNNAMED_SUBJECT => self.unnamed,
            object => {
                self.words.get(object as usize / 64).is_some_and(|word| word & (1 << (object % 64)) != 0)
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}
