//! Many texts of one call: the first are told, and all of them are fixed by their number and their hash.
//!
//! So nobody hides an update among thousands of others: what is told is a beginning, and whoever has the rest, from the
//! log of the namespace or from somebody who claims it, sees whether it is exactly what was asked for.
//!
//! The hash is BLAKE3 of all texts in their order, uncut, a line feed behind each: `printf '%s\n' TEXT… | b3sum`.
//!
//! Cost: a hash of the texts.

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::{DETAIL_BYTES_MAX, Detail, noted};
use crate::hex;

/// Bytes of texts that are told of a change, if it is not an import: more than a request of the usual length has.
pub const LIST_BYTES_MAX: usize = 4 << 20;
/// What is kept beside a text.
const OVERHEAD_BYTES: usize = 16;

/// Texts that are told together.
#[derive(Debug)]
pub struct List {
    texts: Vec<Arc<str>>,
    bytes_left: usize,
    count: u64,
    hasher: blake3::Hasher,
    is_whole: bool,
}

impl List {
    /// An empty one, of which texts of so many bytes are told.
    #[must_use]
    pub fn new(bytes_max: usize) -> List {
        List {
            texts: Vec::new(),
            bytes_left: bytes_max,
            count: 0,
            hasher: blake3::Hasher::new(),
            is_whole: true,
        }
    }

    /// The next text.
    pub fn push(&mut self, text: &str) {
        self.count += 1;
        self.hasher.update(text.as_bytes());
        self.hasher.update(b"\n");
        let kept = noted(text);
        match self.bytes_left.checked_sub(kept.len() + OVERHEAD_BYTES) {
            Some(left) if self.texts.len() as u64 + 1 == self.count => {
                self.bytes_left = left;
                self.texts.push(kept.into());
                self.is_whole &= text.len() <= DETAIL_BYTES_MAX;
            }
            // What is told is the beginning, without gaps.
            _ => (self.bytes_left, self.is_whole) = (0, false),
        }
    }

    /// As details of this name; how many there are and their hash beside them unless all of them are told.
    #[must_use]
    pub fn details(self, name: &'static str) -> Vec<(Cow<'static, str>, Detail)> {
        let List { texts, count, hasher, is_whole, .. } = self;
        let mut details = Vec::new();
        if !is_whole {
            // First: they are told whatever there is no room for.
            let hash = hex::text(hasher.finalize().as_bytes());
            details.push((Cow::Owned(format!("{name}_count")), Detail::Number(count)));
            details.push((Cow::Owned(format!("{name}_blake3")), Detail::Text(hash.into())));
        }
        details.push((Cow::Borrowed(name), Detail::Texts(texts)));
        details
    }
}

#[cfg(test)]
mod tests {
    use super::{Detail, List, OVERHEAD_BYTES};

    fn list(texts: &[&str], bytes_max: usize) -> Vec<(String, Detail)> {
        let mut list = List::new(bytes_max);
        texts.iter().for_each(|text| list.push(text));
        list.details("updates").into_iter().map(|(name, detail)| (name.into_owned(), detail)).collect()
    }

    #[test]
    fn what_fits_is_told_and_no_more_is_said() {
        let told = list(&["a", "b"], 1 << 10);
        assert_eq!(told, [("updates".to_owned(), Detail::Texts(vec!["a".into(), "b".into()]))]);
    }

    #[test]
    fn what_does_not_fit_is_in_the_hash_in_its_order() {
        let texts = ["first", "a text that is too long for what is left", "c"];
        let told = list(&texts, "first".len() + "c".len() + 2 * OVERHEAD_BYTES);
        let [(_, count), (_, hash), (_, first)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((count, first), (&Detail::Number(3), &Detail::Texts(vec!["first".into()])));
        let all: String = texts.iter().map(|text| format!("{text}\n")).collect();
        let expected = blake3::hash(all.as_bytes()).to_hex().to_string();
        assert_eq!(hash, &Detail::Text(expected.as_str().into()));
        let swapped = list(&[texts[1], texts[0], texts[2]], 64);
        assert_ne!(&swapped[1].1, hash);
    }

    #[test]
    fn a_text_that_is_cut_is_hashed_whole() {
        let long = "x".repeat(10_000);
        let told = list(&[&long], 1 << 20);
        let expected = blake3::hash(format!("{long}\n").as_bytes()).to_hex().to_string();
        assert_eq!(told[1].1, Detail::Text(expected.as_str().into()));
    }
}
