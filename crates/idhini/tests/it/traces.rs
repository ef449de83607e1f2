//! What a check with tracing tells, kind by kind, and what a refused one does.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::caveat_eval_info::Result as Outcome;
use idhini_wire::authzed::api::v1::check_debug_trace::{PermissionType, Permissionship, Resolution};
use idhini_wire::google;
use prost::Message as _;
use tonic::Code;

use crate::process::{Server, check, reason, touch};

const SCHEMA: &str = r#"use expiration
caveat only_on(day string, level int) {
  day == "tuesday" && level > 3
}
caveat failing(values map<int>, key string) {
  values[key] == 1
}
definition user {}
definition group {
  relation member: user | group#member
}
definition org {
  relation admin: user
  permission manage = admin
}
definition document {
  relation org: org
  relation viewer: user | group#member | user with only_on | user with failing | user with expiration
  relation banned: user
  relation owner: user
  relation itself: document
  permission edit = org->manage
  permission view = viewer + edit
  permission both = viewer & owner
  permission allowed = viewer - banned
  permission everywhere = org.all(manage)
  permission twice = viewer & (viewer + owner)
  permission round = owner - itself->round
}"#;

const RELATIONSHIPS: [&str; 20] = [
    "group:eng#member@user:tom",
    "group:all#member@group:eng#member",
    "document:d#viewer@group:all#member",
    r#"document:d#viewer@user:eve[only_on:{"day":"tuesday"}]"#,
    r#"document:d#viewer@user:bad[failing:{"values":{"a":1}}]"#,
    "document:d#viewer@user:soon[expiration:2100-01-01T00:00:00Z]",
    "document:d#org@org:one",
    "document:d#org@org:two",
    "org:one#admin@user:ann",
    "org:two#admin@user:ann",
    "org:two#admin@user:bob",
    "document:d#viewer@user:own",
    "document:d#owner@user:own",
    "document:d#viewer@user:ban",
    "document:d#banned@user:ban",
    "document:d#owner@user:round",
    "document:d#itself@document:d",
    "group:a#member@group:b#member",
    "group:b#member@group:a#member",
    "document:d#viewer@group:a#member",
];

/// The trace in lines, each a step deeper indented: what was asked, what came out, and on what it rests.
fn lines(trace: &v1::CheckDebugTrace, depth: usize, into: &mut Vec<String>) {
    let subject = trace.subject.as_ref().unwrap();
    let by = subject.object.as_ref().unwrap();
    let mut by = format!("{}:{}", by.object_type, by.object_id);
    if !subject.optional_relation.is_empty() {
        by = format!("{by}#{}", subject.optional_relation);
    }
    let resource = trace.resource.as_ref().unwrap();
    let kind = match trace.permission_type() {
        PermissionType::Relation => "#",
        PermissionType::Permission => " ",
        PermissionType::Unspecified => "?",
    };
    let result = match trace.result() {
        Permissionship::NoPermission => "no",
        Permissionship::HasPermission => "has",
        Permissionship::ConditionalPermission => "conditional",
        Permissionship::Unspecified => "unknown",
    };
    let mut line = format!(
        "{:depth$}{}:{}{kind}{} {by} = {result}",
        "", resource.object_type, resource.object_id, trace.permission
    );
    if let Some(info) = &trace.caveat_evaluation_info {
        let context =
            info.context.clone().map(|c| idhini_wire::context(Some(c), "context").unwrap().to_string());
        let missing = info.partial_caveat_info.as_ref().map(|i| i.missing_required_context.join(","));
        line += &format!(
            " if {} `{}` {:?} {} {:?}",
            info.caveat_name,
            info.expression,
            info.result(),
            context.unwrap_or_default(),
            missing.unwrap_or_default()
        );
    }
    if !trace.source.is_empty() {
        line += &format!(" <- {}", trace.source);
    }
    if let Some(at) = trace.optional_expires_at {
        line += &format!(" until {}", at.seconds);
    }
    match trace.resolution.as_ref().unwrap() {
        Resolution::WasCachedResult(true) => into.push(line + " (told)"),
        Resolution::WasCachedResult(false) => into.push(line),
        Resolution::SubProblems(below) => {
            into.push(line);
            below.traces.iter().for_each(|trace| lines(trace, depth + 1, into));
        }
    }
}

async fn server() -> Server {
    let server = Server::start(&[]);
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    server.schemas().await.write_schema(schema).await.unwrap();
    server.permissions().await.write_relationships(touch(&RELATIONSHIPS)).await.unwrap();
    server
}

