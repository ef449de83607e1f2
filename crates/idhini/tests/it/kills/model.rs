//! What a namespace should hold: the plainest judge of the requests that the writers make.

use std::collections::{BTreeMap, HashMap};

use idhini_model::Relationship;

/// Every relationship's identity, and what stands with it.
pub type State = BTreeMap<String, String>;
/// What an entry did to relationships; sorted, `None` is a deletion.
pub type Effect = BTreeMap<String, Option<String>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Create,
    Touch,
    Delete,
}

/// What a writer asks for.
#[derive(Debug, Clone)]
pub enum Asking {
    /// Updates, and whether something must, or must not, stand in a resource.
    Write {
        updates: Vec<(Doing, Relationship)>,
        precondition: Option<(bool, String)>,
    },
    Import(Vec<Relationship>),
    /// Everything of a resource.
    Clear(String),
    /// A schema with an extra definition of this number.
    Schema(u64),
}

/// What the writer heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The token.
    Acknowledged(String),
    Refused,
    /// The server was killed first.
    Nothing,
}

/// One request of a writer, named in all that it writes.
#[derive(Debug, Clone)]
pub struct Request {
    pub name: String,
    pub asking: Asking,
    pub heard: Heard,
}

/// One entry, as a watch told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub token: String,
    /// The request that it belongs to; none for schemas.
    pub name: Option<String>,
    pub effect: Effect,
}

/// All entries so far, and what they lead to.
#[derive(Debug, Default)]
pub struct History {
    pub entries: Vec<Told>,
    pub state: State,
    pub schema: Option<u64>,
    /// States by the number of entries before them, to begin from.
    kept: BTreeMap<usize, State>,
    places: HashMap<String, usize>,
}

/// How often a state is kept.
const KEPT_EVERY: usize = 256;

impl History {
    pub fn push(&mut self, told: Told) {
        if self.entries.len().is_multiple_of(KEPT_EVERY) {
            self.kept.insert(self.entries.len(), self.state.clone());
        }
        apply(&mut self.state, &told.effect);
        self.places.insert(told.token.clone(), self.entries.len());
        self.entries.push(told);
    }

    /// What was there at a token.
    pub fn at(&self, token: &str) -> Option<State> {
        let place = *self.places.get(token)?;
        let (from, kept) = self.kept.range(..=place).next_back()?;
        let mut state = kept.clone();
        self.entries[*from..=place].iter().for_each(|told| apply(&mut state, &told.effect));
        Some(state)
    }
}

fn apply(state: &mut State, effect: &Effect) {
    for (identity, attributes) in effect {
        match attributes {
            Some(attributes) => state.insert(identity.clone(), attributes.clone()),
            None => state.remove(identity),
        };
    }
}

/// Identity and attributes.
pub fn parts(relationship: &Relationship) -> (String, String) {
    let bare = Relationship { caveat: None, expires_at: None, ..relationship.clone() };
    let attributes = relationship.caveat.as_ref().map(|caveat| format!("{}:{}", caveat.name, caveat.context));
    (bare.to_string(), attributes.unwrap_or_default())
}

/// What a request does to a state; `Err` if it is to be refused.
pub fn judge(state: &State, asking: &Asking) -> Result<Effect, &'static str> {
    let stands = |resource: &str| {
        let prefix = format!("{resource}#");
        state.range(prefix.clone()..).next().is_some_and(|(identity, _)| identity.starts_with(&prefix))
    };
    let mut effect = Effect::new();
    match asking {
        Asking::Write { updates, precondition } => {
            if let Some((must, resource)) = precondition
                && stands(resource) != *must
            {
                return Err("the precondition does not hold");
            }
            for (doing, relationship) in updates {
                let (identity, attributes) = parts(relationship);
                match (doing, state.get(&identity)) {
                    (Doing::Create, Some(_)) => return Err("it exists"),
                    (Doing::Delete, None) => {}
                    (Doing::Delete, Some(_)) => drop(effect.insert(identity, None)),
                    (_, Some(stored)) if *stored == attributes => {}
                    _ => drop(effect.insert(identity, Some(attributes))),
                }
            }
        }
        Asking::Import(relationships) => {
            for relationship in relationships {
                let (identity, attributes) = parts(relationship);
                if state.contains_key(&identity) {
                    return Err("it exists");
                }
                effect.insert(identity, Some(attributes));
            }
        }
        Asking::Clear(resource) => {
            let prefix = format!("{resource}#");
            let all = state.range(prefix.clone()..).take_while(|(identity, _)| identity.starts_with(&prefix));
            effect.extend(all.map(|(identity, _)| (identity.clone(), None)));
        }
        Asking::Schema(_) => {}
    }
    Ok(effect)
}

/// Numbers from a seed: SplitMix64 (Steele, Lea, Flood, 2014).
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
