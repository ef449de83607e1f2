//! What a server has after a kill, held against what its writers asked and heard.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use idhini_model::Relationship;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::SHORT_HISTORY;
use super::model::{Asking, Effect, Heard, History, Request, Rng, State, Told, judge, parts};
use crate::process::{PATIENCE, Server, check, of_type};

/// Tokens of each life, and of all lives, that are tried.
const TRIED_OF_LIFE: u64 = 2;
const TRIED_OF_ALL: u64 = 1;

/// Messages as they came.
pub type Watched = Vec<v1::WatchResponse>;

/// What is known of the namespace.
#[derive(Debug, Default)]
pub struct Ledger {
    history: History,
    /// A moment before each entry was written.
    before: Vec<Instant>,
    begun: Option<Instant>,
    pub counts: Counts,
}

#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub acknowledged: u64,
    pub refused: u64,
    whole: u64,
    absent: u64,
    without_change: u64,
    entries: u64,
    schemas: u64,
    exact: u64,
    trimmed: u64,
    told_live: u64,
    lost_sight: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in [
            ("acknowledged, and there", self.acknowledged),
            ("of these without a change", self.without_change),
            ("refused, and not there", self.refused),
            ("in flight and there, whole", self.whole),
            ("in flight and absent", self.absent),
            ("entries replayed", self.entries),
            ("of these schemas", self.schemas),
            ("told by a watch before the kill", self.told_live),
            ("revisions read back exactly", self.exact),
            ("refused as older than the history", self.trimmed),
            ("lives whose entries were too old", self.lost_sight),
        ] {
            writeln!(f, "{what:<37} {count}")?;
        }
        Ok(())
    }
}

fn consistency(requirement: Requirement) -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(requirement) })
}

fn token(text: &str) -> v1::ZedToken {
    v1::ZedToken { token: text.to_owned() }
}

fn wrong(what: &'static str) -> impl Fn(Status) -> String {
    move |status| format!("{what}: {status:?}")
}

/// The token of a check.
async fn checked(server: &Server, requirement: Requirement) -> Result<String, String> {
    let mut request = check("document:nobody", "viewer", "user:u0");
    request.consistency = consistency(requirement);
    let answer = server.permissions().await.check_permission(request).await.map_err(wrong("a check"))?;
    Ok(answer.into_inner().checked_at.unwrap().token)
}

/// All relationships.
async fn read(server: &Server, requirement: Requirement) -> Result<State, Status> {
    let mut client = server.permissions().await;
    let mut state = State::new();
    for resource_type in ["document", "slot", "bundle"] {
        let request = v1::ReadRelationshipsRequest {
            consistency: consistency(requirement.clone()),
            relationship_filter: Some(of_type(resource_type)),
            ..Default::default()
        };
        let mut stream = client.read_relationships(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            let relationship: Relationship = message.relationship.unwrap().try_into().unwrap();
            let (identity, attributes) = parts(&relationship);
            if state.insert(identity, attributes).is_some() {
                return Err(Status::data_loss(format!("{relationship} is there twice")));
            }
        }
    }
    Ok(state)
}

/// Reads until the server is gone.
pub async fn watch_live(mut stream: Streaming<v1::WatchResponse>) -> Watched {
    let mut messages = Vec::new();
    while let Ok(Ok(Some(message))) = tokio::time::timeout(PATIENCE, stream.message()).await {
        messages.push(message);
    }
    messages.retain(|message| !message.is_checkpoint);
    messages
}

/// A message as the model has it.
fn told(message: &v1::WatchResponse) -> Result<Told, String> {
    let mut effect = Effect::new();
    let mut name = message.optional_transaction_metadata.clone().and_then(|metadata| {
        let context = idhini_wire::context(Some(metadata), "metadata").unwrap();
        Some(
            serde_json::from_str::<serde_json::Value>(&context.to_string()).unwrap()["by"]
                .as_str()?
                .to_owned(),
        )
    });
    for update in &message.updates {
        let relationship: Relationship = update.relationship.clone().unwrap().try_into().unwrap();
        if name.is_none() {
            // An import's relationships say whose they are.
            let context = relationship.caveat.as_ref().map(|caveat| caveat.context.to_string());
            let by: serde_json::Value = serde_json::from_str(&context.unwrap_or_default()).unwrap();
            name = by["by"].as_str().map(str::to_owned);
        }
        let (identity, attributes) = parts(&relationship);
        let attributes = (update.operation() == Operation::Touch).then_some(attributes);
        if effect.insert(identity, attributes).is_some() {
            return Err(format!("{relationship} is told twice in one entry"));
        }
    }
    let token = message.changes_through.clone().unwrap().token;
    Ok(Told { token, name: name.filter(|_| !message.schema_updated), effect })
}

