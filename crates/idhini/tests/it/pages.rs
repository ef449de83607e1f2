//! Pages of every streaming call while others write: together they are the whole that the first of them was cut from.
//!
//! The whole is asked for at the first page's revision, so that the comparison does not depend on what is written when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use prost::Message;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::process::{Server, object, of_type, reason, subject, touch, with_key};

const PAGE_SIZES: [u32; 4] = [1, 2, 7, 1_000];
const DOCUMENTS: u32 = 60;
const WRITERS: u32 = 2;

/// What one page answered: items, each as bytes without its cursor and token, the cursor behind it, and its revision.
type Page = Vec<(Vec<u8>, Option<v1::Cursor>, Option<v1::ZedToken>)>;

/// A question of one of the four calls.
#[derive(Debug, Clone)]
enum Asked {
    Read(v1::ReadRelationshipsRequest),
    Resources(v1::LookupResourcesRequest),
    Subjects(v1::LookupSubjectsRequest),
    Export(v1::ExportBulkRelationshipsRequest),
}

impl Asked {
    fn with(mut self, limit: u32, cursor: Option<v1::Cursor>, consistency: Option<v1::Consistency>) -> Asked {
        match &mut self {
            Asked::Read(request) => {
                request.optional_limit = limit;
                request.optional_cursor = cursor;
                request.consistency = consistency;
            }
            Asked::Resources(request) => {
                request.optional_limit = limit;
                request.optional_cursor = cursor;
                request.consistency = consistency;
            }
            Asked::Subjects(request) => {
                request.optional_concrete_limit = limit;
                request.optional_cursor = cursor;
                request.consistency = consistency;
            }
            Asked::Export(request) => {
                request.optional_limit = limit;
                request.optional_cursor = cursor;
                request.consistency = consistency;
            }
        }
        self
    }

    /// One page; of an export, which has no end but its own, the first message.
    async fn page(&self, channel: &Channel) -> Result<Page, Status> {
        let mut client = PermissionsServiceClient::with_interceptor(channel.clone(), with_key);
        let mut page = Page::new();
        match self.clone() {
            Asked::Read(request) => {
                let mut stream = client.read_relationships(request).await?.into_inner();
                while let Some(answer) = stream.message().await? {
                    let item = answer.relationship.unwrap().encode_to_vec();
                    page.push((item, answer.after_result_cursor, answer.read_at));
                }
            }
            Asked::Resources(request) => {
                let mut stream = client.lookup_resources(request).await?.into_inner();
                while let Some(mut answer) = stream.message().await? {
                    let (cursor, at) = (answer.after_result_cursor.take(), answer.looked_up_at.take());
                    page.push((answer.encode_to_vec(), cursor, at));
                }
            }
            Asked::Subjects(request) => {
                let mut stream = client.lookup_subjects(request).await?.into_inner();
                while let Some(mut answer) = stream.message().await? {
                    let (cursor, at) = (answer.after_result_cursor.take(), answer.looked_up_at.take());
                    page.push((answer.encode_to_vec(), cursor, at));
                }
            }
            Asked::Export(request) => {
                let is_limited = request.optional_limit > 0;
                let mut stream = client.export_bulk_relationships(request).await?.into_inner();
                while let Some(answer) = stream.message().await? {
                    for relationship in &answer.relationships {
                        let cursor = answer.after_result_cursor.clone();
                        page.push((relationship.encode_to_vec(), cursor, None));
                    }
                    if is_limited {
                        break;
                    }
                }
            }
        }
        Ok(page)
    }
}

fn questions() -> Vec<Asked> {
    let lookup = |permission: &str| {
        Asked::Resources(v1::LookupResourcesRequest {
            resource_object_type: "document".to_owned(),
            permission: permission.to_owned(),
            subject: subject("user:u1"),
            ..Default::default()
        })
    };
    let subjects = |resource: &str| {
        Asked::Subjects(v1::LookupSubjectsRequest {
            resource: object(resource),
            permission: "view".to_owned(),
            subject_object_type: "user".to_owned(),
            ..Default::default()
        })
    };
    let read = |relationship_filter| {
        Asked::Read(v1::ReadRelationshipsRequest {
            relationship_filter: Some(relationship_filter),
            ..Default::default()
        })
    };
    let prefix =
        v1::RelationshipFilter { optional_resource_id_prefix: "d1".to_owned(), ..of_type("document") };
    vec![
        read(of_type("document")),
        read(prefix.clone()),
        lookup("view"),
        lookup("viewer"),
        subjects("document:d2"),
        subjects("document:open"),
        Asked::Export(v1::ExportBulkRelationshipsRequest::default()),
        Asked::Export(v1::ExportBulkRelationshipsRequest {
            optional_relationship_filter: Some(prefix),
            ..Default::default()
        }),
    ]
}

