//! What changed between two moments, against a model of a random history.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use idhini_model::Relationship;
use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::authzed::api::v1::relationship_update::Operation as Update;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::read_changes_request::{End, Start};
use idhini_wire::idhini::v1::relationship_change::Operation;
use idhini_wire::idhini::v1::transaction::Cause;
use tonic::Code;

use crate::own::{Numbers, deleting, history, import, now, own, set, text};
use crate::process::{PATIENCE, Server, folder, of_type, reason, relationship, touch};

/// One change in words, and where it was.
type Told = (String, String);

fn in_words(change: &v1::RelationshipChange) -> String {
    let now = text(change.relationship.as_ref().unwrap());
    match change.operation() {
        Operation::Created => format!("+ {now}"),
        Operation::Deleted => format!("- {now}"),
        Operation::Replaced => {
            let mut before = change.relationship.clone().unwrap();
            before.optional_caveat = change.old_caveat.clone();
            before.optional_expires_at = change.old_expires_at;
            format!("{} -> {now}", text(&before))
        }
        Operation::Unspecified => panic!("{change:?}"),
    }
}

/// All pages; none has more changes than it may.
async fn pages(server: &Server, mut request: v1::ReadChangesRequest) -> Vec<v1::ReadChangesResponse> {
    let mut client = history(server).await;
    let mut pages = Vec::new();
    loop {
        let page = client.read_changes(request.clone()).await.unwrap().into_inner();
        let count: usize =
            page.transactions.iter().map(|t| t.changes.len() + usize::from(t.schema_written)).sum();
        assert!(request.page_size == 0 || count <= request.page_size as usize);
        request.optional_cursor = page.next_cursor.clone();
        let is_last = page.next_cursor.is_none();
        pages.push(page);
        if is_last {
            let through = &pages[0].changes_through;
            assert!(pages.iter().all(|page| page.changes_through == *through));
            return pages;
        }
    }
}

async fn told(server: &Server, request: v1::ReadChangesRequest) -> Vec<Told> {
    let mut told = Vec::new();
    for transaction in pages(server, request).await.into_iter().flat_map(|page| page.transactions) {
        let token = transaction.revision.clone().unwrap().token;
        assert!(!transaction.changes.is_empty() || transaction.schema_written);
        told.extend(transaction.schema_written.then(|| (token.clone(), "schema".to_owned())));
        told.extend(transaction.changes.iter().map(|change| (token.clone(), in_words(change))));
    }
    told
}

/// What a server should hold and have done.
#[derive(Default)]
struct Model {
    /// By identity: the whole relationship.
    there: BTreeMap<String, String>,
    /// In order; within a transaction sorted.
    done: Vec<Told>,
    /// The token behind each transaction, and how much was done then.
    marks: Vec<(authzed::ZedToken, usize, SystemTime)>,
}

fn identity(text: &str) -> String {
    text.split('[').next().unwrap().to_owned()
}

impl Model {
    fn touch(&mut self, text: &str) -> Option<String> {
        let text = relationship(text);
        let text = self::text(&text);
        match self.there.insert(identity(&text), text.clone()) {
            None => Some(format!("+ {text}")),
            Some(before) if before == text => None,
            Some(before) => Some(format!("{before} -> {text}")),
        }
    }

    fn delete(&mut self, text: &str) -> Option<String> {
        self.there.remove(&identity(text)).map(|before| format!("- {before}"))
    }