impl Ledger {
    /// From here on everything is known.
    pub async fn begin(server: &Server) -> Result<Ledger, String> {
        let mut ledger = Ledger::default();
        let token = checked(server, Requirement::FullyConsistent(true)).await?;
        ledger.push(Told { token, name: None, effect: Effect::new() });
        ledger.history.schema = Some(0);
        Ok(ledger)
    }

    /// Writers begin now.
    pub fn begins(&mut self) {
        self.begun = Some(Instant::now());
    }

    fn push(&mut self, told: Told) {
        self.history.push(told);
        self.before.push(self.begun.unwrap_or_else(Instant::now));
    }

    pub fn last(&self) -> &str {
        self.history.entries.last().map_or("", |told| &told.token)
    }

    /// A watch of everything behind what is known.
    pub async fn watch(&self, server: &Server) -> Result<Streaming<v1::WatchResponse>, String> {
        watch(server, self.last()).await.map_err(wrong("a watch"))
    }

    /// Holds what is there against what was asked and heard since the last time.
    pub async fn verify(
        &mut self,
        server: &Server,
        requests: Vec<Request>,
        live: &Watched,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let first = self.history.entries.len();
        let head = checked(server, Requirement::FullyConsistent(true)).await?;
        let messages = match replay(server, self.last(), &head).await {
            // The machine took longer than the history is promised.
            Err(status) if status.code() == Code::OutOfRange && self.is_over(first - 1) => {
                return self.begin_anew(server, head).await;
            }
            replayed => replayed.map_err(wrong("a watch"))?,
        };
        if !messages.starts_with(live) {
            return Err(format!("a watch told {} messages, and they are not there now", live.len()));
        }
        self.counts.told_live += live.len() as u64;
        let mut asked: HashMap<String, Request> =
            requests.into_iter().map(|request| (request.name.clone(), request)).collect();
        for message in &messages {
            self.counts.entries += 1;
            let told = told(message)?;
            match message.schema_updated {
                true => self.schema(&told, &mut asked)?,
                false => self.entry(&told, &mut asked)?,
            }
            self.push(told);
        }
        if self.last() != head {
            return Err("the watch did not end at the head".to_owned());
        }
        asked.into_values().try_for_each(|request| self.unseen(&request))?;
        let state = read(server, Requirement::FullyConsistent(true)).await.map_err(wrong("reading"))?;
        if state != self.history.state {
            return Err(format!("the head is {state:?}, not {:?}", self.history.state));
        }
        let schema = server.schemas().await.read_schema(v1::ReadSchemaRequest {}).await;
        let schema = schema.map_err(wrong("the schema"))?.into_inner().schema_text;
        let extra = self.history.schema.map(|extra| format!("definition extra{extra:0>3} "));
        if extra.is_some_and(|extra| !schema.contains(&extra)) {
            return Err(format!("the schema is not the one of {:?}: {schema}", self.history.schema));
        }
        self.try_tokens(server, first, rng).await
    }

    /// What happened since is not told any more; what is there is believed.
    async fn begin_anew(&mut self, server: &Server, token: String) -> Result<(), String> {
        let state = read(server, Requirement::FullyConsistent(true)).await.map_err(wrong("reading"))?;
        let gone = self.history.state.keys().filter(|identity| !state.contains_key(*identity));
        let mut effect: Effect = gone.map(|identity| (identity.clone(), None)).collect();
        effect.extend(state.into_iter().map(|(identity, attributes)| (identity, Some(attributes))));
        self.push(Told { token, name: None, effect });
        self.history.schema = None;
        self.counts.lost_sight += 1;
        Ok(())
    }

    /// An entry must be what its request does at its place, and nobody may have heard otherwise.
    fn entry(&mut self, told: &Told, asked: &mut HashMap<String, Request>) -> Result<(), String> {
        let name = told.name.clone().unwrap_or_default();
        let request =
            asked.remove(&name).ok_or_else(|| format!("nobody asked for {told:?}, or it is there twice"))?;
        match judge(&self.history.state, &request.asking) {
            Ok(effect) if effect == told.effect => {}
            judged => return Err(format!("{request:?} should do {judged:?}; it did {told:?}")),
        }
        match &request.heard {
            Heard::Acknowledged(token) if token.is_empty() || *token == told.token => {
                self.counts.acknowledged += 1;
            }
            Heard::Acknowledged(_) => return Err(format!("{name} was acknowledged with another token")),
            Heard::Refused => return Err(format!("{name} was refused and is there: {told:?}")),
            Heard::Nothing => self.counts.whole += 1,
        }
        Ok(())
    }

