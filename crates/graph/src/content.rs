//! What is in a root, laid open: two roots with equal content answer everything alike, and go on alike.

use idhini_model::{Filter, Revision};
use idhini_schema::ClassKey;

use crate::{EdgeAttributes, Root};

/// Everything in a root, in a canonical order. As large as the graph: for tests and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The root's revision.
    pub revision: Revision,
    /// The recorded text of the schema in force.
    pub schema_text: String,
    /// By type number.
    pub types: Vec<TypeContent>,
    /// By class number.
    pub classes: Vec<ClassContent>,
    /// Counters, by name.
    pub counters: Vec<(String, Filter)>,
    /// How many relationships the root says it has.
    pub relationships: u64,
    /// Whether the root says that any of them has attributes.
    pub is_attributed: bool,
}

/// Everything of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeContent {
    /// Its name.
    pub name: String,
    /// The entry that registered it.
    pub since: Revision,
    /// Object ids by number.
    pub objects: Vec<String>,
    /// Which entries gave numbers, and from which one on.
    pub births: Vec<(Revision, u32)>,
}

/// Everything of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassContent {
    /// Its names.
    pub key: ClassKey,
    /// The entry that registered it.
    pub since: Revision,
    /// Whether the schema in force has it.
    pub current: bool,
    /// (resource, subject) in ascending order, read by resource.
    pub forward: Vec<(u32, u32)>,
    /// (resource, subject) in ascending order, read by subject.
    pub reverse: Vec<(u32, u32)>,
    /// Attributes by (resource, subject).
    pub attributes: Vec<(u32, u32, EdgeAttributes)>,
    /// How many edges the root says the class has.
    pub edges: u64,
}

impl Root {
    /// Lays everything open. Walks the whole graph in both directions.
    #[must_use]
    pub fn content(&self) -> Content {
        let types = self.types().zip(self.catalog.types()).map(|((id, name), record)| TypeContent {
            name: name.to_owned(),
            since: record.since,
            objects: (0..self.object_count(id)).map(|number| self.object_id(id, number).to_owned()).collect(),
            births: self.table(id).map_or_else(Vec::new, |table| {
                table.names.births().map(|birth| (Revision(birth.revision), birth.first)).collect()
            }),
        });
        let classes = self.classes().zip(self.catalog.classes()).map(|((id, class), record)| {
            let subjects = 0..self.object_count(class.subject_type);
            let mut reverse: Vec<(u32, u32)> = subjects
                .flat_map(|subject| {
                    self.resources(id, subject).iter().map(move |resource| (resource, subject))
                })
                .collect();
            reverse.sort_unstable();
            ClassContent {
                key: class.key.clone(),
                since: record.since,
                current: record.current,
                forward: self.edges(id, 0).collect(),
                reverse,
                attributes: self
                    .attributed_edges(id)
                    .map(|(r, s, attributes)| (r, s, attributes.clone()))
                    .collect(),
                edges: self.class_edges(id),
            }
        });
        Content {
            revision: self.revision,
            schema_text: self.schema_text.to_string(),
            types: types.collect(),
            classes: classes.collect(),
            counters: self.counters().map(|(name, filter)| (name.to_owned(), filter.clone())).collect(),
            relationships: self.relationships,
            is_attributed: self.is_attributed,
        }
    }
}
