//! The examples of `docs/differences.md`, read so that both servers can be held to them.
//!
//! An example is a fenced block whose info string is `difference ID`: a schema, a line `---`, relationships one a line,
//! a line `---`, then questions, each followed by what is answered:
//!
//! ```text
//! check document:one#view@user:amy with {"flag":true}
//! SpiceDB: no
//! Idhini:  has
//! ```
//!
//! Where SpiceDB's answer changes from call to call, the possible ones are joined by ` or `. A question may be preceded
//! by lines `in one call with: check …`. The question `schema` asks whether the schema is accepted.

use std::collections::BTreeSet;

use idhini_model::{Context, Relationship, SubjectRef, Timestamp};
use idhini_testkit::generate::INSTANT_SECONDS;
use idhini_wire::authzed::api::v1::relationship_update::Operation;

use crate::ours::Ours;
use crate::query::{Observed, Posed, Query, Reply};
use crate::run::wipe;
use crate::spicedb::{Broken, SpiceDb};

/// How often an example is asked whose answers change from time to time.
const ATTEMPTS: usize = 200;

/// One example.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The ledger id.
    pub id: String,
    /// The schema.
    pub schema: String,
    /// The data.
    pub relationships: Vec<Relationship>,
    /// The questions.
    pub questions: Vec<Expected>,
}

/// A question and what is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// The question; `None` asks whether the schema is accepted.
    pub asked: Option<Posed>,
    /// Other checks of the same bulk call, before it.
    pub company: Vec<Posed>,
    /// SpiceDB's possible answers.
    pub theirs: BTreeSet<String>,
    /// Ours.
    pub ours: String,
}

/// What is wrong with the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("example `{id}`: {what}: {line}")]
pub struct Unreadable {
    /// The example.
    pub id: String,
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub line: String,
}

/// Reads all examples of a document.
///
/// # Errors
/// [`Unreadable`].
pub fn examples(document: &str) -> Result<Vec<Example>, Unreadable> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(id) = line.strip_prefix("```difference ") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        found.push(example(id.trim(), &body)?);
    }
    Ok(found)
}

fn example(id: &str, body: &[&str]) -> Result<Example, Unreadable> {
    let wrong =
        |what: &'static str, line: &str| Unreadable { id: id.to_owned(), what, line: line.to_owned() };
    let mut parts = body.split(|line| *line == "---");
    let schema = parts.next().unwrap_or_default().join("\n");
    let mut relationships = Vec::new();
    for line in parts.next().unwrap_or_default().iter().filter(|line| !line.trim().is_empty()) {
        relationships.push(line.parse().map_err(|_| wrong("not a relationship", line))?);
    }
    let mut questions: Vec<Expected> = Vec::new();
    let mut company = Vec::new();
    for line in parts.next().unwrap_or_default().iter().filter(|line| !line.trim().is_empty()) {
        if let Some(other) = line.strip_prefix("in one call with: ") {
            company.push(posed(other).ok_or_else(|| wrong("not a question", line))?);
        } else if let Some(theirs) = line.strip_prefix("SpiceDB:") {
            let last = questions.last_mut().ok_or_else(|| wrong("an answer without a question", line))?;
            last.theirs = theirs.split(" or ").map(|answer| answer.trim().to_owned()).collect();
        } else if let Some(ours) = line.strip_prefix("Idhini:") {
            let last = questions.last_mut().ok_or_else(|| wrong("an answer without a question", line))?;
            last.ours = ours.trim().to_owned();
        } else {
            let asked = match *line {
                "schema" => None,
                line => Some(posed(line).ok_or_else(|| wrong("not a question", line))?),
            };
            let company = std::mem::take(&mut company);
            questions.push(Expected { asked, company, theirs: BTreeSet::new(), ours: String::new() });
        }
    }
    match questions.iter().find(|q| q.theirs.is_empty() || q.ours.is_empty()) {
        Some(_) => Err(wrong("a question without both answers", id)),
        None => Ok(Example { id: id.to_owned(), schema, relationships, questions }),
    }
}

fn posed(line: &str) -> Option<Posed> {
    let (question, context) = match line.split_once(" with ") {
        Some((question, context)) => (question, Context::from_json(context).ok()?),
        None => (line, Context::default()),
    };
    let (kind, rest) = ["check ", "lookup of resources ", "lookup of subjects ", "expand "]
        .into_iter()
        .find_map(|kind| question.strip_prefix(kind).map(|rest| (kind, rest)))?;
    let (left, subject) = match kind {
        "expand " => (rest, ""),
        _ => rest.split_once('@')?,
    };
    let (resource, permission) = left.split_once('#')?;
    let permission = permission.to_owned();
    let query = match kind {
        "check " => {
            Query::Check { resource: resource.parse().ok()?, permission, subject: subject.parse().ok()? }
        }
        "lookup of resources " => Query::Resources {
            resource_type: resource.to_owned(),
            permission,
            subject: subject.parse().ok()?,
        },
        "lookup of subjects " => {
            let (subject_type, relation) = match subject.split_once('#') {
                Some((subject_type, relation)) => (subject_type, Some(relation.to_owned())),
                None => (subject, None),
            };
            let subject_type = SubjectRef::object(subject_type, "any").object_type;
            let resource = resource.parse().ok()?;
            Query::Subjects { resource, permission, subject_type, subject_relation: relation }
        }
        _ => Query::Expand { resource: resource.parse().ok()?, permission },
    };
    Some(Posed { query, context })
}