    fn schema(&mut self, told: &Told, asked: &mut HashMap<String, Request>) -> Result<(), String> {
        let schemas = || asked.values().filter(|request| matches!(request.asking, Asking::Schema(_)));
        let acknowledged = Heard::Acknowledged(told.token.clone());
        let request = schemas()
            .find(|request| request.heard == acknowledged)
            .or_else(|| schemas().find(|request| request.heard == Heard::Nothing));
        let request = request.cloned().ok_or_else(|| format!("nobody asked for the schema of {told:?}"))?;
        asked.remove(&request.name);
        match request.heard {
            Heard::Nothing => self.counts.whole += 1,
            _ => self.counts.acknowledged += 1,
        }
        self.counts.schemas += 1;
        if let Asking::Schema(extra) = request.asking {
            self.history.schema = Some(extra);
        }
        Ok(())
    }

    /// A request without an entry: nothing was to be done, or it was refused, or it was in flight.
    fn unseen(&mut self, request: &Request) -> Result<(), String> {
        match &request.heard {
            Heard::Refused => self.counts.refused += 1,
            Heard::Nothing => self.counts.absent += 1,
            Heard::Acknowledged(token) => {
                let lost = || Err(format!("{request:?} was acknowledged and is not there"));
                if matches!(request.asking, Asking::Import(_) | Asking::Schema(_)) {
                    return lost();
                }
                let Some(state) = self.history.at(token) else { return lost() };
                if judge(&state, &request.asking) != Ok(Effect::new()) {
                    return lost();
                }
                self.counts.acknowledged += 1;
                self.counts.without_change += 1;
            }
        }
        Ok(())
    }

    /// Tokens show what was there.
    async fn try_tokens(&mut self, server: &Server, first: usize, rng: &mut Rng) -> Result<(), String> {
        let count = self.history.entries.len();
        let mut tried = Vec::new();
        for _ in 0..TRIED_OF_LIFE {
            tried.extend((first < count).then(|| first + rng.below((count - first) as u64) as usize));
        }
        for _ in 0..TRIED_OF_ALL {
            tried.push(rng.below(count as u64) as usize);
        }
        for place in tried {
            let text = &self.history.entries[place].token;
            if checked(server, Requirement::AtLeastAsFresh(token(text))).await? != self.last() {
                return Err(format!("at least as fresh as entry {place} is not the head"));
            }
            match read(server, Requirement::AtExactSnapshot(token(text))).await {
                Ok(state) if Some(&state) == self.history.at(text).as_ref() => self.counts.exact += 1,
                Ok(state) => return Err(format!("entry {place} shows {state:?}")),
                // The history that is promised may be over.
                Err(status) if status.code() == Code::OutOfRange && self.is_over(place) => {
                    self.counts.trimmed += 1;
                }
                Err(status) => return Err(format!("the token of entry {place}: {status:?}")),
            }
        }
        Ok(())
    }

    /// Whether an entry may be older than the shortest history that was promised.
    fn is_over(&self, place: usize) -> bool {
        // It can be asked about until the entry after it is too old; the server counts in whole seconds.
        let before = self.before.get(place + 1).or(self.begun.as_ref());
        before.is_some_and(|at| at.elapsed() + Duration::from_secs(1) > SHORT_HISTORY)
    }

    /// From the first token on, all is told once more, the same.
    pub async fn replay_all(&self, server: &Server) -> Result<(), String> {
        let Some((first, rest)) = self.history.entries.split_first() else { return Ok(()) };
        let messages = replay(server, &first.token, self.last()).await.map_err(wrong("a watch"))?;
        let all: Vec<Told> = messages.iter().map(told).collect::<Result<_, _>>()?;
        if all != rest {
            return Err(format!("{} entries, not the {} that were told before", all.len(), rest.len()));
        }
        Ok(())
    }
}

async fn watch(server: &Server, after: &str) -> Result<Streaming<v1::WatchResponse>, Status> {
    let request = v1::WatchRequest {
        optional_start_cursor: Some(token(after)),
        optional_update_kinds: vec![1, 2, 3],
        ..Default::default()
    };
    Ok(server.watches().await.watch(request).await?.into_inner())
}

/// Everything after one token up to another, without checkpoints.
pub async fn replay(server: &Server, after: &str, head: &str) -> Result<Watched, Status> {
    let mut stream = watch(server, after).await?;
    let mut messages = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, stream.message()).await;
        let next = next.map_err(|_| Status::deadline_exceeded("a watch does not reach the head"))?;
        let message = next?.ok_or_else(|| Status::data_loss("a watch ended"))?;
        let is_head = message.changes_through.as_ref().is_some_and(|through| through.token == head);
        let is_checkpoint = message.is_checkpoint;
        if !is_checkpoint {
            messages.push(message);
        }
        if is_checkpoint && is_head {
            return Ok(messages);
        }
    }
}
