//! Worlds and answers as text that people read and review: the form of `golden/*.txt`.
//!
//! ```text
//! # why this file exists
//! schema:
//!   definition user {}
//! relationships:
//!   folder:one#viewer@user:amy
//! questions:
//!   check folder:one#view@user:amy with {"flag":true} at 2030-03-17T17:46:40Z = has
//!   resources folder#view@user:amy = one has
//!   subjects folder:one#view@user = amy has
//! ```
//! An answer is `no`, `has`, `if` with the missing parameters, or `refused:` with the reason. A lookup's entries
//! are separated by `; `; those the engine may leave out stand in parentheses; `*` comes last, with whom it
//! excludes in brackets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use idhini_model::{Context, Relationship, Timestamp};
use idhini_schema::Schema;

use crate::compare::{Wanted, wanted_answer};
use crate::generate::{Ask, INSTANT_SECONDS, Question, World};
use crate::reference::{Answer, Refusal, Subjects, Tables, Value};
use crate::sketch::Sketch;

/// A golden file's content: a world without a sketch, and the answer expected to each question.
#[derive(Debug, Clone)]
pub struct Golden {
    /// Schema text.
    pub schema: String,
    /// The data.
    pub relationships: Vec<Relationship>,
    /// Each distinct context of the questions; the first is empty.
    pub contexts: Vec<Context>,
    /// Each distinct instant of the questions.
    pub instants: Vec<Timestamp>,
    /// Each question with its answer in text.
    pub questions: Vec<(Question, String)>,
}

/// An answer's text.
#[must_use]
pub fn answer_text(answer: &Answer) -> String {
    match answer.value {
        Value::No => "no".into(),
        Value::Has => "has".into(),
        Value::Conditional => {
            format!("if {}", answer.missing.iter().cloned().collect::<Vec<_>>().join(","))
        }
    }
}

/// A refusal's text.
#[must_use]
pub fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::UnknownDefinition(name) => format!("refused: no definition {name}"),
        Refusal::UnknownMember { definition, member } => format!("refused: no member {definition}#{member}"),
        Refusal::WildcardSubject => "refused: wildcard".into(),
        Refusal::CaveatFailed => "refused: caveat".into(),
        Refusal::Cycle => "refused: cycle".into(),
        Refusal::Undefined => "refused: caveat or cycle".into(),
    }
}

/// A lookup's entries.
#[must_use]
pub fn entries_text(found: &BTreeMap<String, Answer>) -> String {
    found.iter().map(|(id, answer)| format!("{id} {}", answer_text(answer))).collect::<Vec<_>>().join("; ")
}

/// The answer of a lookup of subjects.
#[must_use]
pub fn subjects_text(found: &Subjects) -> String {
    let mut text = entries_text(&found.required);
    if !found.optional.is_empty() {
        let _ = write!(text, " ({})", entries_text(&found.optional));
    }
    if let Some(wildcard) = &found.wildcard {
        let answer = answer_text(&wildcard.answer);
        let _ = write!(text, " * {answer} - [{}]", entries_text(&wildcard.excluded));
    }
    text.trim().to_owned()
}

/// The text of what the reference says.
#[must_use]
pub fn wanted_text(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Check(answer) => answer.as_ref().map_or_else(refusal_text, answer_text),
        Wanted::Resources(found) => found.as_ref().map_or_else(refusal_text, entries_text),
        Wanted::Subjects(found) => found.as_ref().map_or_else(refusal_text, subjects_text),
    }
}

/// A world as a golden file, with the reference's answers if its schema is accepted.
#[must_use]
pub fn of_world(title: &str, world: &World) -> String {
    let schema = Schema::parse(&world.sketch.text()).ok();
    let tables = schema.and_then(|schema| Tables::new(&schema, &world.relationships).ok());
    let answer = |tables: &Tables, q: &Question| {
        let view = tables.view(&world.contexts[q.context], world.instants[q.instant]);
        wanted_answer(&view, &q.ask)
    };
    let answers: Vec<Wanted> =
        tables.iter().flat_map(|t| world.questions.iter().map(move |q| answer(t, q))).collect();
    print(title, world, &answers)
}

/// A world and answers as a golden file.
#[must_use]
pub fn print(title: &str, world: &World, answers: &[Wanted]) -> String {
    let mut text = String::new();
    for line in title.lines() {
        let _ = writeln!(text, "# {line}");
    }
    text.push_str("schema:\n");
    for line in world.sketch.text().lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("relationships:\n");
    for relationship in &world.relationships {
        let _ = writeln!(text, "  {relationship}");
    }
    text.push_str("questions:\n");
    for (question, answer) in world.questions.iter().zip(answers) {
        let _ = write!(text, "  {}", ask_text(&question.ask));
        let context = &world.contexts[question.context];
        if !context.is_empty() {
            let _ = write!(text, " with {context}");
        }
        let instant = world.instants[question.instant];
        if instant != Timestamp::from_seconds(INSTANT_SECONDS) {
            let _ = write!(text, " at {instant}");
        }
        let _ = writeln!(text, " = {}", wanted_text(answer));
    }
    text
}

