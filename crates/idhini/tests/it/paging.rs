use std::collections::BTreeMap;

use idhini_wire::authzed::api::v1;
use tonic::Code;

use crate::process::{Server, object, of_type, reason, subject, touch};

const PEOPLE: u32 = 23;

/// Documents and people in all relations, wildcards and conditions among them.
async fn crowded() -> Server {
    let server = Server::furnished();
    let mut texts = vec![
        "document:open#viewer@user:*".to_owned(),
        "document:open#banned@user:u3".to_owned(),
        "document:open#viewer@user:u5".to_owned(),
    ];
    for n in 0..PEOPLE {
        texts.push(format!("group:eng#member@user:u{n}"));
        texts.push(match n % 3 {
            0 => format!("document:d{n}#viewer@user:u1"),
            1 => format!("document:d{n}#viewer@user:u1[only_on]"),
            _ => format!("document:d{n}#viewer@group:all#member"),
        });
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    server.permissions().await.write_relationships(touch(&texts)).await.unwrap();
    server
}

macro_rules! collect {
    ($stream:expr) => {{
        let mut stream = $stream.await.unwrap().into_inner();
        let mut answers = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            answers.push(answer);
        }
        answers
    }};
}

fn lookup_resources() -> v1::LookupResourcesRequest {
    v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:u1"),
        ..Default::default()
    }
}

fn lookup_subjects(resource: &str) -> v1::LookupSubjectsRequest {
    v1::LookupSubjectsRequest {
        resource: object(resource),
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    }
}

fn read() -> v1::ReadRelationshipsRequest {
    v1::ReadRelationshipsRequest { relationship_filter: Some(of_type("document")), ..Default::default() }
}

#[tokio::test]
async fn pages_of_every_size_make_the_whole_and_see_no_later_write() {
    let server = crowded().await;
    let mut client = server.permissions().await;
    let resources: Vec<_> = collect!(client.lookup_resources(lookup_resources()));
    let subjects: Vec<_> = collect!(client.lookup_subjects(lookup_subjects("document:d2")));
    let rows: Vec<_> = collect!(client.read_relationships(read()));
    assert!(resources.len() > 20 && subjects.len() > 20 && rows.len() > 25);
    for limit in [1, 2, 7, 1000] {
        let mut paged = Vec::new();
        let mut request = v1::LookupResourcesRequest { optional_limit: limit, ..lookup_resources() };
        loop {
            let page: Vec<_> = collect!(client.lookup_resources(request.clone()));
            // Whatever is written between two pages is not seen by the later one.
            let text = format!("document:later{limit}x{}#viewer@user:u1", paged.len());
            client.write_relationships(touch(&[&text])).await.unwrap();
            let Some(last) = page.last() else { break };
            request.optional_cursor = last.after_result_cursor.clone();
            let is_last = page.len() < limit as usize;
            paged.extend(page.into_iter().map(|r| (r.resource_object_id, r.permissionship)));
            if is_last {
                break;
            }
        }
        let own = format!("later{limit}x");
        assert!(paged.iter().all(|(id, _)| !id.starts_with(&own)), "limit {limit}");
        let first: Vec<_> = paged.iter().filter(|(id, _)| !id.starts_with("later")).cloned().collect();
        let whole: Vec<_> =
            resources.iter().map(|r| (r.resource_object_id.clone(), r.permissionship)).collect();
        assert_eq!(first, whole, "limit {limit}");
    }
    for limit in [1, 2, 7, 1000] {
        let mut paged = Vec::new();
        let mut request = v1::ReadRelationshipsRequest { optional_limit: limit, ..read() };
        request.relationship_filter.as_mut().unwrap().optional_resource_id_prefix = "d".to_owned();
        loop {
            let page: Vec<_> = collect!(client.read_relationships(request.clone()));
            let Some(last) = page.last() else { break };
            request.optional_cursor = last.after_result_cursor.clone();
            paged.extend(page.into_iter().map(|r| r.relationship.unwrap()));
        }
        let whole: Vec<_> = rows
            .iter()
            .map(|r| r.relationship.clone().unwrap())
            .filter(|r| r.resource.as_ref().unwrap().object_id.starts_with('d'))
            .collect();
        assert_eq!(paged, whole, "limit {limit}");
    }
}