/// What our answers are, and where the document says otherwise.
#[must_use]
pub fn wrong_of_ours(example: &Example) -> Vec<String> {
    let instant = Timestamp::from_seconds(INSTANT_SECONDS);
    let ours = Ours::new(&example.schema, &example.relationships, instant);
    let mut wrong = Vec::new();
    for question in &example.questions {
        let got = match (&ours, &question.asked) {
            (Ok(_), None) => "accepted".to_owned(),
            (Err(_), _) => "refused".to_owned(),
            (Ok(ours), Some(asked)) => {
                let reply = ours.engine(asked);
                if let Some(reference) = ours.reference(asked)
                    && crate::compare::difference(&reference, &reply).is_some()
                {
                    wrong.push(format!("{}: {asked}: the reference says {reference}", example.id));
                }
                spoken(&reply)
            }
        };
        if got != question.ours {
            let asked = question.asked.as_ref().map_or("schema".to_owned(), ToString::to_string);
            wrong.push(format!("{}: {asked}: Idhini answers {got}, not {}", example.id, question.ours));
        }
    }
    wrong
}

/// Where SpiceDB answers otherwise than the document says.
///
/// The example is loaded and asked from the start until every answer it lists was seen, a bounded number of times.
///
/// # Errors
/// [`Broken`].
pub async fn wrong_of_theirs(server: &SpiceDb, example: &Example) -> Result<Vec<String>, Broken> {
    let mut seen: Vec<BTreeSet<String>> = vec![BTreeSet::new(); example.questions.len()];
    for _ in 0..ATTEMPTS {
        for (seen, answer) in seen.iter_mut().zip(answers_of_theirs(server, example).await?) {
            seen.insert(answer);
        }
        let all = |(question, seen): (&Expected, &BTreeSet<String>)| question.theirs.is_subset(seen);
        if example.questions.iter().zip(&seen).all(all) {
            break;
        }
    }
    let wrong = example.questions.iter().zip(&seen).filter(|(question, seen)| **seen != question.theirs);
    let told = wrong.map(|(question, seen)| {
        let asked = question.asked.as_ref().map_or("schema".to_owned(), ToString::to_string);
        let listed = |answers: &BTreeSet<String>| answers.iter().cloned().collect::<Vec<_>>().join(" or ");
        let (got, said) = (listed(seen), listed(&question.theirs));
        format!("{}: {asked}: SpiceDB answers {got}, not {said}", example.id)
    });
    Ok(told.collect())
}

async fn answers_of_theirs(server: &SpiceDb, example: &Example) -> Result<Vec<String>, Broken> {
    wipe(server).await?;
    let accepted = server.write_schema(&example.schema).await?;
    let mut stored = Ok(());
    if accepted.is_ok() {
        stored = server.write(&example.relationships, Operation::Touch).await?;
    }
    let mut answers = Vec::new();
    for question in &example.questions {
        answers.push(match (&accepted, &stored, &question.asked) {
            (Err(_), _, _) => "refused".to_owned(),
            (Ok(()), Err(_), _) => "data refused".to_owned(),
            (Ok(()), Ok(()), None) => "accepted".to_owned(),
            (Ok(()), Ok(()), Some(asked)) => heard(&ask(server, asked, &question.company).await?),
        });
    }
    Ok(answers)
}

async fn ask(server: &SpiceDb, asked: &Posed, company: &[Posed]) -> Result<Observed, Broken> {
    if company.is_empty() {
        return server.ask(asked).await;
    }
    let items: Vec<Posed> = company.iter().chain([asked]).cloned().collect();
    let reply = server.check_bulk(&items).await?.pop();
    let reply = reply.ok_or(Broken::Unreadable { call: "CheckBulkPermissions", what: "no pair" })?;
    Ok(Observed { reply, repeated: Default::default() })
}

fn heard(observed: &Observed) -> String {
    let mut text = spoken(&observed.reply);
    if !observed.repeated.is_empty() {
        let ids: Vec<&str> = observed.repeated.iter().map(String::as_str).collect();
        text.push_str(&format!(" repeating {}", ids.join(", ")));
    }
    text
}

/// Errors by their code alone.
fn spoken(reply: &Reply) -> String {
    reply.fault().map_or_else(|| reply.to_string(), |fault| format!("{:?}", fault.code))
}

#[cfg(test)]
mod tests;
