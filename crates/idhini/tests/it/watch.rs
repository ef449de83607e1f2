//! Watch: everything that changes, once, in order, from wherever one goes on.

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::WatchKind;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tokio::time::Instant;
use tonic::{Code, Request, Status, Streaming};

use crate::durable::write;
use crate::process::{PATIENCE, Server, check, folder, of_type, reason, relationship, touch};

const ALL_KINDS: [WatchKind; 3] =
    [WatchKind::IncludeRelationshipUpdates, WatchKind::IncludeSchemaUpdates, WatchKind::IncludeCheckpoints];

/// A watch being read.
pub struct Following(Streaming<v1::WatchResponse>);

impl Following {
    pub async fn begin(server: &Server, request: impl tonic::IntoRequest<v1::WatchRequest>) -> Following {
        Following(server.watches().await.watch(request).await.unwrap().into_inner())
    }

    pub async fn next(&mut self) -> Result<v1::WatchResponse, Status> {
        // Within the time, and not at an end.
        Ok(tokio::time::timeout(PATIENCE, self.0.message()).await.unwrap()?.unwrap())
    }

    async fn take(&mut self, count: usize) -> Vec<v1::WatchResponse> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.next().await.unwrap());
        }
        messages
    }

    /// Whether nothing comes for a while.
    async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.0.message()).await.is_err()
    }
}

fn after(token: &v1::ZedToken) -> v1::WatchRequest {
    v1::WatchRequest { optional_start_cursor: Some(token.clone()), ..Default::default() }
}

fn with_kinds(request: v1::WatchRequest, kinds: &[WatchKind]) -> v1::WatchRequest {
    let optional_update_kinds = kinds.iter().map(|kind| *kind as i32).collect();
    v1::WatchRequest { optional_update_kinds, ..request }
}

fn from_beginning(request: v1::WatchRequest) -> Request<v1::WatchRequest> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("idhini-watch-from", "beginning".parse().unwrap());
    request
}

