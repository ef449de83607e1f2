//! The streaming reads, page by page.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::idhini::v1;
use tonic::{Code, Request};

use crate::own::{exactly, import, now, own, text};
use crate::process::{Server, object, of_type, reason, subject, touch};

const PEOPLE: u32 = 23;
const SIZES: [u32; 4] = [1, 2, 7, 1000];

/// Documents and people in all relations, wildcards and conditions among them.
async fn crowded() -> (Server, authzed::ZedToken) {
    let server = Server::furnished();
    let mut texts = vec![
        "document:open#viewer@user:*".to_owned(),
        "document:open#banned@user:u3".to_owned(),
        "document:open#banned@user:u4".to_owned(),
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
    let written = server.permissions().await.write_relationships(touch(&texts)).await.unwrap();
    (server, written.into_inner().written_at.unwrap())
}

/// Writes until it is told to stop, into everything that is read.
async fn disturb(server: &Server, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    let mut client = server.permissions().await;
    tokio::spawn(async move {
        let mut writes = 0;
        while !stop.load(Ordering::SeqCst) {
            let texts = [
                format!("document:d{}x{writes}#viewer@user:u1", writes % 30),
                format!("document:d2#viewer@user:later{writes}"),
                format!("document:open#banned@user:later{writes}"),
            ];
            client.write_relationships(touch(&texts.each_ref().map(String::as_str))).await.unwrap();
            writes += 1;
        }
        writes
    })
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

/// All pages of a question: of each its items, by this field.
macro_rules! pages {
    ($client:ident . $call:ident, $request:expr, $items:ident) => {{
        let mut request = $request;
        let mut pages = Vec::new();
        loop {
            let page = $client.$call(request.clone()).await.unwrap().into_inner();
            pages.push(page.$items);
            request.optional_cursor = page.next_cursor;
            // A cursor fixes the revision: the later pages need not ask for it again.
            request.consistency = None;
            if request.optional_cursor.is_none() {
                break pages;
            }
        }
    }};
}

/// No page is larger than it may be, and none but the last is without reason smaller.
fn check_sizes<T>(pages: &[Vec<T>], size: u32) {
    let (last, others) = pages.split_last().unwrap();
    assert!(others.iter().all(|page| page.len() == size as usize), "size {size}");
    assert!(last.len() <= size as usize, "size {size}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_union_of_pages_of_every_size_is_the_streamed_answer_while_others_write() {
    let (server, token) = crowded().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = disturb(&server, Arc::clone(&stop)).await;
    let (mut streams, mut own) = (server.permissions().await, own(&server).await);
    let consistency = exactly(&token);

    let read = authzed::ReadRelationshipsRequest {
        consistency: consistency.clone(),
        relationship_filter: Some(of_type("document")),
        ..Default::default()
    };
    let rows: Vec<_> = collect!(streams.read_relationships(read.clone()));
    let rows: Vec<_> = rows.into_iter().map(|row| row.relationship.unwrap()).collect();
    let export =
        authzed::ExportBulkRelationshipsRequest { consistency: consistency.clone(), ..Default::default() };
    let exported: Vec<_> = collect!(streams.export_bulk_relationships(export));
    let exported: Vec<_> = exported.into_iter().flat_map(|message| message.relationships).collect();
    let resources = authzed::LookupResourcesRequest {
        consistency: consistency.clone(),
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:u1"),
        ..Default::default()
    };
    let found: Vec<_> = collect!(streams.lookup_resources(resources));
    let found: Vec<_> = found
        .into_iter()
        .map(|f| v1::FoundResource {
            resource_object_id: f.resource_object_id,
            permissionship: f.permissionship,
            partial_caveat_info: f.partial_caveat_info,
        })
        .collect();
    assert!(rows.len() > 25 && exported.len() > 50 && found.len() > 20);
    assert!(found.iter().any(|f| f.partial_caveat_info.is_some()));
    for size in SIZES {
        let request = v1::ReadRelationshipsRequest {
            consistency: consistency.clone(),
            relationship_filter: Some(of_type("document")),
            page_size: size,
            ..Default::default()
        };
        let pages = pages!(own.read_relationships, request, relationships);
        check_sizes(&pages, size);
        assert_eq!(pages.concat(), rows, "size {size}");
        let request = v1::ExportBulkRelationshipsRequest {
            consistency: consistency.clone(),
            page_size: size,
            ..Default::default()
        };
        let pages = pages!(own.export_bulk_relationships, request, relationships);
        check_sizes(&pages, size);
        assert_eq!(pages.concat(), exported, "size {size}");
        let request = v1::LookupResourcesRequest {
            consistency: consistency.clone(),
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: subject("user:u1"),
            page_size: size,
            ..Default::default()
        };
        let pages = pages!(own.lookup_resources, request, resources);
        check_sizes(&pages, size);
        assert_eq!(pages.concat(), found, "size {size}");
    }
    for resource in ["document:open", "document:d2", "document:readme"] {
        for wildcard_option in 0..3 {
            let request = authzed::LookupSubjectsRequest {
                consistency: consistency.clone(),
                resource: object(resource),
                permission: "view".to_owned(),
                subject_object_type: "user".to_owned(),
                wildcard_option,
                ..Default::default()
            };
            let found: Vec<_> = collect!(streams.lookup_subjects(request));
            let found: Vec<_> = found
                .into_iter()
                .map(|f| v1::FoundSubject { subject: f.subject, excluded_subjects: f.excluded_subjects })
                .collect();
            let wildcards = found.iter().filter(|f| f.subject.as_ref().unwrap().subject_object_id == "*");
            let is_told = resource == "document:open" && wildcard_option < 2;
            assert_eq!(wildcards.count(), usize::from(is_told));
            for size in SIZES {
                let request = v1::LookupSubjectsRequest {
                    consistency: consistency.clone(),
                    resource: object(resource),
                    permission: "view".to_owned(),
                    subject_object_type: "user".to_owned(),
                    wildcard_option,
                    page_size: size,
                    ..Default::default()
                };
                let pages = pages!(own.lookup_subjects, request, subjects);
                check_sizes(&pages, size);
                assert_eq!(pages.concat(), found, "{resource}, size {size}");
            }
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert!(writing.await.unwrap() > 20);
}

#[tokio::test]
async fn pages_of_the_newest_revision_stay_at_the_one_they_began_with() {
    let (server, _) = crowded().await;
    let (mut streams, mut own) = (server.permissions().await, own(&server).await);
    let request = v1::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        page_size: 5,
        ..Default::default()
    };
    let mut page = own.read_relationships(request.clone()).await.unwrap().into_inner();
    let begun = page.read_at.clone();
    let mut all = page.relationships.clone();
    while let Some(cursor) = page.next_cursor {
        let new = format!("document:new{}#viewer@user:u1", all.len());
        streams.write_relationships(touch(&[&new, "document:d2#banned@user:u9"])).await.unwrap();
        let next = v1::ReadRelationshipsRequest { optional_cursor: Some(cursor), ..request.clone() };
        page = own.read_relationships(next).await.unwrap().into_inner();
        assert_eq!(page.read_at, begun);
        all.extend(page.relationships.clone());
    }
    assert!(all.len() > 25);
    assert!(all.iter().all(|r| !text(r).contains(":new") && !text(r).contains("#banned@user:u9")));
}

#[tokio::test]
async fn a_cursor_continues_its_own_call_and_question_only() {
    let (server, _) = crowded().await;
    let (mut streams, mut own) = (server.permissions().await, own(&server).await);
    let read = v1::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        page_size: 1,
        ..Default::default()
    };
    let cursor = own.read_relationships(read.clone()).await.unwrap().into_inner().next_cursor;
    let streamed: Vec<_> = collect!(streams.read_relationships(authzed::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        optional_limit: 1,
        ..Default::default()
    }));
    let refused = |status: tonic::Status| {
        assert_eq!((status.code(), reason(&status).0.as_str()), (Code::InvalidArgument, "INVALID_CURSOR"));
    };
    let of_stream = v1::ReadRelationshipsRequest {
        optional_cursor: streamed[0].after_result_cursor.clone(),
        ..read.clone()
    };
    refused(own.read_relationships(of_stream).await.unwrap_err());
    let in_stream = authzed::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("document")),
        optional_cursor: cursor.clone(),
        ..Default::default()
    };
    refused(streams.read_relationships(in_stream).await.unwrap_err());
    let other = v1::ReadRelationshipsRequest {
        relationship_filter: Some(of_type("group")),
        optional_cursor: cursor.clone(),
        ..Default::default()
    };
    refused(own.read_relationships(other).await.unwrap_err());
    let export = v1::ExportBulkRelationshipsRequest {
        optional_relationship_filter: Some(of_type("document")),
        optional_cursor: cursor.clone(),
        ..Default::default()
    };
    refused(own.export_bulk_relationships(export).await.unwrap_err());
    // The size is no part of the question.
    let larger = v1::ReadRelationshipsRequest { optional_cursor: cursor, page_size: 1_000, ..read.clone() };
    assert!(own.read_relationships(larger).await.unwrap().into_inner().next_cursor.is_none());
    let too_large = v1::ReadRelationshipsRequest { page_size: 1_001, ..read };
    let status = own.read_relationships(too_large).await.unwrap_err();
    assert_eq!(reason(&status).0, "EXCEEDS_MAXIMUM_ALLOWABLE_LIMIT");
}