/// Documents and people, wildcards and conditions among them.
async fn crowded() -> Server {
    let server = Server::furnished();
    let mut texts = vec!["document:open#viewer@user:*".to_owned(), "document:open#banned@user:u3".to_owned()];
    texts.extend((5..25).map(|n| format!("document:open#viewer@user:u{n}")));
    for n in 0..DOCUMENTS {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_every_call_make_its_whole_while_others_write() {
    let server = Arc::new(crowded().await);
    let channel = server.channel().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writing = Vec::new();
    for writer in 0..WRITERS {
        let (server, is_over) = (Arc::clone(&server), Arc::clone(&is_over));
        writing.push(tokio::spawn(async move {
            let mut client = server.permissions().await;
            let mut written = 0u32;
            while !is_over.load(Ordering::Relaxed) {
                // All but the one whose subjects are asked for.
                let n = 3 + (written * 7 + writer) % (DOCUMENTS - 3);
                let some = written % 25;
                // What comes and goes is among what is asked for.
                let mut request = touch(&[
                    &format!("document:d1{some}x{writer}#viewer@user:u1"),
                    &format!("group:eng#member@user:new{some}x{writer}"),
                    &format!("document:d{n}#viewer@group:all#member"),
                ]);
                let operation = 2 + i32::from((written / 25).is_multiple_of(2));
                request.updates.iter_mut().for_each(|update| update.operation = operation);
                client.write_relationships(request).await.unwrap();
                written += 1;
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
            written
        }));
    }
    for asked in questions() {
        for size in PAGE_SIZES {
            let first = asked.clone().with(size, None, None).page(&channel).await.unwrap();
            let mut paged: Vec<Vec<u8>> = first.iter().map(|(item, ..)| item.clone()).collect();
            let (mut cursor, at) = first.last().map(|(_, cursor, at)| (cursor.clone(), at.clone())).unwrap();
            let first_cursor = cursor.clone();
            loop {
                let page = asked.clone().with(size, cursor, None).page(&channel).await.unwrap();
                let Some((_, behind, of_page)) = page.last() else { break };
                assert_eq!(*of_page, at);
                cursor = behind.clone();
                paged.extend(page.into_iter().map(|(item, ..)| item));
            }
            // At the first page's revision; an export tells it by its cursor alone, whose rest is the rest.
            let whole = match at {
                Some(at) => {
                    let requirement = Some(Requirement::AtExactSnapshot(at));
                    let whole = asked.clone().with(0, None, Some(v1::Consistency { requirement }));
                    whole.page(&channel).await.unwrap()
                }
                None => {
                    let rest = asked.clone().with(0, first_cursor, None).page(&channel).await.unwrap();
                    first.into_iter().chain(rest).collect()
                }
            };
            let whole: Vec<Vec<u8>> = whole.into_iter().map(|(item, ..)| item).collect();
            assert!(whole.len() > 10, "{asked:?}");
            assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len(), "an item twice");
            assert_eq!(paged.len(), whole.len(), "{asked:?} in pages of {size}");
            assert!(paged == whole, "{asked:?} in pages of {size}");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    for writer in writing {
        assert!(writer.await.unwrap() > 20, "nobody wrote");
    }
}

#[tokio::test]
async fn a_cursor_continues_its_own_request_and_a_changed_one_none() {
    let server = crowded().await;
    let channel = server.channel().await;
    let refused = |asked: &Asked, answer: Result<Page, Status>| {
        let status = answer.map(|page| page.len()).unwrap_err();
        let told = (status.code(), reason(&status).0);
        assert_eq!(told, (Code::InvalidArgument, "INVALID_CURSOR".to_owned()), "{asked:?}: {status:?}");
    };
    let questions = questions();
    let mut cursors = Vec::new();
    for asked in &questions {
        let page = asked.clone().with(2, None, None).page(&channel).await.unwrap();
        cursors.push(page.last().unwrap().1.clone().unwrap());
    }
    for (at, asked) in questions.iter().enumerate() {
        for (of, cursor) in cursors.iter().enumerate() {
            let page = asked.clone().with(2, Some(cursor.clone()), None).page(&channel).await;
            // Another page size goes on as well; another question or another call does not.
            match at == of {
                true => {
                    let other_size = asked.clone().with(7, Some(cursor.clone()), None).page(&channel).await;
                    let (page, other_size) = (page.unwrap(), other_size.unwrap());
                    assert_eq!(other_size[0].0, page[0].0);
                }
                false => refused(asked, page),
            }
        }
        // Every eighth of its characters, as another of the alphabet.
        let text = &cursors[at].token;
        for place in (0..text.len()).step_by(8) {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let token = String::from_utf8(changed).unwrap();
            refused(asked, asked.clone().with(2, Some(v1::Cursor { token }), None).page(&channel).await);
        }
        let cut = v1::Cursor { token: text[..text.len() - 4].to_owned() };
        refused(asked, asked.clone().with(2, Some(cut), None).page(&channel).await);
    }
}