fn asked(permission: &str, who: &str, context: &str) -> v1::CheckPermissionRequest {
    let context = (!context.is_empty())
        .then(|| idhini_wire::context_message(idhini_model::Context::from_json(context).unwrap()));
    v1::CheckPermissionRequest { with_tracing: true, context, ..check("document:d", permission, who) }
}

#[tokio::test]
async fn each_kind_of_check_tells_its_parts_with_their_results() {
    let server = server().await;
    let mut client = server.permissions().await;
    let expression = r#"`day == "tuesday" && level > 3`"#;
    let eve = r#"<- document:d#viewer@user:eve[only_on:{"day":"tuesday"}]"#;
    let conditional = |result: &str, outcome: Outcome, context: &str, missing: &str| {
        format!(
            "document:d#viewer user:eve = {result} if only_on {expression} {outcome:?} {context} {missing:?} {eve}"
        )
    };
    let under = |head: &[&str], depth: usize, last: String| {
        let mut lines: Vec<String> = head.iter().map(|line| (*line).to_owned()).collect();
        lines.push(format!("{:depth$}{last}", ""));
        lines
    };
    let texts = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let table: Vec<(&str, &str, &str, Vec<String>)> = vec![
        // A chain of groups; one witness is enough.
        (
            "view",
            "user:tom",
            "",
            texts(&[
                "document:d view user:tom = has",
                " document:d#viewer user:tom = has",
                "  document:d#viewer group:all#member = has <- document:d#viewer@group:all#member",
                "   group:all#member user:tom = has",
                "    group:all#member group:eng#member = has <- group:all#member@group:eng#member",
                "     group:eng#member user:tom = has",
                "      group:eng#member user:tom = has <- group:eng#member@user:tom",
            ]),
        ),
        // An arrow, any and all.
        (
            "edit",
            "user:bob",
            "",
            texts(&[
                "document:d edit user:bob = has",
                " document:d#org org:two = has <- document:d#org@org:two",
                "  org:two manage user:bob = has",
                "   org:two#admin user:bob = has",
                "    org:two#admin user:bob = has <- org:two#admin@user:bob",
            ]),
        ),
        (
            "everywhere",
            "user:bob",
            "",
            texts(&[
                "document:d everywhere user:bob = no",
                " document:d#org org:one = no <- document:d#org@org:one",
                "  org:one manage user:bob = no",
                "   org:one#admin user:bob = no",
            ]),
        ),
        // Both sides of an intersection, both of an exclusion.
        (
            "both",
            "user:own",
            "",
            texts(&[
                "document:d both user:own = has",
                " document:d#viewer user:own = has",
                "  document:d#viewer user:own = has <- document:d#viewer@user:own",
                " document:d#owner user:own = has",
                "  document:d#owner user:own = has <- document:d#owner@user:own",
            ]),
        ),
        (
            "allowed",
            "user:own",
            "",
            texts(&[
                "document:d allowed user:own = has",
                " document:d#viewer user:own = has",
                "  document:d#viewer user:own = has <- document:d#viewer@user:own",
                " document:d#banned user:own = no",
            ]),
        ),
        (
            "allowed",
            "user:ban",
            "",
            texts(&[
                "document:d allowed user:ban = no",
                " document:d#banned user:ban = has",
                "  document:d#banned user:ban = has <- document:d#banned@user:ban",
            ]),
        ),
        // A caveat that lacks something, holds, does not, and one that expires.
        (
            "view",
            "user:eve",
            "",
            under(
                &["document:d view user:eve = conditional", " document:d#viewer user:eve = conditional"],
                2,
                conditional("conditional", Outcome::MissingSomeContext, r#"{"day":"tuesday"}"#, "level"),
            ),
        ),
        (
            "view",
            "user:eve",
            r#"{"level":4,"other":1}"#,
            under(
                &["document:d view user:eve = has", " document:d#viewer user:eve = has"],
                2,
                conditional("has", Outcome::True, r#"{"day":"tuesday","level":4}"#, ""),
            ),
        ),
        (
            "viewer",
            "user:soon",
            "",
            texts(&[
                "document:d#viewer user:soon = has",
                " document:d#viewer user:soon = has <- document:d#viewer@user:soon[expiration:2100-01-01T00:00:00Z] until 4102444800",
            ]),
        ),
        // What was told is not told again.
        (
            "twice",
            "user:ban",
            "",
            texts(&[
                "document:d twice user:ban = has",
                " document:d#viewer user:ban = has",
                "  document:d#viewer user:ban = has <- document:d#viewer@user:ban",
                " document:d#viewer user:ban = has (told)",
            ]),
        ),
    ];
    for (permission, who, context, wanted) in table {
        let answer = client.check_permission(asked(permission, who, context)).await.unwrap().into_inner();
        let debug = answer.debug_trace.unwrap();
        assert!(debug.schema_used.contains("definition document"));
        let mut told = Vec::new();
        lines(debug.check.as_ref().unwrap(), 0, &mut told);
        assert_eq!(told, wanted, "{permission} {who} {context}");
    }
    // A denial tells everything that was tried: the false condition, and the circle of groups once.
    let denied = client.check_permission(asked("viewer", "user:eve", r#"{"level":1}"#)).await.unwrap();
    let mut told = Vec::new();
    lines(denied.into_inner().debug_trace.unwrap().check.as_ref().unwrap(), 0, &mut told);
    let no = conditional("no", Outcome::False, r#"{"day":"tuesday","level":1}"#, "");
    assert!(told.contains(&format!(" {no}")), "{told:#?}");
    assert!(told.iter().any(|line| line.trim() == "group:a#member user:eve = no (told)"), "{told:#?}");
}

#[tokio::test]
async fn a_refused_check_with_tracing_tells_how_it_got_there_and_without_it_does_not() {
    let server = server().await;
    let mut client = server.permissions().await;
    let table = [
        ("view", "user:bad", r#"{"key":"b"}"#, Code::InvalidArgument, "CAVEAT_EVALUATION_ERROR", "failing"),
        ("view", "user:bad", r#"{"key":1}"#, Code::InvalidArgument, "CAVEAT_PARAMETER_TYPE_ERROR", "failing"),
        ("round", "user:round", "", Code::FailedPrecondition, "UNSPECIFIED", "itself"),
    ];
    for (permission, who, context, code, why, says) in table {
        let request = asked(permission, who, context);
        let status = client.check_permission(request.clone()).await.unwrap_err();
        let (told, metadata) = reason(&status);
        assert_eq!((status.code(), told.as_str()), (code, why));
        let trace = &metadata["debug_trace_proto_text"];
        let begins =
            format!(r#"check{{resource{{object_type:"document",object_id:"d"}},permission:"{permission}""#);
        assert!(trace.starts_with(&begins), "{trace}");
        assert!(trace.contains(says) && trace.len() < 2_500, "{trace}");
        // In a bulk check it is that item's.
        let item = v1::CheckBulkPermissionsRequestItem {
            resource: request.resource.clone(),
            permission: request.permission.clone(),
            subject: request.subject.clone(),
            context: request.context.clone(),
        };
        let bulk =
            v1::CheckBulkPermissionsRequest { items: vec![item], with_tracing: true, ..Default::default() };
        let pairs = client.check_bulk_permissions(bulk).await.unwrap().into_inner().pairs;
        let Some(v1::check_bulk_permissions_pair::Response::Error(error)) = &pairs[0].response else {
            panic!("{pairs:?}")
        };
        let info = google::rpc::ErrorInfo::decode(error.details[0].value.as_slice()).unwrap();
        // A map's entries have no order.
        let lengths = info.metadata.get("debug_trace_proto_text").map(String::len);
        assert_eq!(lengths, Some(trace.len()));
        let status = client
            .check_permission(v1::CheckPermissionRequest { with_tracing: false, ..request })
            .await
            .unwrap_err();
        assert!(!reason(&status).1.contains_key("debug_trace_proto_text"));
    }
}

#[tokio::test]
async fn a_trace_leaves_out_a_schema_that_would_not_fit_with_it() {
    let server = Server::start(&[]);
    let mut schemas = server.schemas().await;
    for (definitions, is_told) in [(1_000, true), (20_000, false)] {
        let others = (0..definitions).map(|n| format!("definition other{n} {{ relation one: user }}\n"));
        let schema = format!("{SCHEMA}\n{}", others.collect::<String>());
        schemas.write_schema(v1::WriteSchemaRequest { schema }).await.unwrap();
        let mut asked = check("document:d", "view", "user:tom");
        asked.with_tracing = true;
        let trace =
            server.permissions().await.check_permission(asked).await.unwrap().into_inner().debug_trace;
        let trace = trace.unwrap();
        assert!(trace.check.is_some());
        assert_eq!(trace.schema_used.is_empty(), !is_told, "{definitions} more definitions");
    }
}