/// A message in words.
pub fn told(message: &v1::WatchResponse) -> Vec<String> {
    let mut words: Vec<String> = message
        .updates
        .iter()
        .map(|update| {
            let relationship: idhini_model::Relationship =
                update.relationship.clone().unwrap().try_into().unwrap();
            match update.operation() {
                Operation::Touch => format!("+ {relationship}"),
                Operation::Delete => format!("- {relationship}"),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    words.extend(message.schema_updated.then(|| "schema".to_owned()));
    words.extend(message.is_checkpoint.then(|| "checkpoint".to_owned()));
    assert!(!words.is_empty(), "an empty message");
    words
}

fn through(message: &v1::WatchResponse) -> &v1::ZedToken {
    message.changes_through.as_ref().unwrap()
}

async fn refused(server: &Server, request: impl tonic::IntoRequest<v1::WatchRequest>) -> Status {
    match server.watches().await.watch(request).await {
        Err(status) => status,
        Ok(stream) => {
            tokio::time::timeout(PATIENCE, stream.into_inner().message()).await.unwrap().unwrap_err()
        }
    }
}

async fn update(server: &Server, operation: Operation, texts: &[&str]) -> v1::ZedToken {
    let mut request = touch(texts);
    request.updates.iter_mut().for_each(|update| update.operation = operation as i32);
    let mut client = server.permissions().await;
    client.write_relationships(request).await.unwrap().into_inner().written_at.unwrap()
}

async fn import(server: &Server, relationships: Vec<v1::Relationship>) {
    let messages: Vec<_> = relationships
        .chunks(1_000)
        .map(|part| v1::ImportBulkRelationshipsRequest { relationships: part.to_vec() })
        .collect();
    let mut client = server.permissions().await;
    client.import_bulk_relationships(tokio_stream::iter(messages)).await.unwrap();
}

#[tokio::test]
async fn what_changes_is_told_as_it_comes_and_nothing_else() {
    let server = Server::furnished();
    let mut first = Following::begin(&server, v1::WatchRequest::default()).await;
    let mut noted = touch(&["document:new#viewer@user:ann", "document:new#viewer@user:bob"]);
    let note = idhini_model::Context::from_json(r#"{"why":"a test","n":1}"#).unwrap();
    noted.optional_transaction_metadata = Some(idhini_wire::context_message(note));
    let mut client = server.permissions().await;
    let written = client.write_relationships(noted.clone()).await.unwrap().into_inner().written_at.unwrap();
    let told_first = first.next().await.unwrap();
    assert_eq!(told(&told_first), ["+ document:new#viewer@user:ann", "+ document:new#viewer@user:bob"]);
    assert_eq!(*through(&told_first), written);
    assert_eq!(told_first.optional_transaction_metadata, noted.optional_transaction_metadata);
    assert_eq!(told_first.full_revision_metadata, [noted.optional_transaction_metadata.clone().unwrap()]);
    // A second watcher begins here; both hear of what follows.
    let mut second = Following::begin(&server, v1::WatchRequest::default()).await;
    // What changes nothing is not told, whatever it was meant to be.
    client.write_relationships(noted).await.unwrap();
    update(&server, Operation::Delete, &["document:new#viewer@user:nobody"]).await;
    update(&server, Operation::Touch, &[r#"document:new#viewer@user:ann[only_on:{"level":4}]"#]).await;
    update(&server, Operation::Create, &["document:new#owner@user:ann"]).await;
    update(&server, Operation::Delete, &["document:new#viewer@user:ann"]).await;
    client
        .delete_relationships(v1::DeleteRelationshipsRequest {
            relationship_filter: Some(of_type("group")),
            ..Default::default()
        })
        .await
        .unwrap();
    let wanted = [
        vec![r#"+ document:new#viewer@user:ann[only_on:{"level":4}]"#],
        vec!["+ document:new#owner@user:ann"],
        vec![r#"- document:new#viewer@user:ann[only_on:{"level":4}]"#],
        vec!["- group:all#member@group:eng#member", "- group:eng#member@user:tom"],
    ];
    for following in [&mut first, &mut second] {
        let messages = following.take(wanted.len()).await;
        let mut words: Vec<Vec<String>> = messages.iter().map(told).collect();
        // A delete has no order of its own.
        words[3].sort();
        assert_eq!(words, wanted);
        assert!(messages.iter().all(|m| m.optional_transaction_metadata.is_none()));
        assert!(following.is_quiet().await);
    }
}

#[tokio::test]
async fn going_on_from_any_message_gives_exactly_the_rest() {
    let data = folder(&[]).join("data");
    let arguments = ["--data-dir", data.to_str().unwrap()];
    let server = Server::durable(&arguments);
    let mut schemas = server.schemas().await;
    let schema = |text: &str| v1::WriteSchemaRequest {
        schema: format!("definition user {{}} definition document {{ relation viewer: user }} {text}"),
    };
    let start = schemas.write_schema(schema("")).await.unwrap().into_inner().written_at.unwrap();
    for n in 0..12 {
        write(&server, &[&format!("document:d{n}#viewer@user:ann"), "document:same#viewer@user:ann"]).await;
        if n % 4 == 3 {
            schemas.write_schema(schema(&format!("definition extra{n} {{}}"))).await.unwrap();
        }
    }
    let request = |token: &v1::ZedToken| {
        with_kinds(after(token), &[WatchKind::IncludeRelationshipUpdates, WatchKind::IncludeSchemaUpdates])
    };
    let all = Following::begin(&server, request(&start)).await.take(15).await;
    assert_eq!(all.iter().filter(|message| message.schema_updated).count(), 3);
    assert_eq!(all[0].updates.len(), 2);
    // The server of now, and the ones after a kill and after a stop.
    let mut server = Some(server);
    for life in 0..3 {
        for (at, message) in all.iter().enumerate() {
            let rest = Following::begin(server.as_ref().unwrap(), request(through(message)))
                .await
                .take(all.len() - at - 1)
                .await;
            assert_eq!(rest, all[at + 1..], "from message {at} in life {life}");
        }
        match life {
            0 => server.take().unwrap().kill(),
            // Its clients must be able to hear of it.
            1 => {
                let stopping = server.take().unwrap();
                tokio::task::spawn_blocking(|| stopping.stop()).await.unwrap();
            }
            _ => break,
        }
        server = Some(Server::durable(&arguments));
    }
    // A watcher that goes on hears of what comes then.
    let server = server.unwrap();
    let mut following = Following::begin(&server, request(through(&all[14]))).await;
    write(&server, &["document:last#viewer@user:ann"]).await;
    assert_eq!(told(&following.next().await.unwrap()), ["+ document:last#viewer@user:ann"]);
}

#[tokio::test]
async fn only_what_the_filters_admit_is_told() {
    let server = Server::furnished();
    let start = write(&server, &["document:start#viewer@user:ann"]).await;
    write(&server, &["document:a#viewer@user:ann", "group:eng#member@user:ann", "document:b#owner@user:ann"])
        .await;
    write(&server, &["group:eng#member@user:bob"]).await;
    write(&server, &["document:ab#viewer@group:eng#member", "document:c#viewer@user:bob"]).await;
    let types = |names: &[&str]| v1::WatchRequest {
        optional_object_types: names.iter().map(|name| (*name).to_owned()).collect(),
        ..after(&start)
    };
    let filters = |filters: Vec<v1::RelationshipFilter>| v1::WatchRequest {
        optional_relationship_filters: filters,
        ..after(&start)
    };
    let prefix = |prefix: &str| v1::RelationshipFilter {
        optional_resource_id_prefix: prefix.to_owned(),
        ..of_type("document")
    };
    let by_bob = v1::RelationshipFilter {
        optional_subject_filter: Some(v1::SubjectFilter {
            subject_type: "user".to_owned(),
            optional_subject_id: "bob".to_owned(),
            optional_relation: None,
        }),
        ..Default::default()
    };
    let table: [(v1::WatchRequest, &[&[&str]]); 5] = [
        (types(&["group"]), &[&["+ group:eng#member@user:ann"], &["+ group:eng#member@user:bob"]]),
        (
            // A type that no schema has yet is waited for.
            types(&["nothing", "document"]),
            &[
                &["+ document:a#viewer@user:ann", "+ document:b#owner@user:ann"],
                &["+ document:ab#viewer@group:eng#member", "+ document:c#viewer@user:bob"],
            ],
        ),
        (
            filters(vec![prefix("a")]),
            &[&["+ document:a#viewer@user:ann"], &["+ document:ab#viewer@group:eng#member"]],
        ),
        (
            filters(vec![by_bob.clone(), prefix("b")]),
            &[
                &["+ document:b#owner@user:ann"],
                &["+ group:eng#member@user:bob"],
                &["+ document:c#viewer@user:bob"],
            ],
        ),
        (types(&["user"]), &[]),
    ];
    for (request, wanted) in table {
        let mut following = Following::begin(&server, request.clone()).await;
        let messages = following.take(wanted.len()).await;
        assert_eq!(messages.iter().map(told).collect::<Vec<_>>(), wanted, "{request:?}");
        assert!(following.is_quiet().await);
        // The same, as what is there rather than as what changed.
        let snapshot = v1::WatchRequest { optional_start_cursor: None, ..request };
        let mut following = Following::begin(&server, from_beginning(snapshot)).await;
        let changed: Vec<&str> = wanted.concat();
        let found = if changed.is_empty() { Vec::new() } else { told(&following.next().await.unwrap()) };
        assert!(changed.iter().all(|text| found.iter().any(|found| found == text)), "{found:?}");
        assert!(following.is_quiet().await);
    }
    let both =
        v1::WatchRequest { optional_object_types: vec!["document".to_owned()], ..filters(vec![by_bob]) };
    let unknown = |relation: &str| v1::RelationshipFilter {
        optional_relation: relation.to_owned(),
        ..of_type("document")
    };
    for (request, code, why) in [
        (both, Code::InvalidArgument, ""),
        (types(&["No such"]), Code::InvalidArgument, ""),
        (filters(vec![v1::RelationshipFilter::default()]), Code::InvalidArgument, "INVALID_FILTER"),
        (filters(vec![of_type("nothing")]), Code::FailedPrecondition, "UNKNOWN_DEFINITION"),
        (filters(vec![unknown("nope")]), Code::FailedPrecondition, "UNKNOWN_RELATION_OR_PERMISSION"),
        (filters(vec![unknown("view")]), Code::FailedPrecondition, "SCHEMA_TYPE_ERROR"),
        (filters(vec![prefix("a"); 1_001]), Code::InvalidArgument, ""),
        (types(&["document"; 1_001]), Code::InvalidArgument, ""),
        (
            v1::WatchRequest { optional_update_kinds: vec![4], ..Default::default() },
            Code::InvalidArgument,
            "",
        ),
    ] {
        let status = refused(&server, request.clone()).await;
        assert_eq!((status.code(), reason(&status).0.as_str()), (code, why), "{request:?}");
    }
}

#[tokio::test]
async fn each_kind_is_told_if_it_was_asked_for() {
    let server = Server::furnished();
    let mut schemas = server.schemas().await;
    let schema = format!("{}\ndefinition extra {{}}", crate::process::SCHEMA);
    let mut watches = Vec::new();
    let wanted: [(&[WatchKind], &[&str]); 4] = [
        (&[], &["+ document:a#viewer@user:ann", "+ group:eng#member@user:ann"]),
        (&[WatchKind::IncludeSchemaUpdates], &["schema"]),
        (&[WatchKind::IncludeCheckpoints], &["checkpoint"]),
        (
            &ALL_KINDS,
            &["checkpoint", "+ document:a#viewer@user:ann", "schema", "+ group:eng#member@user:ann"],
        ),
    ];
    for (kinds, _) in wanted {
        watches.push(Following::begin(&server, with_kinds(v1::WatchRequest::default(), kinds)).await);
    }
    // Only documents, and checkpoints for what passes by.
    let documents =
        v1::WatchRequest { optional_object_types: vec!["document".to_owned()], ..Default::default() };
    let kinds = [WatchKind::IncludeRelationshipUpdates, WatchKind::IncludeCheckpoints];
    let mut documents = Following::begin(&server, with_kinds(documents, &kinds)).await;
    write(&server, &["document:a#viewer@user:ann"]).await;
    schemas.write_schema(v1::WriteSchemaRequest { schema }).await.unwrap();
    let last = write(&server, &["group:eng#member@user:ann"]).await;
    for (following, (kinds, wanted)) in watches.iter_mut().zip(wanted) {
        let mut words = Vec::new();
        loop {
            let message = following.next().await.unwrap();
            let mut new = told(&message);
            assert_eq!(new.len(), 1);
            // How many checkpoints there are is a matter of time.
            new.retain(|word| word != "checkpoint" || words.is_empty());
            words.extend(new);
            let is_end = *through(&message) == last;
            if is_end && (message.is_checkpoint || !kinds.contains(&WatchKind::IncludeCheckpoints))
                || kinds == [WatchKind::IncludeSchemaUpdates]
            {
                break;
            }
        }
        assert_eq!(words, wanted, "{kinds:?}");
        if !kinds.contains(&WatchKind::IncludeCheckpoints) {
            assert!(following.is_quiet().await);
        }
    }
    loop {
        let message = documents.next().await.unwrap();
        assert!(message.is_checkpoint || told(&message) == ["+ document:a#viewer@user:ann"]);
        if *through(&message) == last {
            break assert!(message.is_checkpoint);
        }
    }
    // In silence a checkpoint is repeated.
    let repeated = documents.next().await.unwrap();
    assert!(repeated.is_checkpoint && *through(&repeated) == last);
}

/// About 6.5 MB as messages.
fn large() -> Vec<v1::Relationship> {
    let long = "x".repeat(400);
    (0..15_000).map(|n| relationship(&format!("document:d{n}{long}#viewer@user:ann"))).collect()
}

fn relationships(messages: &[v1::WatchResponse]) -> Vec<v1::Relationship> {
    let updates = messages.iter().flat_map(|message| &message.updates);
    updates
        .map(|update| {
            assert_eq!(update.operation(), Operation::Touch);
            update.relationship.clone().unwrap()
        })
        .collect()
}

/// Reads until a message carries this token.
async fn until(following: &mut Following, token: &v1::ZedToken) -> Vec<v1::WatchResponse> {
    let mut messages = Vec::new();
    loop {
        messages.push(following.next().await.unwrap());
        if through(messages.last().unwrap()) == token {
            return messages;
        }
    }
}

fn sorted(relationships: &[v1::Relationship]) -> Vec<String> {
    let mut ids: Vec<String> =
        relationships.iter().map(|r| r.resource.as_ref().unwrap().object_id.clone()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_large_entry_comes_in_parts_and_resuming_from_any_of_them_loses_nothing() {
    let server = Server::furnished();
    let before = write(&server, &["document:before#viewer@user:ann"]).await;
    let imported = large();
    import(&server, imported.clone()).await;
    let last = write(&server, &["document:after#viewer@user:ann"]).await;
    let all = until(&mut Following::begin(&server, after(&before)).await, &last).await;
    assert!(all.len() > 3, "the import came in {} messages", all.len() - 1);
    let (after_import, parts) = all.split_last().unwrap();
    assert_eq!(told(after_import), ["+ document:after#viewer@user:ann"]);
    assert_eq!(relationships(parts), imported);
    let (last_part, others) = parts.split_last().unwrap();
    assert!(others.iter().all(|part| *through(part) == before));
    for part in others {
        let again = until(&mut Following::begin(&server, after(through(part))).await, &last).await;
        assert_eq!(again, all);
    }
    let rest = until(&mut Following::begin(&server, after(through(last_part))).await, &last).await;
    assert_eq!(rest, std::slice::from_ref(after_import));
}

#[tokio::test]
async fn from_the_beginning_means_a_snapshot_and_then_what_changed_since() {
    let data = folder(&[]).join("data");
    let schema = folder(&[("s.zed", crate::process::SCHEMA)]).join("s.zed");
    let arguments =
        ["--data-dir", data.to_str().unwrap(), "--schema", schema.to_str().unwrap(), "--history", "forever"];
    let server = Server::durable(&arguments);
    let request = v1::WatchRequest {
        optional_object_types: vec!["document".to_owned()],
        ..with_kinds(v1::WatchRequest::default(), &ALL_KINDS)
    };
    // Before there is anything.
    let mut empty = Following::begin(&server, from_beginning(request.clone())).await;
    assert_eq!(told(&empty.next().await.unwrap()), ["schema"]);
    assert_eq!(told(&empty.next().await.unwrap()), ["checkpoint"]);
    let imported = large();
    import(&server, imported.clone()).await;
    // Told by nobody, unless it is swept after the snapshot: then it is told to be gone.
    let gone = "document:gone#viewer@user:ann[expiration:2020-01-01T00:00:00Z]";
    import(&server, vec![relationship(gone)]).await;
    let is_swept = |message: &v1::WatchResponse| told(message) == [format!("- {gone}")];
    let snapshot = write(&server, &["group:eng#member@user:ann"]).await;
    let mut following = Following::begin(&server, from_beginning(request.clone())).await;
    let mut parts = until(&mut following, &snapshot).await;
    assert!(parts.len() > 3, "the snapshot came in {} messages", parts.len());
    assert_eq!(told(&parts.remove(0)), ["schema"]);
    assert_eq!(sorted(&relationships(&parts)), sorted(&imported));
    let mut next = following.next().await.unwrap();
    if is_swept(&next) {
        next = following.next().await.unwrap();
    }
    assert_eq!(told(&next), ["checkpoint"]);
    // What happens while a snapshot is told does not change it, and is told afterwards.
    let removed: v1::Relationship = relationships(&parts[parts.len() - 1..]).remove(0);
    let mut removal = touch(&[]);
    removal
        .updates
        .push(v1::RelationshipUpdate { operation: Operation::Delete as i32, relationship: Some(removed) });
    let mut client = server.permissions().await;
    let last = client.write_relationships(removal).await.unwrap().into_inner().written_at.unwrap();
    server.kill();
    let server = Server::durable(&arguments);
    for (at, part) in parts.iter().enumerate() {
        let resumed =
            v1::WatchRequest { optional_start_cursor: part.changes_through.clone(), ..request.clone() };
        let rest = until(&mut Following::begin(&server, from_beginning(resumed)).await, &last).await;
        let rest: Vec<_> = rest.into_iter().filter(|m| !m.is_checkpoint && !is_swept(m)).collect();
        let (change, rest) = rest.split_last().unwrap();
        assert!(told(change)[0].starts_with("- document:"));
        assert_eq!(rest, &parts[at + 1..], "from part {at}");
    }
    // Such a token is good wherever one is wanted; in a watch it continues its own question only.
    let token = parts[0].changes_through.clone().unwrap();
    let mut asked = check("document:gone", "view", "user:ann");
    asked.consistency =
        Some(v1::Consistency { requirement: Some(Requirement::AtExactSnapshot(token.clone())) });
    let checked = server.permissions().await.check_permission(asked).await.unwrap().into_inner();
    assert_eq!(checked.checked_at.unwrap(), snapshot);
    let status = refused(&server, after(&token)).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("continues another question"), "{status:?}");
}

#[tokio::test]
async fn a_start_that_is_not_there_is_refused_by_name() {
    let folder = folder(&[("s.zed", crate::process::SCHEMA)]);
    let schema = folder.join("s.zed");
    let schema = schema.to_str().unwrap();
    let server = Server::start(&["--schema", schema, "--history", "1s"]);
    let start = write(&server, &["document:a#viewer@user:ann"]).await;
    let mut open = Following::begin(&server, after(&start)).await;
    let stranger = write(&Server::furnished(), &["document:a#viewer@user:ann"]).await;
    let token = |text: &str| v1::ZedToken { token: text.to_owned() };
    let with = |name: &'static str, value: &'static str| {
        let mut request = Request::new(v1::WatchRequest::default());
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    };
    for (request, code, says) in [
        (Request::new(after(&stranger)), Code::OutOfRange, "belongs to another store"),
        (
            Request::new(after(&token("GhUKEzE3MDAwMDAwMDAwMDAwMDAwMDA="))),
            Code::OutOfRange,
            "before the data was migrated",
        ),
        (Request::new(after(&token("garbage"))), Code::InvalidArgument, "not one that this service made"),
        (Request::new(after(&token(""))), Code::InvalidArgument, "not one that this service made"),
        (with("idhini-as-of", "2026-11-25T22:10:00Z"), Code::InvalidArgument, "idhini-as-of"),
        (with("idhini-watch-from", "yesterday"), Code::InvalidArgument, "`beginning`"),
        (with("grpc-timeout", "300m"), Code::DeadlineExceeded, "deadline"),
    ] {
        let status = refused(&server, request).await;
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
    }
    // Sweeps are told, and what is older than the history is trimmed; both happen in the background.
    let soon = now_and(1);
    let expiring = format!("document:e#viewer@user:ann[expiration:{soon}]");
    write(&server, &[&expiring]).await;
    assert_eq!(told(&open.next().await.unwrap()), [format!("+ {expiring}")]);
    assert_eq!(told(&open.next().await.unwrap()), [format!("- {expiring}")]);
    let deadline = Instant::now() + PATIENCE;
    let mut writes = 0;
    let status = loop {
        write(&server, &[&format!("document:a{writes}#viewer@user:ann")]).await;
        writes += 1;
        match server.watches().await.watch(after(&start)).await {
            Err(status) => break status,
            Ok(_) if Instant::now() > deadline => panic!("nothing is trimmed"),
            Ok(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(status.message().contains("older than the oldest kept revision"), "{status:?}");
    // Whoever kept up is not concerned.
    write(&server, &["document:last#viewer@user:ann"]).await;
    while told(&open.next().await.unwrap()) != ["+ document:last#viewer@user:ann"] {}
}

#[expect(clippy::disallowed_methods, reason = "the test asks a real server about its own time")]
fn now_and(seconds: u64) -> idhini_model::Timestamp {
    let at = std::time::SystemTime::now() + Duration::from_secs(seconds);
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap();
    idhini_model::Timestamp::from_seconds(since.as_secs().cast_signed())
}

#[tokio::test]
async fn readers_that_do_not_read_cost_a_bounded_memory_and_lose_nothing() {
    const WRITES: usize = 600;
    const WATCHERS: usize = 8;
    let data = folder(&[]).join("data");
    let schema = folder(&[("s.zed", crate::process::SCHEMA)]).join("s.zed");
    let server =
        Server::durable(&["--data-dir", data.to_str().unwrap(), "--schema", schema.to_str().unwrap()]);
    let start = write(&server, &["document:start#viewer@user:ann"]).await;
    let mut client = server.permissions().await;
    let note = format!(r#"{{"why":"{}"}}"#, "x".repeat(60_000));
    let note = idhini_wire::context_message(idhini_model::Context::from_json(&note).unwrap());
    for n in 0..WRITES {
        let mut request = touch(&[&format!("document:d{n}#viewer@user:ann")]);
        request.optional_transaction_metadata = Some(note.clone());
        client.write_relationships(request).await.unwrap();
    }
    let before = server.memory();
    let mut idle = Vec::new();
    for _ in 0..WATCHERS {
        idle.push(Following::begin(&server, after(&start)).await);
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let grown = server.memory().saturating_sub(before);
    // All that there is to tell, told to all of them, is more than 500 MiB.
    assert!(grown < 100 << 20, "{grown} bytes more");
    let last = write(&server, &["document:last#viewer@user:ann"]).await;
    // Leaving costs nobody anything, and whoever stays gets it all.
    idle.truncate(2);
    for mut following in idle {
        assert_eq!(until(&mut following, &last).await.len(), WRITES + 1);
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_its_watches_at_once() {
    let data = folder(&[]).join("data");
    let schema = folder(&[("s.zed", crate::process::SCHEMA)]).join("s.zed");
    let arguments = ["--data-dir", data.to_str().unwrap(), "--schema", schema.to_str().unwrap()];
    let server = Server::durable(&arguments);
    let start = write(&server, &["document:a#viewer@user:ann"]).await;
    let mut quiet = Following::begin(&server, after(&start)).await;
    let mut marked =
        Following::begin(&server, with_kinds(after(&start), &[WatchKind::IncludeCheckpoints])).await;
    marked.next().await.unwrap();
    let asked = Instant::now();
    let (stopped, ended) = tokio::join!(tokio::task::spawn_blocking(move || server.terminate()), async {
        (quiet.next().await.unwrap_err(), marked.next().await.unwrap_err())
    });
    assert_eq!(stopped.unwrap(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    for status in [ended.0, ended.1] {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("changes_through"), "{status:?}");
    }
    let server = Server::durable(&arguments);
    let mut resumed = Following::begin(&server, after(&start)).await;
    write(&server, &["document:b#viewer@user:ann"]).await;
    assert_eq!(told(&resumed.next().await.unwrap()), ["+ document:b#viewer@user:ann"]);
}