    async fn mark(&mut self, token: Option<authzed::ZedToken>, changes: Vec<Option<String>>) {
        let token = token.unwrap();
        let mut changes: Vec<String> = changes.into_iter().flatten().collect();
        changes.sort();
        self.done.extend(changes.into_iter().map(|change| (token.token.clone(), change)));
        // So that moments between transactions are told apart.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.marks.push((token, self.done.len(), now()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The same, with the changes of each transaction in the model's order.
fn sorted(told: Vec<Told>) -> Vec<Told> {
    let mut sorted: Vec<Told> = Vec::new();
    let mut rest = told.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut transaction = vec![first];
        while let Some(next) = rest.next_if(|next| next.0 == transaction[0].0) {
            transaction.push(next);
        }
        transaction.sort();
        sorted.extend(transaction);
    }
    sorted
}

fn draw(numbers: &mut Numbers) -> String {
    let attributes =
        ["", "", "[only_on]", r#"[only_on:{"day":"monday"}]"#, "[expiration:2100-01-01T00:00:00Z]"];
    match numbers.below(5) {
        0 => format!("group:g{}#member@user:u{}", numbers.below(3), numbers.below(6)),
        1 => format!("document:d{}#viewer@group:g{}#member", numbers.below(4), numbers.below(3)),
        2 => format!("document:d{}#owner@user:u{}", numbers.below(4), numbers.below(6)),
        _ => format!(
            "document:d{}#viewer@user:u{}{}",
            numbers.below(4),
            numbers.below(6),
            attributes[numbers.below(attributes.len())]
        ),
    }
}

/// So many random transactions, also through SetRelation, imports and deletes by filter.
async fn random_history(server: &Server, transactions: usize) -> Model {
    let mut numbers = Numbers(11);
    let mut model = Model::default();
    let (mut client, mut own) = (server.permissions().await, own(server).await);
    let begin = history(server).await.read_changes(v1::ReadChangesRequest::default()).await.unwrap();
    model.mark(begin.into_inner().changes_through, Vec::new()).await;
    for round in 0..transactions {
        let (token, changes) = match numbers.below(10) {
            0 => {
                let id = numbers.below(4);
                let mut wanted: BTreeMap<String, String> = BTreeMap::new();
                for _ in 0..numbers.below(5) {
                    let subject = format!("user:u{}", numbers.below(6));
                    let attributes = ["", "[only_on]"][numbers.below(2)];
                    wanted.insert(subject.clone(), format!("{subject}{attributes}"));
                }
                let wanted: Vec<String> = wanted.into_values().collect();
                let resource = format!("document:d{id}");
                let done = own.set_relation(set(&resource, "viewer", &wanted)).await.unwrap().into_inner();
                let texts: Vec<String> = wanted.iter().map(|s| format!("{resource}#viewer@{s}")).collect();
                let kept: Vec<String> = texts.iter().map(|text| identity(text)).collect();
                let prefix = format!("{resource}#viewer@");
                let gone: Vec<String> = model
                    .there
                    .keys()
                    .filter(|key| key.starts_with(&prefix) && !kept.contains(key))
                    .cloned()
                    .collect();
                let mut changes: Vec<_> = gone.iter().map(|text| model.delete(text)).collect();
                changes.extend(texts.iter().map(|text| model.touch(text)));
                (done.written_at, changes)
            }
            1 => {
                let texts: Vec<String> =
                    (0..3).map(|n| format!("document:i{round}#owner@user:u{n}")).collect();
                import(server, texts.clone()).await;
                let changes = texts.iter().map(|text| model.touch(text)).collect();
                let head = authzed::ReadSchemaRequest {};
                let head = server.schemas().await.read_schema(head).await.unwrap().into_inner();
                (head.read_at, changes)
            }
            2 => {
                let id = format!("d{}", numbers.below(4));
                let filter = authzed::RelationshipFilter {
                    optional_resource_id: id.clone(),
                    optional_relation: "owner".to_owned(),
                    ..of_type("document")
                };
                let delete = authzed::DeleteRelationshipsRequest {
                    relationship_filter: Some(filter),
                    ..Default::default()
                };
                let done = client.delete_relationships(delete).await.unwrap().into_inner();
                let prefix = format!("document:{id}#owner@");
                let gone: Vec<String> =
                    model.there.keys().filter(|key| key.starts_with(&prefix)).cloned().collect();
                (done.deleted_at, gone.iter().map(|text| model.delete(text)).collect())
            }
            _ => {
                let mut texts: BTreeMap<String, String> = BTreeMap::new();
                for _ in 0..=numbers.below(6) {
                    let text = draw(&mut numbers);
                    texts.insert(identity(&text), text);
                }
                let mut updates = Vec::new();
                let mut changes = Vec::new();
                for text in texts.values() {
                    if numbers.below(3) == 0 {
                        updates.extend(deleting(&[text]));
                        changes.push(model.delete(text));
                    } else {
                        updates.extend(touch(&[text]).updates);
                        changes.push(model.touch(text));
                    }
                }
                assert!(updates.iter().all(|update| update.operation() != Update::Unspecified));
                let request = authzed::WriteRelationshipsRequest { updates, ..Default::default() };
                (client.write_relationships(request).await.unwrap().into_inner().written_at, changes)
            }
        };
        model.mark(token, changes).await;
    }
    model
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_history_is_told_change_by_change_at_every_page_size_and_between_any_moments() {
    let server = Server::furnished();
    let model = random_history(&server, 150).await;
    let begin = &model.marks[0];
    let after = |token: &authzed::ZedToken| Some(Start::StartToken(token.clone()));
    assert!(model.done.len() > 250 && model.done.iter().filter(|(_, t)| t.contains("->")).count() > 10);
    for page_size in [0, 1, 2, 7, 1000] {
        let request = v1::ReadChangesRequest { start: after(&begin.0), page_size, ..Default::default() };
        assert_eq!(sorted(told(&server, request).await), model.done, "size {page_size}");
    }
    // Without a start it begins where the server does: its schema and first relationships.
    let whole = told(&server, v1::ReadChangesRequest::default()).await;
    assert_eq!(whole[0].1, "schema");
    assert_eq!(sorted(whole)[8..], model.done);
    let mut numbers = Numbers(5);
    for _ in 0..40 {
        let (a, b) = (numbers.below(model.marks.len()), numbers.below(model.marks.len()));
        let (first, last) = (&model.marks[a.min(b)], &model.marks[a.max(b)]);
        let start = match numbers.below(2) {
            0 => after(&first.0),
            _ => Some(Start::StartTime(first.2.into())),
        };
        let end = match numbers.below(2) {
            0 => End::EndToken(last.0.clone()),
            _ => End::EndTime(last.2.into()),
        };
        let request = v1::ReadChangesRequest { start, end: Some(end), page_size: 5, ..Default::default() };
        assert_eq!(sorted(told(&server, request).await), model.done[first.1..last.1], "{a} {b}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_changes_of_a_resource_or_of_a_subject_are_those_of_the_model() {
    let server = Server::furnished();
    let model = random_history(&server, 120).await;
    let subject = |id: &str, relation: Option<&str>| authzed::SubjectFilter {
        subject_type: if relation.is_some() { "group" } else { "user" }.to_owned(),
        optional_subject_id: id.to_owned(),
        optional_relation: relation
            .map(|r| authzed::subject_filter::RelationFilter { relation: r.to_owned() }),
    };
    let of_subject = |subject| authzed::RelationshipFilter {
        optional_subject_filter: Some(subject),
        ..Default::default()
    };
    let of_document = |id: &str, relation: &str| authzed::RelationshipFilter {
        optional_resource_id: id.to_owned(),
        optional_relation: relation.to_owned(),
        ..of_type("document")
    };
    type Matches = fn(&Relationship) -> bool;
    let table: [(authzed::RelationshipFilter, Matches); 7] = [
        (of_type("group"), |r| r.resource.object_type == "group"),
        (of_document("d1", ""), |r| r.resource.object_type == "document" && r.resource.object_id == "d1"),
        (of_document("d1", "viewer"), |r| r.resource.object_id == "d1" && r.relation == "viewer"),
        (of_document("", "owner"), |r| r.relation == "owner"),
        (of_subject(subject("u2", None)), |r| r.subject.object_id == "u2"),
        (of_subject(subject("", Some("member"))), |r| r.subject.relation.is_some()),
        (
            authzed::RelationshipFilter {
                optional_subject_filter: Some(subject("u2", None)),
                ..of_document("d1", "")
            },
            |r| r.resource.object_id == "d1" && r.subject.object_id == "u2",
        ),
    ];
    let changed = |words: &str| -> Relationship {
        let text = words.rsplit("-> ").next().unwrap();
        text.trim_start_matches(['+', '-', ' ']).parse().unwrap()
    };
    let start = Some(Start::StartToken(model.marks[0].0.clone()));
    for (filter, matches) in table {
        let wanted: Vec<Told> =
            model.done.iter().filter(|(_, words)| matches(&changed(words))).cloned().collect();
        assert!(!wanted.is_empty(), "{filter:?}");
        for page_size in [1, 7, 1000] {
            let request = v1::ReadChangesRequest {
                start: start.clone(),
                optional_relationship_filter: Some(filter.clone()),
                page_size,
                ..Default::default()
            };
            assert_eq!(sorted(told(&server, request).await), wanted, "{filter:?}, size {page_size}");
        }
    }
}

#[tokio::test]
async fn pages_end_within_a_large_transaction_and_lose_and_repeat_nothing() {
    const MANY: usize = 60_000;
    let server = Server::furnished();
    let name = |n: usize| format!("document:large{n}#viewer@user:u{}", n % 7);
    import(&server, (0..MANY).map(name)).await;
    let mut client = server.permissions().await;
    client.write_relationships(touch(&["document:behind#viewer@user:u1"])).await.unwrap();
    let filter = authzed::RelationshipFilter {
        optional_resource_id_prefix: "large".to_owned(),
        ..of_type("document")
    };
    let request = v1::ReadChangesRequest {
        optional_relationship_filter: Some(filter),
        page_size: 997,
        ..Default::default()
    };
    let all = told(&server, request.clone()).await;
    assert!(all.iter().enumerate().all(|(n, (_, words))| *words == format!("+ {}", name(n))));
    assert_eq!(all.len(), MANY);
    assert!(all.iter().all(|(token, _)| *token == all[0].0));
    // A filter that matches little makes pages that are short of it, not long work.
    let seldom = authzed::RelationshipFilter {
        optional_resource_id: format!("large{}", MANY - 1),
        ..of_type("document")
    };
    let seldom = v1::ReadChangesRequest { optional_relationship_filter: Some(seldom), ..request };
    assert_eq!(told(&server, seldom).await.len(), 1);
}

#[tokio::test]
async fn a_transaction_says_when_and_why_it_was_and_sweeps_say_so() {
    let server = {
        let folder = folder(&[("s.zed", crate::process::SCHEMA)]);
        Server::start(&["--schema", folder.join("s.zed").to_str().unwrap(), "--history", "1h"])
    };
    let before = now();
    let soon = idhini_model::Timestamp::from_seconds(
        i64::try_from(before.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap() + 1,
    );
    let expiring = format!("document:e#viewer@user:ann[expiration:{soon}]");
    let note = idhini_model::Context::from_json(r#"{"ticket":7}"#).unwrap();
    let mut request = touch(&[&expiring]);
    request.optional_transaction_metadata = Some(idhini_wire::context_message(note));
    let mut client = server.permissions().await;
    client.write_relationships(request.clone()).await.unwrap();
    let transactions = |page_size| pages(&server, v1::ReadChangesRequest { page_size, ..Default::default() });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let all: Vec<_> = loop {
        let all: Vec<_> = transactions(1).await.into_iter().flat_map(|page| page.transactions).collect();
        if all.len() > 2 {
            break all;
        }
        assert!(tokio::time::Instant::now() < deadline, "nothing is swept");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let [schema, written, swept] = &all[..] else { panic!("{all:?}") };
    assert!(schema.schema_written && schema.changes.is_empty());
    assert_eq!((written.cause(), swept.cause()), (Cause::Request, Cause::Expiration));
    assert_eq!(written.optional_transaction_metadata, request.optional_transaction_metadata);
    assert_eq!(swept.optional_transaction_metadata, None);
    assert_eq!(in_words(&written.changes[0]), format!("+ {expiring}"));
    assert_eq!(in_words(&swept.changes[0]), format!("- {expiring}"));
    let moment = |of: &v1::Transaction| SystemTime::try_from(of.written_at.unwrap()).unwrap();
    assert!(moment(written) >= before && moment(swept) >= moment(written));
}

#[tokio::test]
async fn what_is_no_moment_or_no_longer_kept_is_refused_by_name() {
    let folder = folder(&[("s.zed", crate::process::SCHEMA)]);
    let schema = folder.join("s.zed");
    let server = Server::start(&["--schema", schema.to_str().unwrap(), "--history", "1s"]);
    let mut client = server.permissions().await;
    let write = |n: usize| touch(&[&format!("document:a{n}#viewer@user:ann")]);
    let first = client.write_relationships(write(0)).await.unwrap().into_inner().written_at.unwrap();
    let early = now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = client.write_relationships(write(1)).await.unwrap().into_inner().written_at.unwrap();
    let mut own = history(&server).await;
    let stranger = {
        let other = Server::furnished();
        let request = touch(&["document:a#viewer@user:ann"]);
        other.permissions().await.write_relationships(request).await.unwrap().into_inner().written_at
    };
    let garbage = authzed::ZedToken { token: "garbage".to_owned() };
    let tomorrow = now() + Duration::from_secs(24 * 60 * 60);
    let token = |token: &authzed::ZedToken| Some(Start::StartToken(token.clone()));
    let request = |start, end| v1::ReadChangesRequest { start, end, ..Default::default() };
    let mut with_cursor = request(None, None);
    with_cursor.optional_cursor = Some(authzed::Cursor { token: "garbage".to_owned() });
    for (request, code, says) in [
        (request(token(&garbage), None), Code::InvalidArgument, "not one that this service made"),
        (request(token(stranger.as_ref().unwrap()), None), Code::OutOfRange, "another store"),
        (request(Some(Start::StartTime(tomorrow.into())), None), Code::InvalidArgument, "still to come"),
        (request(None, Some(End::EndTime(tomorrow.into()))), Code::InvalidArgument, "still to come"),
        (
            request(token(&second), Some(End::EndToken(first.clone()))),
            Code::InvalidArgument,
            "before the start",
        ),
        (with_cursor, Code::InvalidArgument, "cursor"),
    ] {
        let status = own.read_changes(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
    }
    let empty = v1::ReadChangesRequest {
        optional_relationship_filter: Some(authzed::RelationshipFilter::default()),
        ..Default::default()
    };
    assert_eq!(reason(&own.read_changes(empty).await.unwrap_err()).0, "INVALID_FILTER");
    // A cursor goes on with its own question.
    let paged = v1::ReadChangesRequest { page_size: 1, ..Default::default() };
    let cursor = own.read_changes(paged).await.unwrap().into_inner().next_cursor;
    let other = v1::ReadChangesRequest {
        optional_relationship_filter: Some(of_type("document")),
        optional_cursor: cursor,
        ..Default::default()
    };
    assert_eq!(reason(&own.read_changes(other).await.unwrap_err()).0, "INVALID_CURSOR");
    // Trimmed in the background, when it is old enough.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut writes = 2;
    let status = loop {
        client.write_relationships(write(writes)).await.unwrap();
        writes += 1;
        match own.read_changes(request(token(&first), None)).await {
            Err(status) => break status,
            Ok(_) => assert!(tokio::time::Instant::now() < deadline, "nothing is trimmed"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    let status = own.read_changes(request(Some(Start::StartTime(early.into())), None)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("history begins"), "{status:?}");
    // What is kept can still be asked for.
    let kept = told(&server, v1::ReadChangesRequest::default()).await;
    assert_eq!(kept.last().unwrap().1, format!("+ document:a{}#viewer@user:ann", writes - 1));
}
