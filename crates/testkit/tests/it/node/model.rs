//! The plainest model of a namespace: every revision as a list of relationships, and which of them must be there.
//!
//! Written from what is promised, not from the code: it shares with it the types of the model crate only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use idhini_model::{Relationship, SubjectRef, Timestamp};

/// What a namespace keeps of its past, in seconds.
pub const HISTORY_SECONDS: i64 = 60;

/// The schemas that the workload moves between, each with what may stand in it: `type#relation@subject`, with what
/// stands beside the subject.
pub const SCHEMAS: &[(&str, &[&str])] = &[
    (
        "use expiration
caveat only_on(day string, level int) { day == \"tuesday\" && level > 3 }
definition user {}
definition group { relation member: user | group#member }
definition document {
  relation viewer: user | user:* | group#member | user with only_on | user with expiration
  relation banned: user
  permission view = viewer - banned
}",
        &[
            "group#member@user",
            "group#member@group#member",
            "document#viewer@user",
            "document#viewer@user:*",
            "document#viewer@group#member",
            "document#viewer@user+only_on",
            "document#viewer@user+expiration",
            "document#banned@user",
        ],
    ),
    (
        "use expiration
caveat only_on(day string, level int) { day == \"tuesday\" && level > 3 }
definition user {}
definition group { relation member: user | group#member }
definition folder { relation viewer: user }
definition document {
  relation parent: folder
  relation viewer: user | user:* | group#member | user with only_on | user with expiration
  permission view = viewer + parent->viewer
}",
        &[
            "group#member@user",
            "group#member@group#member",
            "folder#viewer@user",
            "document#parent@folder",
            "document#viewer@user",
            "document#viewer@user:*",
            "document#viewer@group#member",
            "document#viewer@user+only_on",
            "document#viewer@user+expiration",
        ],
    ),
    // Nothing expires in this one: what has expired goes with the change, what has not stands in its way.
    (
        "caveat only_on(day string, level int) { day == \"tuesday\" && level > 3 }
definition user {}
definition group { relation member: user | group#member }
definition folder { relation viewer: user }
definition document {
  relation parent: folder
  relation viewer: user | user:* | group#member | user with only_on
  relation banned: user
  permission view = viewer + parent->viewer - banned
}",
        &[
            "group#member@user",
            "group#member@group#member",
            "folder#viewer@user",
            "document#parent@folder",
            "document#viewer@user",
            "document#viewer@user:*",
            "document#viewer@group#member",
            "document#viewer@user+only_on",
            "document#banned@user",
        ],
    ),
];

/// One revision of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Which of [`SCHEMAS`].
    pub schema: Option<usize>,
    /// By what identifies them.
    pub relationships: BTreeMap<Arc<str>, Arc<Relationship>>,
    /// What each counter counts.
    pub counters: BTreeMap<String, Matching>,
}

/// What an update does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Create,
    Touch,
    Delete,
}

/// Which relationships: all that agree with what is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    pub resource_type: String,
    pub resource_id: Option<String>,
    pub is_prefix: bool,
    pub relation: Option<String>,
    pub user: Option<String>,
}

/// What a write is done under.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Whether anything matches.
    Matches(bool, Matching),
    /// Whether a subject has a permission. The permission is a relation that admits nothing but plain users, so that
    /// it is had by whom this relationship is about.
    Has(bool, Relationship),
}

/// What is asked of a namespace.
#[derive(Debug, Clone)]
pub enum Asked {
    Write {
        updates: Vec<(Doing, Relationship)>,
        condition: Option<Condition>,
    },
    /// That the relation of one resource holds exactly these, unless that takes more changes.
    Set {
        relation: Matching,
        members: Vec<Relationship>,
        changes_max: usize,
    },
    Import(Vec<Relationship>),
    Delete {
        matching: Matching,
        limit: Option<u64>,
    },
    Schema(usize),
    /// Registers a counter, or takes it away.
    Counter {
        name: String,
        matching: Option<Matching>,
    },
    Sweep,
}

/// A revision with what is known of it.
#[derive(Debug, Clone)]
pub struct Made {
    pub state: Arc<State>,
    pub written_at: i64,
    /// Changes of the disk that were complete when it was acknowledged.
    pub stamp: u64,
    /// Whether a request ends with it: it may be the last one.
    pub ends_request: bool,
}

/// All revisions of a namespace, from 0 on.
#[derive(Debug, Clone)]
pub struct Past {
    made: Vec<Made>,
    /// The last revision that must be there.
    sure: usize,
}

impl State {
    /// The states that a request leads to, one for each revision; `None` if it is refused.
    pub fn judge(&self, asked: &Asked, now: i64) -> Option<Vec<State>> {
        let mut next = self.clone();
        match asked {
            Asked::Write { updates, condition } => {
                let admitted = |(_, relationship): &(Doing, Relationship)| self.admits(relationship);
                if !updates.iter().all(admitted) {
                    return None;
                }
                match condition {
                    Some(Condition::Matches(wanted, matching)) => {
                        (self.matching(matching, now)?.next().is_some() == *wanted).then_some(())?;
                    }
                    Some(Condition::Has(wanted, asked)) => {
                        (self.admits(asked) && self.counts(&key(asked), now) == *wanted).then_some(())?;
                    }
                    None => {}
                }
                let keys: Vec<Arc<str>> = updates.iter().map(|(_, relationship)| key(relationship)).collect();
                if (1..keys.len()).any(|at| keys[..at].contains(&keys[at])) {
                    return None;
                }
                for (key, (doing, relationship)) in keys.into_iter().zip(updates) {
                    match doing {
                        Doing::Create if self.counts(&key, now) => return None,
                        Doing::Delete => drop(next.relationships.remove(&key)),
                        _ => drop(next.relationships.insert(key, Arc::new(relationship.clone()))),
                    }
                }
            }
            Asked::Set { relation, members, changes_max } => {
                let wanted: BTreeMap<Arc<str>, &Relationship> =
                    members.iter().map(|member| (key(member), member)).collect();
                if wanted.len() < members.len() || !members.iter().all(|member| self.admits(member)) {
                    return None;
                }
                let gone: Vec<Arc<str>> = self
                    .matching(relation, now)?
                    .filter(|(key, _)| !wanted.contains_key(*key))
                    .map(|(key, _)| key.clone())
                    .collect();
                gone.iter().for_each(|key| drop(next.relationships.remove(key)));
                let mut changes = gone.len();
                for (key, member) in wanted {
                    let before = next.relationships.insert(key, Arc::new(member.clone()));
                    changes += usize::from(before.is_none_or(|before| *before != *member));
                }
                if changes > *changes_max {
                    return None;
                }
            }
            Asked::Import(relationships) => {
                let keys: BTreeSet<Arc<str>> = relationships.iter().map(key).collect();
                let is_new =
                    |relationship| self.admits(relationship) && !self.counts(&key(relationship), now);
                if keys.len() < relationships.len() || !relationships.iter().all(is_new) {
                    return None;
                }
                let stored = relationships.iter().map(|new| (key(new), Arc::new(new.clone())));
                next.relationships.extend(stored);
            }
            Asked::Delete { matching, limit } => {
                let keys: Vec<Arc<str>> = self.matching(matching, now)?.map(|(key, _)| key.clone()).collect();
                if limit.is_some_and(|limit| keys.len() as u64 > limit) {
                    return None;
                }
                keys.iter().for_each(|key| drop(next.relationships.remove(key)));
            }
            Asked::Schema(schema) => return self.with_schema(*schema, now),
            Asked::Counter { name, matching: Some(matching) } => {
                drop(self.matching(matching, now)?);
                if next.counters.insert(name.clone(), matching.clone()).is_some() {
                    return None;
                }
            }
            Asked::Counter { name, matching: None } => drop(next.counters.remove(name)?),
            Asked::Sweep => next.relationships.retain(|_, relationship| !is_expired(relationship, now)),
        }
        Some(if next == *self { Vec::new() } else { vec![next] })
    }

    fn with_schema(&self, schema: usize, now: i64) -> Option<Vec<State>> {
        if self.schema == Some(schema) {
            return Some(Vec::new());
        }
        let mut swept = self.clone();
        let has_place =
            |relationship: &Relationship| SCHEMAS[schema].1.contains(&shape(relationship).as_str());
        swept
            .relationships
            .retain(|_, relationship| has_place(relationship) || !is_expired(relationship, now));
        if !swept.relationships.values().all(|relationship| has_place(relationship)) {
            return None;
        }
        let next = State { schema: Some(schema), ..swept.clone() };
        Some(if swept == *self { vec![next] } else { vec![swept, next] })
    }

    /// How many relationships a counter counts; nothing that a schema dropped is there any more.
    pub fn counted(&self, matching: &Matching, now: i64) -> u64 {
        let counts = |stored: &&Arc<Relationship>| !is_expired(stored, now) && matching.admits(stored);
        self.relationships.values().filter(counts).count() as u64
    }

    /// Whether anything has expired.
    pub fn has_expired(&self, now: i64) -> bool {
        self.relationships.values().any(|relationship| is_expired(relationship, now))
    }

    fn admits(&self, relationship: &Relationship) -> bool {
        self.schema.is_some_and(|schema| SCHEMAS[schema].1.contains(&shape(relationship).as_str()))
    }

    fn counts(&self, key: &str, now: i64) -> bool {
        self.relationships.get(key).is_some_and(|stored| !is_expired(stored, now))
    }

    /// `None` if the schema does not know what is asked for.
    fn matching<'s>(
        &'s self,
        matching: &'s Matching,
        now: i64,
    ) -> Option<impl Iterator<Item = (&'s Arc<str>, &'s Arc<Relationship>)>> {
        let member = match &matching.relation {
            Some(relation) => format!("{}#{relation}@", matching.resource_type),
            None => format!("{}#", matching.resource_type),
        };
        let shapes = SCHEMAS[self.schema?].1;
        shapes.iter().any(|shape| shape.starts_with(&member)).then_some(())?;
        let all = self.relationships.iter();
        Some(all.filter(move |(_, stored)| !is_expired(stored, now) && matching.admits(stored)))
    }
}