#[tokio::test]
async fn subjects_are_paged_by_concrete_subjects_with_the_wildcard_once() {
    let server = crowded().await;
    let mut client = server.permissions().await;
    for resource in ["document:open", "document:d2", "document:readme"] {
        let whole: Vec<_> = collect!(client.lookup_subjects(lookup_subjects(resource)));
        let whole: BTreeMap<_, _> = whole
            .into_iter()
            .map(|s| {
                (
                    s.subject.as_ref().unwrap().subject_object_id.clone(),
                    (s.permissionship, s.excluded_subjects),
                )
            })
            .collect();
        assert_eq!(whole.contains_key("*"), resource == "document:open");
        for limit in [1, 2, 5] {
            let mut paged = BTreeMap::new();
            let mut request =
                v1::LookupSubjectsRequest { optional_concrete_limit: limit, ..lookup_subjects(resource) };
            loop {
                let page: Vec<_> = collect!(client.lookup_subjects(request.clone()));
                let concrete = page.iter().filter(|s| s.subject_object_id != "*").count();
                assert!(concrete <= limit as usize);
                let Some(last) = page.last() else { break };
                request.optional_cursor = last.after_result_cursor.clone();
                for s in page {
                    let subject = s.subject.unwrap();
                    // Older clients read the older fields.
                    assert_eq!(
                        (&s.subject_object_id, s.permissionship),
                        (&subject.subject_object_id, subject.permissionship)
                    );
                    let twice =
                        paged.insert(subject.subject_object_id, (s.permissionship, s.excluded_subjects));
                    assert!(twice.is_none());
                }
            }
            assert_eq!(paged, whole, "{resource}, limit {limit}");
        }
        let mut without = lookup_subjects(resource);
        without.wildcard_option = v1::lookup_subjects_request::WildcardOption::ExcludeWildcards as i32;
        let concrete: Vec<_> = collect!(client.lookup_subjects(without));
        assert_eq!(concrete.len(), whole.keys().filter(|id| *id != "*").count());
    }
}

#[tokio::test]
async fn exports_come_in_messages_of_the_size_asked_and_go_on_behind_a_cursor() {
    let server = crowded().await;
    let mut client = server.permissions().await;
    let request = v1::ExportBulkRelationshipsRequest { optional_limit: 4, ..Default::default() };
    let messages: Vec<_> = collect!(client.export_bulk_relationships(request.clone()));
    let all: Vec<_> = messages.iter().flat_map(|m| m.relationships.clone()).collect();
    assert!(messages.iter().all(|m| m.relationships.len() <= 4 && !m.relationships.is_empty()));
    let rest = v1::ExportBulkRelationshipsRequest {
        optional_cursor: messages[2].after_result_cursor.clone(),
        optional_limit: 1000,
        ..Default::default()
    };
    let rest: Vec<_> = collect!(client.export_bulk_relationships(rest));
    let rest: Vec<_> = rest.into_iter().flat_map(|m| m.relationships).collect();
    assert_eq!(rest, all[12..]);
}

#[tokio::test]
async fn a_cursor_continues_its_own_question_only() {
    let server = crowded().await;
    let mut client = server.permissions().await;
    let page: Vec<_> =
        collect!(client.read_relationships(v1::ReadRelationshipsRequest { optional_limit: 1, ..read() }));
    let cursor = page[0].after_result_cursor.clone();
    let refused = |status: tonic::Status| {
        assert_eq!((status.code(), reason(&status).0.as_str()), (Code::InvalidArgument, "INVALID_CURSOR"));
    };
    let mut other = v1::ReadRelationshipsRequest { optional_cursor: cursor.clone(), ..read() };
    other.relationship_filter.as_mut().unwrap().optional_relation = "viewer".to_owned();
    refused(client.read_relationships(other).await.unwrap_err());
    let lookup = v1::LookupResourcesRequest { optional_cursor: cursor.clone(), ..lookup_resources() };
    refused(client.lookup_resources(lookup).await.unwrap_err());
    for text in ["", "garbage", &"A".repeat(150_000)] {
        let optional_cursor = Some(v1::Cursor { token: text.to_owned() });
        refused(
            client
                .read_relationships(v1::ReadRelationshipsRequest { optional_cursor, ..read() })
                .await
                .unwrap_err(),
        );
    }
    let elsewhere = Server::furnished();
    let request = v1::ReadRelationshipsRequest { optional_cursor: cursor, ..read() };
    refused(elsewhere.permissions().await.read_relationships(request).await.unwrap_err());
}