fn ask_text(ask: &Ask) -> String {
    match ask {
        Ask::Check { resource, permission, subject } => format!("check {resource}#{permission}@{subject}"),
        Ask::Resources { resource_type, permission, subject, .. } => {
            format!("resources {resource_type}#{permission}@{subject}")
        }
        Ask::Subjects { resource, permission, subject_type, subject_relation, .. } => {
            let relation = subject_relation.as_ref().map_or(String::new(), |r| format!("#{r}"));
            format!("subjects {resource}#{permission}@{subject_type}{relation}")
        }
    }
}

/// Reads a golden file.
///
/// # Errors
/// The line that could not be read, and why.
pub fn parse(text: &str) -> Result<Golden, String> {
    let mut golden = Golden {
        schema: String::new(),
        relationships: Vec::new(),
        contexts: vec![Context::default()],
        instants: vec![Timestamp::from_seconds(INSTANT_SECONDS)],
        questions: Vec::new(),
    };
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            section = line.trim();
            continue;
        }
        let wrong = |e: String| format!("{e}: {line}");
        match section {
            "schema:" => {
                golden.schema.push_str(line);
                golden.schema.push('\n');
            }
            "relationships:" => {
                golden.relationships.push(line.trim().parse().map_err(|e| wrong(format!("{e}")))?);
            }
            "questions:" => golden.question(line.trim()).map_err(wrong)?,
            _ => return Err(wrong("no such section".into())),
        }
    }
    Ok(golden)
}

impl Golden {
    /// The file's world, to be written in the way of this seed; its sketch is empty.
    #[must_use]
    pub fn world(&self, seed: u64) -> World {
        World {
            seed,
            sketch: Sketch::default(),
            relationships: self.relationships.clone(),
            contexts: self.contexts.clone(),
            instants: self.instants.clone(),
            questions: self.questions.iter().map(|(question, _)| question.clone()).collect(),
        }
    }

    /// `check … with {…} at … = answer`
    fn question(&mut self, line: &str) -> Result<(), String> {
        // An empty lookup leaves nothing behind the sign.
        let (question, answer) = match line.rsplit_once(" = ") {
            Some(parts) => parts,
            None => (line.strip_suffix(" =").ok_or("no ` = `")?, ""),
        };
        let (question, instant) =
            question.rsplit_once(" at ").map_or((question, None), |(q, t)| (q, Some(t)));
        let (question, context) = question.split_once(" with ").map_or((question, "{}"), |(q, c)| (q, c));
        let context = Context::from_json(context).map_err(|e| e.to_string())?;
        let instant = match instant {
            Some(text) => text.parse().map_err(|e| format!("{e}"))?,
            None => Timestamp::from_seconds(INSTANT_SECONDS),
        };
        let question = Question {
            ask: parse_ask(question)?,
            context: position(&mut self.contexts, context),
            instant: position(&mut self.instants, instant),
        };
        self.questions.push((question, answer.to_owned()));
        Ok(())
    }
}

fn position<T: PartialEq>(known: &mut Vec<T>, item: T) -> usize {
    known.iter().position(|k| *k == item).unwrap_or_else(|| {
        known.push(item);
        known.len() - 1
    })
}

fn parse_ask(text: &str) -> Result<Ask, String> {
    let (call, rest) = text.split_once(' ').ok_or("no call")?;
    let (left, right) = rest.split_once('@').ok_or("no `@`")?;
    let (object, permission) = left.split_once('#').ok_or("no permission")?;
    let permission = permission.to_owned();
    let subject = || right.parse().map_err(|e| format!("{e}"));
    let resource = || object.parse().map_err(|e| format!("{e}"));
    match call {
        "check" => Ok(Ask::Check { resource: resource()?, permission, subject: subject()? }),
        "resources" => {
            Ok(Ask::Resources { resource_type: object.to_owned(), permission, subject: subject()?, page: 1 })
        }
        "subjects" => {
            let (subject_type, relation) = right.split_once('#').map_or((right, None), |(t, r)| (t, Some(r)));
            Ok(Ask::Subjects {
                resource: resource()?,
                permission,
                subject_type: subject_type.to_owned(),
                subject_relation: relation.map(str::to_owned),
                page: 1,
            })
        }
        _ => Err(format!("no call `{call}`")),
    }
}
