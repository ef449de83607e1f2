//! Do both answer the same? Questions drawn from the relationships that there are, put to both.

use std::collections::HashMap;

use idhini_model::{Relationship, ResourceRef, SubjectRef, WILDCARD};
use idhini_schema::Schema;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_bulk_permissions_pair::Response;
use serde_json::{Value, json};
use tonic::Status;

use super::copy::newest;
use super::source::{again, exact};
use super::{Ends, Failure};
use crate::arguments::Migrate;
use crate::client::Server;
use crate::output::{self, Style, Verdict};
use crate::progress;

/// Questions in one call.
const ITEMS: usize = 100;
/// Questions that are shown when their answers differ.
const SHOWN_MAX: usize = 20;
/// Steps from a userset to who is in it.
const STEPS_MAX: u32 = 8;

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Checks {
    has: u64,
    no: u64,
    conditional: u64,
    /// The SpiceDB had no answer, such as beyond its depth.
    unanswered: u64,
    /// Question, the SpiceDB's answer, ours.
    pub(super) differing: Vec<(String, String, String)>,
}

/// Draws numbers: SplitMix64, whose next number is a function of the one before.
#[derive(Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % end.max(1)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let place = self.below(all.len() as u64);
        all.get(usize::try_from(place).ok()?)
    }
}

/// Puts the questions to both; the SpiceDB's answers are of one revision.
pub(super) async fn compare(
    ends: &Ends,
    revision: &str,
    schema: &Schema,
    sample: &[Relationship],
    migrate: &Migrate,
    style: Style,
) -> Result<Checks, Failure> {
    let mut checks = Checks::default();
    let bar = progress::bar(u64::from(migrate.sample_checks), style);
    bar.set_message("checked");
    let mut questions = Questions::new(schema, sample, migrate.sample_seed);
    let mut left = migrate.sample_checks as usize;
    while left > 0 {
        let items: Vec<_> = std::iter::from_fn(|| questions.draw()).take(left.min(ITEMS)).collect();
        if items.is_empty() {
            break;
        }
        left -= items.len();
        let theirs = ask(&ends.source, &items, exact(revision)).await?;
        let ours = ask(&ends.destination, &items, newest()).await?;
        if theirs.len() != items.len() || ours.len() != items.len() {
            return Err(Failure::Answer { missing: "answer to each question" });
        }
        for ((item, theirs), ours) in items.iter().zip(theirs).zip(ours) {
            checks.judge(item, &theirs, &ours);
        }
        bar.inc(items.len() as u64);
    }
    bar.finish_and_clear();
    Ok(checks)
}

type Item = v1::CheckBulkPermissionsRequestItem;

async fn ask(
    server: &Server,
    items: &[Item],
    consistency: Option<v1::Consistency>,
) -> Result<Vec<Result<Verdict, String>>, Status> {
    let request = v1::CheckBulkPermissionsRequest { consistency, items: items.to_vec(), with_tracing: false };
    let mut tries = 0;
    let answer = loop {
        match server.permissions().check_bulk_permissions(server.request(request.clone())).await {
            Ok(answer) => break answer.into_inner(),
            Err(status) => again(&mut tries, status).await?,
        }
    };
    let verdict = |pair: v1::CheckBulkPermissionsPair| match pair.response {
        Some(Response::Item(item)) => {
            Verdict::of(item.permissionship).ok_or_else(|| "an unknown answer".to_owned())
        }
        Some(Response::Error(error)) => Err(error.message),
        None => Err("no answer".to_owned()),
    };
    Ok(answer.pairs.into_iter().map(verdict).collect())
}

