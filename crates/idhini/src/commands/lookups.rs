//! Which objects, which subjects? Streams of answers, page by page if so asked.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::lookup_subjects_request::WildcardOption;
use idhini_wire::context_message;

use super::Asked;
use crate::arguments::{LookupResources, LookupSubjects};
use crate::client::Server;
use crate::failure::Failure;
use crate::output::{self, Verdict};

const NO_PERMISSIONSHIP: Failure = Failure::Answer { missing: "permissionship" };

pub(super) async fn resources(asked: Asked<'_>, of: LookupResources) -> Result<(), Failure> {
    let (server, consistency) = Server::connect(asked.connection).await?.asked(&of.consistency);
    let mut request = v1::LookupResourcesRequest {
        consistency,
        resource_object_type: of.resource_type.clone(),
        permission: of.permission,
        subject: Some(of.subject.into()),
        context: of.context.map(context_message),
        optional_limit: of.page_limit.unwrap_or(0),
        optional_cursor: of.cursor.map(|token| v1::Cursor { token }),
        ..Default::default()
    };
    loop {
        let mut answers =
            server.permissions().lookup_resources(server.request(request.clone())).await?.into_inner();
        let mut count = 0;
        while let Some(answer) = answers.message().await? {
            count += 1;
            match asked.connection.json {
                true => output::message(&answer)?,
                false => {
                    let verdict = Verdict::of_lookup(answer.permissionship).ok_or(NO_PERMISSIONSHIP)?;
                    let note = output::missing(answer.partial_caveat_info.as_ref());
                    let found = format!("{}:{}{note}", of.resource_type, answer.resource_object_id);
                    output::line_of(verdict.word(), &found, asked.style);
                }
            }
            request.optional_cursor = answer.after_result_cursor;
        }
        if of.page_limit.is_none_or(|limit| count < limit) || request.optional_cursor.is_none() {
            return Ok(());
        }
    }
}

pub(super) async fn subjects(asked: Asked<'_>, of: LookupSubjects) -> Result<(), Failure> {
    let (server, consistency) = Server::connect(asked.connection).await?.asked(&of.consistency);
    let (subject_type, relation) = of.subject_type.split_once('#').unwrap_or((&of.subject_type, ""));
    let wildcards = match of.exclude_wildcards {
        true => WildcardOption::ExcludeWildcards,
        false => WildcardOption::Unspecified,
    };
    let mut request = v1::LookupSubjectsRequest {
        consistency,
        resource: Some(of.resource.into()),
        permission: of.permission,
        subject_object_type: subject_type.to_owned(),
        optional_subject_relation: relation.to_owned(),
        context: of.context.map(context_message),
        optional_concrete_limit: of.page_limit.unwrap_or(0),
        optional_cursor: of.cursor.map(|token| v1::Cursor { token }),
        wildcard_option: wildcards as i32,
    };
    loop {
        let mut answers =
            server.permissions().lookup_subjects(server.request(request.clone())).await?.into_inner();
        let mut count = 0;
        while let Some(answer) = answers.message().await? {
            count += 1;
            match asked.connection.json {
                true => output::message(&answer)?,
                false => {
                    let (verdict, text) = subject(&answer, subject_type, relation)?;
                    output::line_of(verdict.word(), &text, asked.style);
                }
            }
            request.optional_cursor = answer.after_result_cursor;
        }
        if of.page_limit.is_none_or(|limit| count < limit) || request.optional_cursor.is_none() {
            return Ok(());
        }
    }
}

fn subject(
    answer: &v1::LookupSubjectsResponse,
    subject_type: &str,
    relation: &str,
) -> Result<(Verdict, String), Failure> {
    let found = answer.subject.as_ref().ok_or(Failure::Answer { missing: "subject" })?;
    let verdict = Verdict::of_lookup(found.permissionship).ok_or(NO_PERMISSIONSHIP)?;
    let note = output::missing(found.partial_caveat_info.as_ref());
    let relation = if relation.is_empty() { String::new() } else { format!("#{relation}") };
    let mut text = format!("{subject_type}:{}{relation}{note}", found.subject_object_id);
    let excluded: Vec<String> = answer
        .excluded_subjects
        .iter()
        .map(|excluded| match Verdict::of_lookup(excluded.permissionship) {
            Some(Verdict::Conditional) => {
                let note = output::missing(excluded.partial_caveat_info.as_ref());
                format!("{subject_type}:{} (conditional{note})", excluded.subject_object_id)
            }
            _ => format!("{subject_type}:{}", excluded.subject_object_id),
        })
        .collect();
    if !excluded.is_empty() {
        text.push_str(&format!(" but not {}", excluded.join(", ")));
    }
    Ok((verdict, text))
}