#[tokio::test]
async fn pages_are_no_longer_than_clients_take() {
    let server = Server::furnished();
    let long = "x".repeat(20_000);
    import(
        &server,
        (0..500).map(|n| format!(r#"document:long{n}#viewer@user:u{n}[only_on:{{"day":"{long}"}}]"#)),
    )
    .await;
    let mut own = own(&server).await;
    let filter =
        authzed::RelationshipFilter { optional_resource_id_prefix: "long".to_owned(), ..of_type("document") };
    let request = v1::ReadRelationshipsRequest {
        relationship_filter: Some(filter),
        page_size: 1_000,
        ..Default::default()
    };
    let pages = pages!(own.read_relationships, request, relationships);
    assert!(pages.len() >= 5, "{}", pages.len());
    assert_eq!(pages.concat().len(), 500);
}

#[tokio::test]
async fn as_of_a_moment_reads_answer_what_was_so_then() {
    let server = Server::furnished();
    let (mut streams, mut own) = (server.permissions().await, own(&server).await);
    streams.write_relationships(touch(&["document:d#viewer@user:early"])).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let moment = now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    streams.write_relationships(touch(&["document:d#viewer@user:late"])).await.unwrap();
    let at = prost_types::Timestamp::from(moment);
    let as_of = Some(at);
    let read = v1::ReadRelationshipsRequest {
        optional_as_of: as_of,
        relationship_filter: Some(authzed::RelationshipFilter {
            optional_resource_id: "d".to_owned(),
            ..of_type("document")
        }),
        ..Default::default()
    };
    let page = own.read_relationships(read.clone()).await.unwrap().into_inner();
    let texts: Vec<String> = page.relationships.iter().map(text).collect();
    assert_eq!(texts, ["document:d#viewer@user:early"]);
    let export = v1::ExportBulkRelationshipsRequest { optional_as_of: as_of, ..Default::default() };
    let exported = own.export_bulk_relationships(export).await.unwrap().into_inner().relationships;
    assert!(exported.iter().all(|r| !text(r).contains("late")));
    let lookup = v1::LookupSubjectsRequest {
        optional_as_of: as_of,
        resource: object("document:d"),
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    };
    let found = own.lookup_subjects(lookup).await.unwrap().into_inner().subjects;
    let found: Vec<_> = found.into_iter().map(|f| f.subject.unwrap().subject_object_id).collect();
    assert_eq!(found, ["early"]);
    for (who, count) in [("user:early", 1), ("user:late", 0)] {
        let lookup = v1::LookupResourcesRequest {
            optional_as_of: as_of,
            resource_object_type: "document".to_owned(),
            permission: "view".to_owned(),
            subject: subject(who),
            ..Default::default()
        };
        assert_eq!(own.lookup_resources(lookup).await.unwrap().into_inner().resources.len(), count, "{who}");
        let explain = v1::ExplainRequest {
            optional_as_of: as_of,
            resource: object("document:d"),
            permission: "view".to_owned(),
            subject: subject(who),
            ..Default::default()
        };
        let explained = own.explain(explain).await.unwrap().into_inner();
        assert_eq!(explained.permissionship == 2, count == 1, "{who}");
    }
    // The same moment in the metadata is the same question; another one is a contradiction.
    let with_metadata = |moment: &str| {
        let mut request = Request::new(read.clone());
        request.metadata_mut().insert("idhini-as-of", moment.parse().unwrap());
        request
    };
    let spelled = idhini_wire::timestamp(at, "as_of").unwrap().to_string();
    let page = own.read_relationships(with_metadata(&spelled)).await.unwrap().into_inner();
    assert_eq!(page.relationships.len(), 1);
    let status = own.read_relationships(with_metadata("2020-01-01T00:00:00Z")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("different moments"), "{status:?}");
    let tomorrow = moment + std::time::Duration::from_secs(24 * 60 * 60);
    let to_come = v1::ReadRelationshipsRequest { optional_as_of: Some(tomorrow.into()), ..read.clone() };
    let status = own.read_relationships(to_come).await.unwrap_err();
    assert!(status.message().contains("still to come"), "{status:?}");
    let consistency = exactly(page.read_at.as_ref().unwrap());
    let both = v1::ReadRelationshipsRequest { consistency, ..read };
    assert_eq!(own.read_relationships(both).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_a_page_of_a_lookup_visited_is_told_behind_it() {
    let (server, _) = crowded().await;
    let mut client = own(&server).await;
    let resources = v1::LookupResourcesRequest {
        resource_object_type: "document".to_owned(),
        permission: "view".to_owned(),
        subject: subject("user:u1"),
        ..Default::default()
    };
    let subjects = v1::LookupSubjectsRequest {
        resource: object("document:d2"),
        permission: "view".to_owned(),
        subject_object_type: "user".to_owned(),
        ..Default::default()
    };
    let resources = client.lookup_resources(resources).await.unwrap();
    let subjects = client.lookup_subjects(subjects).await.unwrap();
    for behind in [resources.metadata(), subjects.metadata()] {
        let visited = behind.get("io.spicedb.respmeta.dispatchedoperationscount").unwrap();
        assert!(visited.to_str().unwrap().parse::<u32>().unwrap() > PEOPLE, "{visited:?}");
    }
}
