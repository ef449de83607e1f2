//! The loop: make worlds, load dozens of them at once, ask both, keep what disagrees.
//!
//! # Invariants
//! * Between batches the server holds no relationship, so that the next schema is accepted.
//! * A world that only one of the two accepts is counted, never skipped in silence.
//!
//! Cost: one schema and a few writes per batch; per world one bulk check and a call per lookup.

use std::collections::BTreeMap;
use std::sync::Arc;

use idhini_model::{Relationship, Timestamp};
use idhini_testkit::generate::{INSTANT_SECONDS, Options, World, world};
use idhini_testkit::rng::Rng;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::compare::{Difference, Disagreement, difference};
use crate::ledger;
use crate::naming::{Prefix, merged};
use crate::ours::Ours;
use crate::query::{Case, Observed, Posed, Query, Reply};
use crate::report::Report;
use crate::reproduce::{evidence, insist, is_worth_insisting};
use crate::spicedb::{Broken, SpiceDb};
use crate::worlds::{drop_caveats, reach_wildcard_through_permission};

/// Worlds in one schema.
pub const BATCH_WORLDS: usize = 40;
/// Worlds asked at the same time.
const WORLDS_AT_ONCE: usize = 4;
/// Expansions asked of each world.
const EXPANSIONS: usize = 4;
/// Unexplained disagreements of each kind that are kept for shrinking.
const KEPT_PER_KIND: u64 = 2;
/// Examples that are kept of each ledger entry.
const EXAMPLES_KEPT: usize = 3;

/// The run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The server or the connection.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A task died.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// What is to be asked.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Seed of the first world; the next have the next numbers.
    pub seed: u64,
    /// At least so many questions.
    pub questions: u64,
    /// Leave all caveats out: what disagrees then is in the algebra alone.
    pub without_caveats: bool,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Counts.
    pub report: Report,
    /// Disagreements that no entry explains; the first ones of each kind.
    pub unexplained: Vec<Disagreement>,
    /// How many there are of each kind ([`Disagreement::signature`]).
    pub kinds: BTreeMap<String, u64>,
    /// The first examples per ledger id.
    pub examples: BTreeMap<&'static str, Vec<Disagreement>>,
    /// Anything else that went wrong, as text.
    pub remarks: Vec<String>,
}

/// A world with its prefix and our answers at hand.
struct Loaded {
    world: World,
    prefix: Prefix,
    ours: Ours,
}

/// Asks until `plan.questions` are asked. `progress` is called after each batch.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    server: &SpiceDb,
    plan: Plan,
    progress: &mut dyn FnMut(&Report),
) -> Result<Findings, RunError> {
    let mut findings = Findings::default();
    let mut seed = plan.seed;
    wipe(server).await?;
    while findings.report.questions() < plan.questions {
        batch(server, seed, plan, &mut findings).await?;
        seed += BATCH_WORLDS as u64;
        progress(&findings.report);
    }
    Ok(findings)
}

/// Deletes every relationship, so that any schema is accepted.
///
/// # Errors
/// [`Broken`].
pub async fn wipe(server: &SpiceDb) -> Result<(), Broken> {
    let schema = server.read_schema().await?;
    let definitions = schema.lines().filter_map(|line| line.trim().strip_prefix("definition "));
    for name in definitions.filter_map(|rest| rest.split([' ', '{']).next()) {
        server.delete_all(name).await?;
    }
    Ok(())
}

async fn batch(server: &SpiceDb, seed: u64, plan: Plan, findings: &mut Findings) -> Result<(), RunError> {
    let options = Options { acyclic: true, spicedb: true };
    let mut loaded = Vec::new();
    for number in 0..BATCH_WORLDS {
        let mut world = world(seed + number as u64, &options);
        reach_wildcard_through_permission(&mut world);
        if plan.without_caveats {
            drop_caveats(&mut world);
        }
        match ours(&world) {
            Ok(ours) => loaded.push(Loaded { world, prefix: Prefix::of(number), ours }),
            Err(why) => findings.refuse(seed + number as u64, &format!("we refuse: {why}")),
        }
    }
    let loaded = accepted(server, loaded, findings).await?;
    let mut stored = Vec::new();
    let mut worlds = Vec::new();
    for one in loaded {
        let relationships: Vec<Relationship> =
            one.world.relationships.iter().map(|r| one.prefix.relationship(r)).collect();
        match server.write(&relationships, Operation::Touch).await? {
            Ok(()) => {
                stored.extend(relationships);
                worlds.push(Arc::new(one));
            }
            Err(fault) => {
                findings.refuse(one.world.seed, &format!("SpiceDB refuses data: {}", fault.message))
            }
        }
    }
    let permits = Arc::new(Semaphore::new(WORLDS_AT_ONCE));
    let mut tasks = JoinSet::new();
    for one in worlds {
        let (server, permits) = (server.clone(), Arc::clone(&permits));
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            ask_world(&server, &one).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (report, disagreements, remarks) = done??;
        findings.report.add(&report);
        findings.remarks.extend(remarks);
        disagreements.into_iter().for_each(|d| findings.classify(d));
    }
    if let Err(fault) = server.write(&stored, Operation::Delete).await? {
        findings.remarks.push(format!("deleting failed: {}", fault.message));
        wipe(server).await?;
    }
    Ok(())
}

fn ours(world: &World) -> Result<Ours, crate::ours::Unaskable> {
    Ours::new(&world.sketch.text(), &world.relationships, Timestamp::from_seconds(INSTANT_SECONDS))
}