impl Matching {
    fn admits(&self, relationship: &Relationship) -> bool {
        let id = &relationship.resource.object_id;
        relationship.resource.object_type == self.resource_type
            && self.resource_id.as_ref().is_none_or(|wanted| match self.is_prefix {
                true => id.starts_with(wanted),
                false => id == wanted,
            })
            && self.relation.as_ref().is_none_or(|wanted| *wanted == relationship.relation)
            && self.user.as_ref().is_none_or(|user| relationship.subject == SubjectRef::object("user", user))
    }
}

/// What identifies a relationship.
pub fn key(relationship: &Relationship) -> Arc<str> {
    let bare = Relationship { caveat: None, expires_at: None, ..relationship.clone() };
    bare.to_string().into()
}

/// What a schema must have for it.
fn shape(relationship: &Relationship) -> String {
    let Relationship { resource, relation, subject, caveat, expires_at } = relationship;
    let mut shape = format!("{}#{relation}@{}", resource.object_type, subject.object_type);
    match &subject.relation {
        Some(relation) => drop(write!(shape, "#{relation}")),
        None if subject.is_wildcard() => shape.push_str(":*"),
        None => {}
    }
    if let Some(caveat) = caveat {
        let _ = write!(shape, "+{}", caveat.name);
    }
    if expires_at.is_some() {
        shape.push_str("+expiration");
    }
    shape
}

