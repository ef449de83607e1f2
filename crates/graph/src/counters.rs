//! Which counters of relationships are registered, and what do they count?
//!
//! Counters are part of a root as the schema is: of its revision, in its images, undone with their entries. They speak of
//! names, never of numbers, so that a renumbering or another schema leaves them as they are. What they count is not kept:
//! it depends on the moment, as relationships expire.
//!
//! Cost: registering copies all of them, which whoever judges bounds.

use std::collections::BTreeMap;

use idhini_model::{Filter, IdFilter, RelationFilter, Revision};

use crate::{ApplyError, Root};

/// Counters by name.
pub(crate) type Counters = BTreeMap<String, Filter>;

impl Root {
    /// What a counter counts; `None` if it is not registered.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<&Filter> {
        self.counters.get(name)
    }

    /// All counters, by name.
    pub fn counters(&self) -> impl ExactSizeIterator<Item = (&str, &Filter)> {
        self.counters.iter().map(|(name, filter)| (name.as_str(), filter))
    }

    /// Replaces what a counter counts: from before to after, of which nothing is a counter that is not registered.
    pub(crate) fn change_counter(
        &mut self,
        revision: Revision,
        name: &str,
        (before, after): (Option<&Filter>, Option<&Filter>),
    ) -> Result<(), ApplyError> {
        if self.counters.get(name) != before {
            return Err(ApplyError::OtherCounter { found: revision, name: name.to_owned() });
        }
        if before == after {
            return Ok(());
        }
        let counters = std::sync::Arc::make_mut(&mut self.counters);
        match after {
            Some(filter) => drop(counters.insert(name.to_owned(), filter.clone())),
            None => drop(counters.remove(name)),
        }
        Ok(())
    }
}

/// About what they hold.
pub(crate) fn bytes(counters: &Counters) -> u64 {
    let length = |text: Option<&String>| text.map_or(0, String::len);
    let of_filter = |filter: &Filter| {
        let id = match &filter.resource_id {
            None => 0,
            Some(IdFilter::Exactly(id) | IdFilter::StartsWith(id)) => id.len(),
        };
        let subject = filter.subject.as_ref().map_or(0, |subject| {
            let relation = match &subject.relation {
                RelationFilter::Named(relation) => relation.len(),
                RelationFilter::Any | RelationFilter::Absent => 0,
            };
            subject.subject_type.len() + length(subject.subject_id.as_ref()) + relation
        });
        length(filter.resource_type.as_ref()) + id + length(filter.relation.as_ref()) + subject
    };
    let of_counter = |(name, filter): (&String, &Filter)| {
        size_of::<String>() + name.len() + size_of::<Filter>() + of_filter(filter)
    };
    counters.iter().map(of_counter).sum::<usize>() as u64
}