/// Writes one schema of all worlds; if that is refused, finds those that are refused alone.
async fn accepted(
    server: &SpiceDb,
    loaded: Vec<Loaded>,
    findings: &mut Findings,
) -> Result<Vec<Loaded>, Broken> {
    let text = |loaded: &[Loaded]| merged(loaded.iter().map(|l| l.prefix.sketch(&l.world.sketch))).text();
    if server.write_schema(&text(&loaded)).await?.is_ok() {
        return Ok(loaded);
    }
    let mut good = Vec::new();
    for one in loaded {
        match server.write_schema(&text(std::slice::from_ref(&one))).await? {
            Ok(()) => good.push(one),
            Err(fault) => {
                let why = one.prefix.strip_all(&fault.message);
                findings.refuse(one.world.seed, &format!("SpiceDB refuses the schema: {why}"));
            }
        }
    }
    if let Err(fault) = server.write_schema(&text(&good)).await? {
        findings.remarks.push(format!("schemas accepted alone are refused together: {}", fault.message));
        good.clear();
    }
    Ok(good)
}

impl Findings {
    fn refuse(&mut self, seed: u64, why: &str) {
        self.report.refused_worlds += 1;
        self.remarks.push(format!("world {seed}: {why}"));
    }

    fn classify(&mut self, disagreement: Disagreement) {
        let entries = ledger::explain(&disagreement);
        if entries.is_empty() {
            self.report.unexplained += 1;
            let count = self.kinds.entry(disagreement.signature()).or_default();
            *count += 1;
            if *count <= KEPT_PER_KIND {
                self.unexplained.push(disagreement);
            }
            return;
        }
        self.report.disagreements += 1;
        for entry in &entries {
            *self.report.known.entry(entry.id).or_default() += 1;
        }
        // An example of an entry is one that it explains alone.
        if let [entry] = entries[..] {
            let kept = self.examples.entry(entry.id).or_default();
            if kept.len() < EXAMPLES_KEPT {
                kept.push(disagreement);
            }
        }
    }
}

/// The world's questions, and expansions of some of its resources.
fn questions(world: &World) -> (Vec<Posed>, Vec<Posed>) {
    let posed = world.questions.iter().map(|question| Posed {
        query: question.ask.clone().into(),
        context: world.contexts[question.context].clone(),
    });
    let (checks, mut others): (Vec<Posed>, Vec<Posed>) =
        posed.partition(|posed| matches!(posed.query, Query::Check { .. }));
    let mut rng = Rng::new(world.seed ^ EXPANSION_SALT);
    for _ in 0..EXPANSIONS.min(checks.len()) {
        if let Query::Check { resource, permission, .. } = &rng.pick(&checks).query {
            let query = Query::Expand { resource: resource.clone(), permission: permission.clone() };
            others.push(Posed { query, context: Default::default() });
        }
    }
    (checks, others)
}

/// Keeps the choice of expansions apart from the world's own draws.
const EXPANSION_SALT: u64 = 0x0E59_A4D0;

type Asked = (Report, Vec<Disagreement>, Vec<String>);

async fn ask_world(server: &SpiceDb, one: &Loaded) -> Result<Asked, Broken> {
    let mut report = Report { worlds: 1, ..Report::default() };
    let mut found = Vec::new();
    let mut remarks = Vec::new();
    let (checks, others) = questions(&one.world);
    let prefixed: Vec<Posed> = checks.iter().map(|posed| one.prefix.posed(posed)).collect();
    let replies = server.check_bulk(&prefixed).await?;
    for (at, theirs) in replies.into_iter().enumerate() {
        let observed = Observed { reply: theirs, repeated: Default::default() };
        judge(server, one, (&checks[at], &checks), observed, (&mut report, &mut found, &mut remarks)).await?;
    }
    for posed in &others {
        let observed = server.ask(&one.prefix.posed(posed)).await?;
        let observed = strip(&one.prefix, observed);
        judge(server, one, (posed, &[]), observed, (&mut report, &mut found, &mut remarks)).await?;
    }
    Ok((report, found, remarks))
}

/// Expansions name types.
fn strip(prefix: &Prefix, mut observed: Observed) -> Observed {
    if let Reply::Tree(tree) = &mut observed.reply {
        tree.rename(&|name| prefix.strip(name).to_owned());
        tree.sort();
    }
    observed
}

async fn judge(
    server: &SpiceDb,
    one: &Loaded,
    (posed, company): (&Posed, &[Posed]),
    observed: Observed,
    (report, found, remarks): (&mut Report, &mut Vec<Disagreement>, &mut Vec<String>),
) -> Result<(), Broken> {
    let ours = one.ours.engine(posed);
    report.count(posed.query.call(), ours.turnout());
    if let Some(reference) = one.ours.reference(posed)
        && difference(&reference, &ours).is_some()
    {
        report.own += 1;
        remarks.push(format!("world {}: {posed}: engine {ours}, reference {reference}", one.world.seed));
    }
    let repeats = Some(&observed.repeated).filter(|ids| !ids.is_empty());
    let differs = difference(&observed.reply, &ours).or(repeats.cloned().map(Difference::Repeats));
    let Some(differs) = differs else { return Ok(()) };
    let rename = |posed: &Posed| one.prefix.posed(posed);
    let evidence = evidence(server, &one.ours, posed, (&observed.reply, &differs), rename).await?;
    let mut disagreement = Disagreement {
        seed: one.world.seed,
        case: Case {
            sketch: one.world.sketch.clone(),
            relationships: one.world.relationships.clone(),
            asked: posed.clone(),
            company: company.iter().filter(|other| *other != posed).cloned().collect(),
        },
        theirs: observed.reply,
        ours,
        difference: differs,
        evidence,
    };
    if is_worth_insisting(&disagreement) {
        insist(server, &mut disagreement, &one.prefix).await?;
    }
    found.push(disagreement);
    Ok(())
}
