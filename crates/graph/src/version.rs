//! Which state of a class's edges is this, and of whose edges is it another than that one?
//!
//! What is derived from the edges of a class stands for as long as its version does. Versions are told apart by their
//! address, so that no two histories share one, whatever was undone, restored or never published. A version knows the
//! few before it, and whose edges changed since, so that little has to be derived anew.
//!
//! Cost: an allocation for each class that an entry changes.

use std::sync::Arc;

use crate::memory::arc_bytes;

/// Versions that one knows before it at most.
const BEFORE_MAX: u32 = 64;
/// Subjects of one change that are told at most.
pub(crate) const SUBJECTS_MAX: usize = 16;

/// A state of the edges of one class, attributes included.
#[derive(Debug, Clone)]
pub struct ClassVersion(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// How many versions are known before this one.
    known: u32,
    /// The version before, and the subjects whose edges changed since.
    change: Option<(ClassVersion, Box<[u32]>)>,
}

impl Default for ClassVersion {
    /// Another one than all there are.
    fn default() -> ClassVersion {
        ClassVersion(Arc::new(State::default()))
    }
}

impl ClassVersion {
    /// Whether both are the same state; states that happen to be equal need not be.
    #[must_use]
    #[inline]
    pub fn is(&self, other: &ClassVersion) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells the subjects whose edges changed since an earlier version, some of them twice. False if that is not known: then
    /// some may have been told, and others not.
    pub fn changed_since(&self, earlier: &ClassVersion, mut tell: impl FnMut(u32)) -> bool {
        let mut at = self;
        while !at.is(earlier) {
            let Some((before, subjects)) = &at.0.change else { return false };
            subjects.iter().for_each(|subject| tell(*subject));
            at = before;
        }
        true
    }

    /// What it takes, besides what is known before it.
    pub(crate) fn bytes(&self) -> u64 {
        let subjects = self.0.change.as_ref().map_or(0, |(_, subjects)| size_of_val(&**subjects));
        arc_bytes::<State>() + subjects as u64
    }

    /// The version after the edges of these subjects have changed; more than are told are as if all had.
    pub(crate) fn after(&self, subjects: Vec<u32>) -> ClassVersion {
        if subjects.len() > SUBJECTS_MAX || self.0.known == BEFORE_MAX {
            return ClassVersion::default();
        }
        let change = Some((self.clone(), subjects.into_boxed_slice()));
        ClassVersion(Arc::new(State { known: self.0.known + 1, change }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(new: &ClassVersion, old: &ClassVersion) -> Option<Vec<u32>> {
        let mut told = Vec::new();
        new.changed_since(old, |subject| told.push(subject)).then_some(told)
    }

    #[test]
    fn a_version_tells_what_changed_since_an_earlier_one_and_of_no_other() {
        let first = ClassVersion::default();
        let second = first.after(vec![7, 8]);
        let third = second.after(vec![9]);
        assert_eq!(changed(&third, &first), Some(vec![9, 7, 8]));
        assert_eq!(changed(&third, &third), Some(vec![]));
        assert_eq!(changed(&first, &third), None);
        // The same changes from the same state are another history all the same.
        assert_eq!(changed(&third, &first.after(vec![7, 8])), None);
        assert!(!third.is(&second.after(vec![9])));
    }

    #[test]
    fn large_and_long_changes_are_not_told_and_nothing_older_is_kept() {
        let first = ClassVersion::default();
        assert_eq!(changed(&first.after(vec![0; SUBJECTS_MAX + 1]), &first), None);
        let mut at = first.clone();
        for _ in 0..1_000 {
            at = at.after(vec![1]);
        }
        assert_eq!(changed(&at, &first), None);
        assert_eq!(Arc::strong_count(&first.0), 1);
    }
}
