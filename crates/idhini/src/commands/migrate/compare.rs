//! Do both hold the same? Counted per definition and relation, with a sum over the contents.
//!
//! What is about to expire is left out on both sides: it might be counted on one of them only.

use std::collections::BTreeMap;

use idhini_model::{Relationship, Timestamp};
use serde_json::{Value, json};

use super::changes::Applying;
use super::copy::{digest, newest};
use super::samples::{Checks, Draw};
use super::source::{Export, exact};
use super::{Ends, MigrateError};
use crate::clock::now;
use crate::commands::Asked;
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::progress;

/// What expires within so many seconds is not compared.
const EXPIRING_SECONDS: i64 = 600;
/// Relationships that questions are drawn from.
const SAMPLE_ROWS: usize = 50_000;

/// Relationships of one relation of one definition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    count: u64,
    /// Of the digests; the order does not matter.
    sum: u64,
}

/// What was found on both sides.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    relations: BTreeMap<(String, String), [Tally; 2]>,
    /// Left out, on both sides.
    expiring: [u64; 2],
    /// Relationships of the SpiceDB.
    pub(super) sample: Vec<Relationship>,
    pub(super) checks: Checks,
    /// What was missing and what was too much before the Watch's silence was made good.
    pub(super) repaired: [u64; 2],
}

/// Counts both sides, the SpiceDB's at one revision.
pub(super) async fn compare(ends: &Ends, revision: &str, style: Style) -> Result<Comparison, Failure> {
    let mut comparison = Comparison::default();
    let horizon = Timestamp::from_seconds(now().seconds().saturating_add(EXPIRING_SECONDS));
    for (side, server) in [&ends.source, &ends.destination].into_iter().enumerate() {
        let consistency = if side == 0 { exact(revision) } else { newest() };
        comparison.count(side, Export::new(server, consistency), horizon, style).await?;
    }
    Ok(comparison)
}

impl Comparison {
    async fn count(
        &mut self,
        side: usize,
        mut export: Export,
        horizon: Timestamp,
        style: Style,
    ) -> Result<(), Failure> {
        let counter = progress::counter("compared", style);
        let mut draw = Draw::new(0);
        let mut seen = 0u64;
        while let Some(relationships) = export.next().await? {
            counter.inc(relationships.len() as u64);
            for relationship in relationships {
                let relationship = Relationship::try_from(relationship).map_err(MigrateError::from)?;
                if relationship.expires_at.is_some_and(|at| at <= horizon) {
                    self.expiring[side] += 1;
                    continue;
                }
                let Relationship { resource, relation, .. } = &relationship;
                let key = (resource.object_type.clone(), relation.clone());
                let tally = &mut self.relations.entry(key).or_default()[side];
                tally.count += 1;
                tally.sum = tally.sum.wrapping_add(digest(&relationship));
                if side == 0 {
                    seen += 1;
                    self.keep(relationship, seen, &mut draw);
                }
            }
        }
        counter.finish_and_clear();
        Ok(())
    }

    /// Keeps a sample in which every relationship is as likely as any other.
    fn keep(&mut self, relationship: Relationship, seen: u64, draw: &mut Draw) {
        if self.sample.len() < SAMPLE_ROWS {
            return self.sample.push(relationship);
        }
        let place = draw.below(seen);
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.sample.get_mut(place)) {
            *kept = relationship;
        }
    }

    pub(super) fn is_same(&self) -> bool {
        self.relations.values().all(|[source, destination]| source == destination)
            && self.checks.differing.is_empty()
    }

    /// As a table, or as JSON.
    pub(super) fn show(&self, asked: Asked<'_>, copied: u64, applying: &Applying) -> Result<(), Failure> {
        if asked.connection.json {
            output::json_line(&self.json(copied, applying));
            return Ok(());
        }
        let names: Vec<String> =
            self.relations.keys().map(|(of, relation)| format!("{of}#{relation}")).collect();
        let width = names.iter().map(String::len).max().unwrap_or(0).max("relation".len());
        output::line_of(
            "",
            &format!("{:width$}  {:>12}  {:>12}", "relation", "SpiceDB", "Idhini"),
            asked.style,
        );
        for (name, [source, destination]) in names.iter().zip(self.relations.values()) {
            let word = if source == destination { "same" } else { "differs" };
            let text = format!("{name:width$}  {:>12}  {:>12}", source.count, destination.count);
            output::line_of(word, &text, asked.style);
        }
        if self.expiring != [0, 0] {
            let text =
                format!("{:width$}  {:>12}  {:>12}", "expiring soon", self.expiring[0], self.expiring[1]);
            output::line_of("", &text, asked.style);
        }
        if self.repaired != [0, 0] {
            let [missing, stale] = self.repaired;
            let text = format!("not told by the SpiceDB, and made good: {missing} missing, {stale} too many");
            output::line_of("changed", &text, asked.style);
        }
        self.checks.show(asked.style);
        let verdict = if self.is_same() { "same" } else { "differs" };
        output::line_of(verdict, "all of it", asked.style);
        Ok(())
    }

    fn json(&self, copied: u64, applying: &Applying) -> Value {
        let relations = self.relations.iter().map(|((definition, relation), [source, destination])| {
            json!({
                "definition": definition, "relation": relation, "source": source.count,
                "destination": destination.count, "isSame": source == destination,
            })
        });
        json!({
            "copied": copied, "transactions": applying.transactions, "updates": applying.updates,
            "schemas": applying.schemas, "passedOver": applying.passed_over,
            "relations": relations.collect::<Vec<_>>(),
            "expiringSoon": { "source": self.expiring[0], "destination": self.expiring[1] },
            "repaired": { "missing": self.repaired[0], "stale": self.repaired[1] },
            "checks": self.checks.json(), "isSame": self.is_same(),
        })
    }
}
