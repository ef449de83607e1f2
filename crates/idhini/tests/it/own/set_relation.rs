//! Relations set as a whole.

use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::idhini::v1;
use tonic::Code;

use crate::own::{exactly, history, import, must, own, set, text};
use crate::process::{Server, object, of_type, reason};

async fn viewers(server: &Server, id: &str, at: Option<authzed::Consistency>) -> Vec<String> {
    let request = v1::ReadRelationshipsRequest {
        consistency: at,
        relationship_filter: Some(authzed::RelationshipFilter {
            optional_resource_id: id.to_owned(),
            optional_relation: "viewer".to_owned(),
            ..of_type("document")
        }),
        ..Default::default()
    };
    let page = own(server).await.read_relationships(request).await.unwrap().into_inner();
    assert!(page.next_cursor.is_none());
    let prefix = format!("document:{id}#viewer@");
    let mut all: Vec<String> =
        page.relationships.iter().map(|r| text(r).strip_prefix(&prefix).unwrap().to_owned()).collect();
    all.sort();
    all
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_relation_holds_exactly_what_it_was_set_to_and_only_the_difference_is_written() {
    let server = Server::furnished();
    let mut client = own(&server).await;
    let wanted = owned(&["group:all#member", "user:*", r#"user:eve[only_on:{"day":"monday"}]"#, "user:zoe"]);
    let note = idhini_model::Context::from_json(r#"{"why":"a test"}"#).unwrap();
    let noted = v1::SetRelationRequest {
        optional_transaction_metadata: Some(idhini_wire::context_message(note)),
        ..set("document:readme", "viewer", &wanted)
    };
    let done = client.set_relation(noted.clone()).await.unwrap().into_inner();
    assert_eq!((done.created_count, done.replaced_count, done.deleted_count), (2, 1, 1));
    assert_eq!(viewers(&server, "readme", exactly(done.written_at.as_ref().unwrap())).await, wanted);
    // Nothing else of the document was touched, and the change says why it was made.
    let changes = v1::ReadChangesRequest::default();
    let changes = history(&server).await.read_changes(changes).await.unwrap().into_inner();
    let last = changes.transactions.last().unwrap();
    assert_eq!(last.revision, done.written_at);
    assert_eq!(last.optional_transaction_metadata, noted.optional_transaction_metadata);
    assert_eq!(last.changes.len(), 4);
    let again = client.set_relation(noted).await.unwrap().into_inner();
    assert_eq!((again.created_count, again.replaced_count, again.deleted_count), (0, 0, 0));
    assert_eq!(again.written_at, done.written_at);
    let emptied = client.set_relation(set("document:readme", "viewer", &[])).await.unwrap().into_inner();
    assert_eq!(emptied.deleted_count, 4);
    assert!(viewers(&server, "readme", None).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_by_reason() {
    let server = Server::furnished();
    let mut client = own(&server).await;
    let many: Vec<String> = (0..1_001).map(|n| format!("user:u{n}")).collect();
    import(&server, (0..1_500).map(|n| format!("document:wide#viewer@user:u{n}"))).await;
    let guarded = |check| v1::SetRelationRequest {
        optional_permission_preconditions: vec![check],
        ..set("document:readme", "viewer", &owned(&["user:zoe"]))
    };
    let matching = v1::SetRelationRequest {
        optional_preconditions: vec![authzed::Precondition {
            operation: authzed::precondition::Operation::MustMatch as i32,
            filter: Some(authzed::RelationshipFilter {
                optional_resource_id: "none".to_owned(),
                ..of_type("document")
            }),
        }],
        ..set("document:readme", "viewer", &owned(&["user:zoe"]))
    };
    let before = viewers(&server, "readme", None).await;
    for (request, code, wanted) in [
        (set("document:readme", "viewer", &many), Code::InvalidArgument, "TOO_MANY_UPDATES_IN_REQUEST"),
        (set("document:wide", "viewer", &[]), Code::InvalidArgument, "TOO_MANY_UPDATES_IN_REQUEST"),
        (set("document:readme", "view", &[]), Code::InvalidArgument, "CANNOT_UPDATE_PERMISSION"),
        (set("document:readme", "nothing", &[]), Code::FailedPrecondition, "UNKNOWN_RELATION_OR_PERMISSION"),
        (set("nothing:readme", "viewer", &[]), Code::FailedPrecondition, "UNKNOWN_DEFINITION"),
        (set("document:readme", "", &[]), Code::InvalidArgument, ""),
        (set("document:readme", "owner", &owned(&["user:*"])), Code::InvalidArgument, "INVALID_SUBJECT_TYPE"),
        (
            set("document:readme", "viewer", &owned(&["user:a", "user:a[only_on]"])),
            Code::InvalidArgument,
            "UPDATES_ON_SAME_RELATIONSHIP",
        ),
        (
            guarded(must(true, "document:readme", "view", "user:bob")),
            Code::FailedPrecondition,
            "WRITE_OR_DELETE_PRECONDITION_FAILURE",
        ),
        (matching, Code::FailedPrecondition, "WRITE_OR_DELETE_PRECONDITION_FAILURE"),
    ] {
        let text = format!("{} {}", request.relation, request.subjects.len());
        let status = client.set_relation(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).0.as_str()), (code, wanted), "{text}: {status:?}");
    }
    assert_eq!(viewers(&server, "readme", None).await, before);
    let allowed = guarded(must(false, "document:readme", "view", "user:bob"));
    client.set_relation(allowed).await.unwrap();
    assert_eq!(viewers(&server, "readme", None).await, ["user:zoe"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sets_that_race_never_mix_at_any_revision() {
    const WRITERS: usize = 8;
    let server = Server::furnished();
    let sets: Vec<Vec<String>> = (0..WRITERS)
        .map(|writer| {
            // Some subjects are in several sets, and with other attributes.
            let mut all: Vec<String> = (0..30).map(|n| format!("user:w{writer}n{n}")).collect();
            all.extend((0..10).filter(|n| n % 4 == writer % 4).map(|n| format!("user:shared{n}")));
            all.push(if writer % 2 == 0 { "user:both".to_owned() } else { "user:both[only_on]".to_owned() });
            all.sort();
            all
        })
        .collect();
    let mut writing = Vec::new();
    for mine in sets.clone() {
        let mut client = own(&server).await;
        writing.push(tokio::spawn(async move {
            let mut tokens = Vec::new();
            for _ in 0..25 {
                let done = client.set_relation(set("document:raced", "viewer", &mine)).await.unwrap();
                tokens.push(done.into_inner().written_at.unwrap());
            }
            tokens
        }));
    }
    for (writer, writing) in writing.into_iter().enumerate() {
        // At its own revision each set stands as it was asked for.
        for token in writing.await.unwrap().iter().step_by(6) {
            assert_eq!(viewers(&server, "raced", exactly(token)).await, sets[writer]);
        }
    }
    let last = viewers(&server, "raced", None).await;
    assert_eq!(sets.iter().filter(|set| **set == last).count(), 1, "{last:?}");
    assert!(object("document:raced").is_some());
}
