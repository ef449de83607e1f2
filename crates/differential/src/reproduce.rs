//! A disagreement asked again, alone in the server; and made as small as it gets.

use std::fmt::Write as _;

use idhini_model::{Relationship, Timestamp};
use idhini_testkit::generate::INSTANT_SECONDS;
use idhini_wire::authzed::api::v1::relationship_update::Operation;

use crate::compare::{Checks, Difference, Disagreement, Evidence, check_of, difference};
use crate::ledger;
use crate::naming::Prefix;
use crate::ours::Ours;
use crate::query::{Case, Observed, Posed, Query, Reply};
use crate::run::wipe;
use crate::shrink::{asks_known_names, smaller};
use crate::spicedb::{Broken, SpiceDb};
use crate::suppose::split_under_all;

/// Smaller cases tried for one disagreement.
const TRIES_MAX: usize = 1500;
/// How often a check is asked at new revisions, to see whether it is stable.
const PATIENCE: usize = 120;
/// How often a question is asked again, alone, to see whether the answer stays.
pub(crate) const AGAIN: usize = 3;

/// Whether cheap evidence explains too little: nothing, or a lookup that might be a leak under `.all`.
pub(crate) fn is_worth_insisting(disagreement: &Disagreement) -> bool {
    let entries = ledger::explain(disagreement);
    entries.is_empty() || entries.contains(&&ledger::LOOKUP_OF_RESOURCES_AGAINST_CHECKS)
}

/// Asks one question of both servers, where the case's data is loaded already.
pub(crate) async fn disagree(
    server: &SpiceDb,
    ours: &Ours,
    case: &Case,
    rename: impl Fn(&Posed) -> Posed,
) -> Result<Option<(Reply, Reply, Difference, Evidence)>, Broken> {
    let observed = ask_in_company(server, case, &rename).await?;
    let mine = ours.engine(&case.asked);
    let repeats = (!observed.repeated.is_empty()).then(|| Difference::Repeats(observed.repeated.clone()));
    let Some(differs) = difference(&observed.reply, &mine).or(repeats) else { return Ok(None) };
    let evidence = evidence(server, ours, &case.asked, (&observed.reply, &differs), rename).await?;
    Ok(Some((observed.reply, mine, differs, evidence)))
}

/// Asks the same again and alone, and checks what a lookup said.
pub(crate) async fn evidence(
    server: &SpiceDb,
    ours: &Ours,
    posed: &Posed,
    (theirs, differs): (&Reply, &Difference),
    rename: impl Fn(&Posed) -> Posed,
) -> Result<Evidence, Broken> {
    let mut evidence = Evidence::default();
    for _ in 0..AGAIN {
        evidence.alone.push(server.ask(&rename(posed)).await?.reply);
    }
    let mut ids: Vec<&String> = differs.items().iter().map(|item| &item.id).collect();
    // Where one of the two fails there are no differing items: look at what the other found.
    match theirs {
        Reply::Resources(found) if *differs == Difference::Faults => ids.extend(found.keys()),
        Reply::Subjects(subjects) if *differs == Difference::Faults => ids.extend(subjects.found.keys()),
        _ => {}
    }
    for id in ids {
        let Some(check) = check_of(&posed.query, id, &posed.context) else { continue };
        let theirs = server.ask(&rename(&check)).await?.reply;
        evidence
            .checks
            .insert(id.clone(), Checks { theirs, ours: ours.engine(&check), split: None, again: Vec::new() });
    }
    Ok(evidence)
}

/// Gathers what only unexplained disagreements are worth: the world with shared objects split, and the same questions
/// over and over.
///
/// The world's relationships are back in place afterwards.
///
/// # Errors
/// [`Broken`].
pub(crate) async fn insist(
    server: &SpiceDb,
    disagreement: &mut Disagreement,
    prefix: &Prefix,
) -> Result<(), Broken> {
    split(server, disagreement, prefix).await?;
    if ledger::explain(disagreement).is_empty() {
        ask_over_and_over(server, disagreement, prefix).await?;
    }
    Ok(())
}

async fn split(server: &SpiceDb, disagreement: &mut Disagreement, prefix: &Prefix) -> Result<(), Broken> {
    let Some(split) = split_under_all(&disagreement.case) else { return Ok(()) };
    let renamed = |relationships: &[Relationship]| -> Vec<Relationship> {
        relationships.iter().map(|r| prefix.relationship(r)).collect()
    };
    let (whole, parts) = (renamed(&disagreement.case.relationships), renamed(&split.relationships));
    // Refusals show as a reply that explains nothing.
    let _ = server.write(&whole, Operation::Delete).await?;
    let _ = server.write(&parts, Operation::Touch).await?;
    let reply = ask_in_company(server, &split, |posed| prefix.posed(posed)).await?.reply;
    disagreement.evidence.split = Some(reply);
    for (id, checks) in &mut disagreement.evidence.checks {
        if let Some(check) = check_of(&split.asked.query, id, &split.asked.context) {
            checks.split = Some(server.ask(&prefix.posed(&check)).await?.reply);
        }
    }
    let _ = server.write(&parts, Operation::Delete).await?;
    let _ = server.write(&whole, Operation::Touch).await?;
    Ok(())
}

