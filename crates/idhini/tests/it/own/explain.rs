//! A check, and why its answer is what it is.

use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::idhini::v1;
use tonic::Code;

use crate::own::{import, own, text};
use crate::process::{Server, object, reason, subject, touch};

fn asking(resource: &str, permission: &str, by: &str) -> v1::ExplainRequest {
    v1::ExplainRequest {
        resource: object(resource),
        permission: permission.to_owned(),
        subject: subject(by),
        ..Default::default()
    }
}

async fn explained(server: &Server, request: v1::ExplainRequest) -> v1::ExplainResponse {
    own(server).await.explain(request).await.unwrap().into_inner()
}

/// The grounds in words, with what each contributes.
fn grounds(response: &v1::ExplainResponse) -> Vec<(String, Permissionship)> {
    let ground = |g: &v1::Ground| (text(g.relationship.as_ref().unwrap()), g.permissionship());
    let mut all: Vec<_> = response.grounds.iter().map(ground).collect();
    all.sort();
    all
}

fn owned(grounds: &[(&str, Permissionship)]) -> Vec<(String, Permissionship)> {
    grounds.iter().map(|(text, value)| ((*text).to_owned(), *value)).collect()
}

#[tokio::test]
async fn a_grant_names_the_relationships_that_grant_it() {
    use Permissionship::HasPermission;
    let server = Server::furnished();
    let answer = explained(&server, asking("document:readme", "view", "user:tom")).await;
    assert_eq!(answer.permissionship(), HasPermission);
    assert_eq!(
        grounds(&answer),
        owned(&[
            ("document:readme#viewer@group:all#member", HasPermission),
            ("group:all#member@group:eng#member", HasPermission),
            ("group:eng#member@user:tom", HasPermission),
        ])
    );
    assert!(!answer.is_truncated && answer.optional_expires_at.is_none());
    assert!(answer.checked_at.is_some() && answer.partial_caveat_info.is_none());
    // The trace is that of a traced check.
    let traced = authzed::CheckPermissionRequest {
        with_tracing: true,
        ..crate::process::check("document:readme", "view", "user:tom")
    };
    let checked = server.permissions().await.check_permission(traced).await.unwrap().into_inner();
    assert_eq!(answer.debug_trace, checked.debug_trace);
    assert!(answer.debug_trace.unwrap().schema_used.contains("definition document"));
}

#[tokio::test]
async fn a_denial_names_what_takes_away() {
    let server = Server::furnished();
    let answer = explained(&server, asking("document:readme", "view", "user:bob")).await;
    assert_eq!(answer.permissionship(), Permissionship::NoPermission);
    let banned = ("document:readme#banned@user:bob".to_owned(), Permissionship::HasPermission);
    assert!(grounds(&answer).contains(&banned), "{:?}", grounds(&answer));
}

#[tokio::test]
async fn a_condition_is_named_with_what_it_lacks() {
    let server = Server::furnished();
    let answer = explained(&server, asking("document:readme", "view", "user:eve")).await;
    assert_eq!(answer.permissionship(), Permissionship::ConditionalPermission);
    assert_eq!(answer.partial_caveat_info.clone().unwrap().missing_required_context, ["level"]);
    let [ground] = &answer.grounds[..] else { panic!("{:?}", answer.grounds) };
    let caveat = ground.caveat.as_ref().unwrap();
    assert_eq!(caveat.caveat_name, "only_on");
    assert_eq!(caveat.partial_caveat_info.as_ref().unwrap().missing_required_context, ["level"]);
    assert_eq!(caveat.result(), authzed::caveat_eval_info::Result::MissingSomeContext);
    assert!(caveat.context.as_ref().unwrap().fields.contains_key("day"));
    let context = idhini_model::Context::from_json(r#"{"level":9}"#).unwrap();
    let with_level = v1::ExplainRequest {
        context: Some(idhini_wire::context_message(context)),
        ..asking("document:readme", "view", "user:eve")
    };
    let answer = explained(&server, with_level).await;
    assert_eq!(answer.permissionship(), Permissionship::HasPermission);
    assert_eq!(answer.grounds[0].caveat.as_ref().unwrap().result(), authzed::caveat_eval_info::Result::True);
}

#[tokio::test]
async fn an_answer_says_until_when_it_stays_where_that_is_known() {
    let server = Server::furnished();
    let mut client = server.permissions().await;
    let expiring = "document:e#viewer@user:zoe[expiration:2100-01-01T00:00:00Z]";
    client.write_relationships(touch(&[expiring, "document:f#viewer@user:zoe"])).await.unwrap();
    let answer = explained(&server, asking("document:e", "view", "user:zoe")).await;
    assert_eq!(answer.permissionship(), Permissionship::HasPermission);
    assert_eq!(answer.optional_expires_at.unwrap().seconds, 4_102_444_800);
    let answer = explained(&server, asking("document:f", "view", "user:zoe")).await;
    assert_eq!(answer.optional_expires_at, None);
    let answer = explained(&server, asking("document:e", "view", "user:nobody")).await;
    assert_eq!((answer.permissionship(), answer.optional_expires_at), (Permissionship::NoPermission, None));
}

#[tokio::test]
async fn however_much_there_is_to_tell_it_answers_and_says_what_is_left_out() {
    let server = Server::furnished();
    let long = "x".repeat(900);
    import(&server, (0..30_000).map(|n| format!("document:wide#viewer@group:{long}{n}#member"))).await;
    let answer = explained(&server, asking("document:wide", "view", "user:nobody")).await;
    assert_eq!(answer.permissionship(), Permissionship::NoPermission);
    assert!(answer.is_truncated);
    assert!(answer.grounds.len() > 100, "{}", answer.grounds.len());
    // What grants is small, however much stands beside it.
    let mut client = server.permissions().await;
    client.write_relationships(touch(&["document:wide#viewer@user:zoe"])).await.unwrap();
    let answer = explained(&server, asking("document:wide", "view", "user:zoe")).await;
    assert_eq!(answer.permissionship(), Permissionship::HasPermission);
    assert_eq!(answer.grounds.len(), 1);
    assert!(!answer.is_truncated);
    // A chain deeper than a trace goes.
    import(&server, (0..200).map(|n| format!("group:c{n}#member@group:c{}#member", n + 1))).await;
    client.write_relationships(touch(&["group:c200#member@user:deep"])).await.unwrap();
    let answer = explained(&server, asking("group:c0", "member", "user:deep")).await;
    assert_eq!(answer.permissionship(), Permissionship::HasPermission);
    assert_eq!(answer.grounds.len(), 201);
    assert!(answer.is_truncated);
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused_as_a_check_is() {
    let server = Server::furnished();
    let mut client = own(&server).await;
    for (request, code, wanted) in [
        (asking("nothing:a", "view", "user:tom"), Code::FailedPrecondition, "UNKNOWN_DEFINITION"),
        (
            asking("document:a", "nothing", "user:tom"),
            Code::FailedPrecondition,
            "UNKNOWN_RELATION_OR_PERMISSION",
        ),
        (asking("document:a", "view", "user:*"), Code::InvalidArgument, "WILDCARD_NOT_ALLOWED"),
        (v1::ExplainRequest::default(), Code::InvalidArgument, ""),
    ] {
        let status = client.explain(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).0.as_str()), (code, wanted), "{status:?}");
    }
}