impl Checks {
    fn judge(&mut self, item: &Item, theirs: &Result<Verdict, String>, ours: &Result<Verdict, String>) {
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) if theirs == ours => match ours {
                Verdict::Has => self.has += 1,
                Verdict::No => self.no += 1,
                Verdict::Conditional => self.conditional += 1,
            },
            (Err(_), _) => self.unanswered += 1,
            (theirs, ours) => {
                let text = |answer: &Result<Verdict, String>| match answer {
                    Ok(verdict) => verdict.word().to_owned(),
                    Err(error) => error.clone(),
                };
                self.differing.push((question(item), text(theirs), text(ours)));
            }
        }
    }

    fn same(&self) -> u64 {
        self.has + self.no + self.conditional
    }

    pub(super) fn show(&self, style: Style) {
        let word = if self.differing.is_empty() { "same" } else { "differs" };
        let text = format!(
            "{} of {} checks: {} has, {} no, {} conditional; {} that the SpiceDB could not answer",
            self.same(),
            self.same() + self.unanswered + self.differing.len() as u64,
            self.has,
            self.no,
            self.conditional,
            self.unanswered
        );
        output::line_of(word, &text, style);
        for (question, theirs, ours) in self.differing.iter().take(SHOWN_MAX) {
            output::line_of("differs", &format!("{question}: SpiceDB {theirs}, Idhini {ours}"), style);
        }
    }

    pub(super) fn json(&self) -> Value {
        let differing = self.differing.iter().take(SHOWN_MAX);
        let differing = differing.map(|(question, source, destination)| {
            json!({ "question": question, "source": source, "destination": destination })
        });
        json!({
            "same": self.same(), "has": self.has, "no": self.no, "conditional": self.conditional,
            "unanswered": self.unanswered, "differing": self.differing.len(),
            "examples": differing.collect::<Vec<_>>(),
        })
    }
}

fn question(item: &Item) -> String {
    let resource = item.resource.clone().unwrap_or_default();
    let subject = item.subject.clone().unwrap_or_default();
    let object = subject.object.unwrap_or_default();
    let relation = match subject.optional_relation.as_str() {
        "" => String::new(),
        relation => format!("#{relation}"),
    };
    let (of, by) = (resource.object_type, object.object_type);
    format!("{of}:{}#{}@{by}:{}{relation}", resource.object_id, item.permission, object.object_id)
}

/// Draws questions.
struct Questions<'a> {
    schema: &'a Schema,
    sample: &'a [Relationship],
    /// By resource, its places in the sample.
    by_resource: HashMap<&'a ResourceRef, Vec<usize>>,
    draw: Draw,
}

impl<'a> Questions<'a> {
    fn new(schema: &'a Schema, sample: &'a [Relationship], seed: u64) -> Questions<'a> {
        let mut by_resource: HashMap<&ResourceRef, Vec<usize>> = HashMap::new();
        for (place, relationship) in sample.iter().enumerate() {
            by_resource.entry(&relationship.resource).or_default().push(place);
        }
        Questions { schema, sample, by_resource, draw: Draw::new(seed) }
    }

    /// A resource, one of its permissions or relations, and a subject: half of them one that is near, so that there are
    /// grants among the answers.
    fn draw(&mut self) -> Option<Item> {
        let relationship = self.draw.of(self.sample)?;
        let definition = self.schema.definition(&relationship.resource.object_type)?;
        let members: Vec<&str> = (definition.permissions.iter().map(|p| p.name.as_str()))
            .chain(definition.relations.iter().map(|r| r.name.as_str()))
            .collect();
        let permission = (*self.draw.of(&members)?).to_owned();
        let subject = match self.draw.below(2) {
            0 => self.near(relationship),
            _ => self.draw.of(self.sample)?.subject.clone(),
        };
        let subject = self.concrete(subject);
        Some(Item {
            resource: Some(relationship.resource.clone().into()),
            permission,
            subject: Some(subject.into()),
            context: None,
        })
    }

    /// From what a relationship names to who is behind it, as far as the sample says.
    fn near(&mut self, relationship: &Relationship) -> SubjectRef {
        let mut subject = relationship.subject.clone();
        for _ in 0..STEPS_MAX {
            let object = ResourceRef::new(&*subject.object_type, &*subject.object_id);
            let Some(places) = self.by_resource.get(&object) else { break };
            let Some(next) = self.draw.of(places).and_then(|place| self.sample.get(*place)) else { break };
            subject = next.subject.clone();
            if self.draw.below(4) == 0 {
                break;
            }
        }
        subject
    }

    /// `*` cannot be asked about: somebody of that type stands for all.
    fn concrete(&mut self, subject: SubjectRef) -> SubjectRef {
        if subject.object_id != WILDCARD {
            return subject;
        }
        let drawn = self.draw.below(1_000);
        SubjectRef { object_id: format!("anybody{drawn}"), ..subject }
    }
}
