//! How many relationships match a filter at one revision and moment?
//!
//! Classes that match whole are as many as the graph says, less what has expired there; of others, the edges that can match
//! are looked at. In portions, so that whoever counts can stop.
//!
//! Cost: O(classes + expired edges) without ids; with a resource's id or a subject's id O(edges of that object); with the
//! beginning of an id O(edges of the classes that can match).

use idhini_graph::ClassId;
use idhini_model::{Filter, Timestamp};

use crate::filter::admits_class;
use crate::published::Portion;
use crate::{Position, Published};

/// A count under way.
#[derive(Debug)]
pub struct Count<'p> {
    published: &'p Published,
    filter: &'p Filter,
    instant: Timestamp,
    counted: u64,
    at: At,
}

/// Where a count stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// The class of this position, by its place among the published ones, is next.
    Class(usize),
    /// Expired edges of this class are taken off, from this edge on.
    Expired(usize, (ClassId, u32, u32)),
    /// Edges are looked at, after this one.
    Edges(Option<Position>),
    Done,
}

impl<'p> Count<'p> {
    /// Begins to count.
    #[must_use]
    pub fn new(published: &'p Published, filter: &'p Filter, instant: Timestamp) -> Count<'p> {
        let has_ids = filter.resource_id.is_some()
            || filter.subject.as_ref().is_some_and(|subject| subject.subject_id.is_some());
        let at = if has_ids { At::Edges(None) } else { At::Class(0) };
        Count { published, filter, instant, counted: 0, at }
    }

    /// Looks at so many edges more, about; says how many match when that is known.
    pub fn advance(&mut self, edges_max: u64) -> Option<u64> {
        let mut left = edges_max;
        loop {
            let cost = match self.at {
                At::Class(place) => {
                    self.class(place);
                    1
                }
                At::Expired(place, from) => {
                    self.expired(place, from);
                    1
                }
                At::Edges(after) => {
                    let portion = Portion { rows_max: usize::MAX, edges_max: left };
                    let (matching, next, edges) =
                        self.published.count_portion(self.filter, self.instant, after, portion);
                    self.counted += matching;
                    self.at = next.map_or(At::Done, |next| At::Edges(Some(next)));
                    edges
                }
                At::Done => return Some(self.counted),
            };
            left = left.saturating_sub(cost.max(1));
            if left == 0 {
                return None;
            }
        }
    }

    /// All of a class, expired or not.
    fn class(&mut self, place: usize) {
        let Some((key, class)) = self.published.classes().get(place) else {
            self.at = At::Done;
            return;
        };
        self.at = At::Class(place + 1);
        if admits_class(self.filter, key) {
            self.counted += self.published.root().class_edges(*class);
            if self.published.root().has_attributes(*class) {
                self.at = At::Expired(place, (*class, 0, 0));
            }
        }
    }

    /// The next edge of a class that does not count.
    fn expired(&mut self, place: usize, (class, resource, subject): (ClassId, u32, u32)) {
        let found = self.published.root().next_expired_of((class, resource, subject), self.instant);
        self.at = match found {
            None => At::Class(place + 1),
            Some((resource, subject)) => {
                self.counted -= 1;
                match (subject.checked_add(1), resource.checked_add(1)) {
                    (Some(next), _) => At::Expired(place, (class, resource, next)),
                    (None, Some(next)) => At::Expired(place, (class, next, 0)),
                    (None, None) => At::Class(place + 1),
                }
            }
        };
    }
}
