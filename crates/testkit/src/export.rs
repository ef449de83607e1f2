//! Worlds as JSON lines, for comparison with a server through its own client.

use idhini_model::Relationship;
use serde_json::{Value as Json, json};

use crate::generate::{Ask, World};
use crate::reference::{Answer, Refusal, Value, View};

/// A world with the reference's answer to each of its checks and lookups.
#[must_use]
pub fn world(world: &World, views: &[Vec<View<'_>>]) -> Json {
    let questions: Vec<Json> = world
        .questions
        .iter()
        .map(|question| {
            let view = &views[question.context][question.instant];
            let mut line = match &question.ask {
                Ask::Check { resource, permission, subject } => json!({
                    "call": "check",
                    "resource": resource.to_string(),
                    "permission": permission,
                    "subject": subject.to_string(),
                    "answer": answer(&view.check(resource, permission, subject)),
                }),
                Ask::Resources { resource_type, permission, subject, page } => json!({
                    "call": "resources",
                    "resource": resource_type,
                    "permission": permission,
                    "subject": subject.to_string(),
                    "page": page,
                    "answer": match view.lookup_resources(resource_type, permission, subject) {
                        Ok(found) => json!(entries(&found)),
                        Err(refusal) => refused(&refusal),
                    },
                }),
                Ask::Subjects { resource, permission, subject_type, subject_relation, page } => json!({
                    "call": "subjects",
                    "resource": resource.to_string(),
                    "permission": permission,
                    "subject_type": subject_type,
                    "subject_relation": subject_relation.as_deref().unwrap_or(""),
                    "page": page,
                    "answer": match view.lookup_subjects(
                        resource, permission, subject_type, subject_relation.as_deref()
                    ) {
                        Ok(found) => json!({
                            "required": entries(&found.required),
                            "optional": entries(&found.optional),
                            "wildcard": found.wildcard.map(|w| json!({
                                "answer": answer(&Ok(w.answer)), "excluded": entries(&w.excluded)})),
                        }),
                        Err(refusal) => refused(&refusal),
                    },
                }),
            };
            line["context"] = json!(question.context);
            line
        })
        .collect();
    json!({
        "seed": world.seed,
        "schema": world.sketch.text(),
        "relationships": world.relationships.iter().map(Relationship::to_string).collect::<Vec<_>>(),
        "contexts": world.contexts.iter().map(|c| c.to_string()).collect::<Vec<_>>(),
        "questions": questions,
    })
}

fn answer(answer: &Result<Answer, Refusal>) -> Json {
    match answer {
        Ok(Answer { value: Value::No, .. }) => json!("no"),
        Ok(Answer { value: Value::Has, .. }) => json!("has"),
        Ok(Answer { missing, .. }) => json!({ "if": missing }),
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> Json {
    json!({ "refused": format!("{refusal:?}") })
}

fn entries(found: &std::collections::BTreeMap<String, Answer>) -> Json {
    found.iter().map(|(id, found)| (id.clone(), answer(&Ok(found.clone())))).collect()
}