fn is_expired(relationship: &Relationship, now: i64) -> bool {
    relationship.expires_at.is_some_and(|at| at <= Timestamp::from_seconds(now))
}

impl Past {
    pub fn new() -> Past {
        let made = Made { state: Arc::default(), written_at: i64::MIN, stamp: 0, ends_request: true };
        Past { made: vec![made], sure: 0 }
    }

    /// Of what was acknowledged or under way, what must be there if the disk stopped during this change.
    pub fn when_cut_during(&mut self, change: u64) {
        let sure = self.made.iter().rposition(|made| made.stamp < change);
        self.sure = sure.unwrap_or(0);
    }

    /// What came after this revision may be lost.
    pub fn need_not_reach_beyond(&mut self, revision: u64) {
        self.sure = self.sure.min(usize::try_from(revision).unwrap_or(usize::MAX));
    }

    /// The last revision, and whether it is there for certain.
    pub fn last(&self) -> (u64, &Made, bool) {
        let at = self.made.len() - 1;
        (at as u64, &self.made[at], at == self.sure)
    }

    pub fn at(&self, revision: u64) -> Option<&Made> {
        self.made.get(usize::try_from(revision).ok()?)
    }

    /// What a request led to; `stamp` says when it was acknowledged, if it was.
    pub fn push(&mut self, states: Vec<State>, now: i64, stamp: Option<u64>) {
        let count = states.len();
        for (at, state) in states.into_iter().enumerate() {
            let written_at = now.max(self.last().1.written_at);
            let stamp = stamp.unwrap_or(u64::MAX);
            let made = Made { state: Arc::new(state), written_at, stamp, ends_request: at + 1 == count };
            self.made.push(made);
        }
        if stamp.is_some() {
            self.sure = self.made.len() - 1;
        }
    }

    /// Whether this may be the last revision.
    pub fn may_be_head(&self, head: u64) -> Result<(), String> {
        let (sure, last) = (self.sure as u64, self.last().0);
        match self.at(head) {
            Some(made) if sure <= head && made.ends_request => Ok(()),
            Some(_) if sure <= head => Err(format!("the head is {head}, in the middle of a request")),
            _ => Err(format!("the head is {head}; {sure} were acknowledged and {last} asked for")),
        }
    }

    /// Learns that this is the last revision, and forgets what was not there.
    pub fn settle(&mut self, head: u64) -> Result<(), String> {
        self.may_be_head(head)?;
        self.made.truncate(usize::try_from(head).unwrap_or(usize::MAX) + 1);
        self.made.iter_mut().skip(self.sure + 1).for_each(|made| made.stamp = 0);
        self.sure = self.made.len() - 1;
        Ok(())
    }

    /// The revisions that must be readable at this moment: the newest of any moment of the history.
    pub fn oldest_promised(&self, now: i64) -> u64 {
        let horizon = now.saturating_sub(HISTORY_SECONDS);
        let replaced = self.made.iter().position(|made| made.written_at > horizon);
        replaced.map_or(self.last().0, |at| at.saturating_sub(1) as u64)
    }

    /// The newest revision at this moment.
    pub fn newest_at(&self, moment: i64) -> u64 {
        self.made.iter().rposition(|made| made.written_at <= moment).unwrap_or(0) as u64
    }
}