/// Each time at a new revision, so that no cache of the server answers, until a reply agrees with ours.
async fn ask_over_and_over(
    server: &SpiceDb,
    disagreement: &mut Disagreement,
    prefix: &Prefix,
) -> Result<(), Broken> {
    let Disagreement { case, ours, evidence, .. } = disagreement;
    let Some(touched) = case.relationships.first().map(|r| prefix.relationship(r)) else { return Ok(()) };
    let mut open: Vec<(Posed, &Reply, &mut Vec<Reply>)> = Vec::new();
    if matches!(case.asked.query, Query::Check { .. }) {
        open.push((case.asked.clone(), ours, &mut evidence.again));
    }
    for (id, checks) in &mut evidence.checks {
        if let Some(check) = check_of(&case.asked.query, id, &case.asked.context)
            && difference(&checks.theirs, &checks.ours).is_some()
        {
            open.push((check, &checks.ours, &mut checks.again));
        }
    }
    for (asked, ours, again) in open {
        let asked = prefix.posed(&asked);
        for _ in 0..PATIENCE {
            // The result is of no interest: the write is there for its revision.
            let _ = server.write(std::slice::from_ref(&touched), Operation::Touch).await?;
            again.push(server.ask(&asked).await?.reply);
            if again.last().is_some_and(|reply| difference(reply, ours).is_none()) {
                break;
            }
        }
    }
    Ok(())
}

/// Asks a case's question where its data is loaded: checks in one call with their company, others alone.
async fn ask_in_company(
    server: &SpiceDb,
    case: &Case,
    rename: impl Fn(&Posed) -> Posed,
) -> Result<Observed, Broken> {
    let Query::Check { .. } = &case.asked.query else { return server.ask(&rename(&case.asked)).await };
    let mut items: Vec<Posed> = case.company.iter().map(&rename).collect();
    items.push(rename(&case.asked));
    let mut replies = server.check_bulk(&items).await?;
    let reply = replies.pop().ok_or(Broken::Unreadable { call: "CheckBulkPermissions", what: "no pair" })?;
    Ok(Observed { reply, repeated: Default::default() })
}

/// Loads a case into the emptied server and asks; `None` if it is refused or both agree.
///
/// # Errors
/// [`Broken`].
pub async fn reproduce(server: &SpiceDb, seed: u64, case: &Case) -> Result<Option<Disagreement>, Broken> {
    let text = case.sketch.text();
    let instant = Timestamp::from_seconds(INSTANT_SECONDS);
    let Ok(ours) = Ours::new(&text, &case.relationships, instant) else { return Ok(None) };
    wipe(server).await?;
    if server.write_schema(&text).await?.is_err()
        || server.write(&case.relationships, Operation::Touch).await?.is_err()
    {
        return Ok(None);
    }
    let found = disagree(server, &ours, case, Posed::clone).await?;
    let found = found.map(|(theirs, ours, difference, evidence)| Disagreement {
        seed,
        case: case.clone(),
        theirs,
        ours,
        difference,
        evidence,
    });
    let Some(mut found) = found else { return Ok(None) };
    if is_worth_insisting(&found) {
        insist(server, &mut found, &Prefix::none()).await?;
    }
    Ok(Some(found))
}

/// The smallest case found that still disagrees in the same way and is explained by the same entry (or none); and how
/// many were tried.
///
/// # Errors
/// [`Broken`].
pub async fn minimal(
    server: &SpiceDb,
    found: Disagreement,
    entry: Option<&'static str>,
) -> Result<(Disagreement, usize), Broken> {
    let mut best = found;
    let mut tries = 0;
    'smaller: loop {
        for case in smaller(&best.case) {
            if tries >= TRIES_MAX {
                break 'smaller;
            }
            if !asks_known_names(&case) && asks_known_names(&best.case) {
                continue;
            }
            tries += 1;
            let Some(again) = reproduce(server, best.seed, &case).await? else { continue };
            let same = std::mem::discriminant(&again.difference) == std::mem::discriminant(&best.difference);
            let entries = ledger::explain(&again);
            let alike = match entry {
                None => entries.is_empty() && again.signature() == best.signature(),
                Some(id) => entries.len() == 1 && entries[0].id == id,
            };
            if same && alike {
                best = again;
                continue 'smaller;
            }
        }
        break;
    }
    Ok((best, tries))
}

/// A disagreement as text.
#[must_use]
pub fn narrate(d: &Disagreement) -> String {
    let mut text = format!("seed {}, {}\n{}", d.seed, d.difference.word(), d.case);
    let _ = writeln!(text, "SpiceDB: {}\nours:    {}", d.theirs, d.ours);
    if d.evidence.alone.iter().any(|reply| *reply != d.theirs) {
        for reply in &d.evidence.alone {
            let _ = writeln!(text, "SpiceDB, asked alone: {reply}");
        }
    }
    if let Some(split) = &d.evidence.split {
        let _ = writeln!(text, "SpiceDB, shared objects split: {split}");
    }
    for (id, checks) in &d.evidence.checks {
        let _ = writeln!(text, "check of `{id}`: SpiceDB {}, ours {}", checks.theirs, checks.ours);
    }
    if let Difference::Repeats(ids) = &d.difference {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let _ = writeln!(text, "answered more than once: {}", ids.join(", "));
    }
    text
}
