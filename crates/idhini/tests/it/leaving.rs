//! What does a server still spend on a call whose client has left, or whose time is over?
//!
//! Measured in the server's processor time, which does not depend on what else the machine does.

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::process::{PATIENCE, Server, check, object, relationship, subject, touch};

/// What a call must have cost before its client leaves: then it is being worked on.
const BUSY: Duration = Duration::from_millis(150);
/// What it may cost from then on, and how long that is watched.
const AFTER_MAX: Duration = Duration::from_millis(160);
const WATCHED: Duration = Duration::from_millis(1_000);
/// The kernel counts in ticks, and a server does a little by itself.
const NOISE: Duration = Duration::from_millis(40);
/// How late an answer may say that time is over.
const LATE_MAX: Duration = Duration::from_millis(100);

const CAVEATS: u32 = 450;
const FOLDERS: u32 = 40;
/// Of a bulk check.
const ITEMS: u32 = 100;

pub const SCHEMA: &str = "
caveat slow(values list<int>, number int) {
  values.all(one, values.all(two, values.all(three, one + two + three + number >= 0)))
}
definition user {}
definition group { relation member: user | user with slow }
definition folder {
  relation parent: folder
  permission view = parent->view
}
definition document {
  relation viewer: group#member with slow
  permission view = viewer
}";

/// Processor time of the process so far.
pub fn spent(server: &Server) -> Duration {
    const TICKS_A_SECOND: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

/// Groups behind conditions that take long, and a tree that doubles at each level.
pub fn slow_relationships() -> Vec<String> {
    let values = (0..30).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let mut texts = Vec::new();
    for number in 0..CAVEATS {
        texts.push(format!(
            r#"document:slow#viewer@group:g{number}#member[slow:{{"values":[{values}],"number":{number}}}]"#
        ));
        texts.push(format!("group:g{number}#member@user:last"));
    }
    // Who is in another group under a condition cannot be told at once to be in none of these.
    for user in (0..ITEMS).map(|n| format!("n{n}")).chain(["nobody".to_owned()]) {
        texts.push(format!(r#"group:apart#member@user:{user}[slow:{{"values":[],"number":0}}]"#));
    }
    for level in 0..FOLDERS {
        for (side, parent) in [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")] {
            texts.push(format!("folder:{side}{level}#parent@folder:{parent}{}", level + 1));
        }
    }
    texts
}

pub async fn slow(arguments: &[&str]) -> Server {
    let server = Server::start(arguments);
    let schema = v1::WriteSchemaRequest { schema: SCHEMA.to_owned() };
    server.schemas().await.write_schema(schema).await.unwrap();
    let mut client = server.permissions().await;
    for part in slow_relationships().chunks(1_000) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        client.write_relationships(touch(&part)).await.unwrap();
    }
    server
}

fn many() -> Vec<v1::ImportBulkRelationshipsRequest> {
    let page = |page: u32| {
        (0..5_000).map(|n| relationship(&format!("group:n{}#member@user:u{n}", page))).collect::<Vec<_>>()
    };
    (0..60).map(|number| v1::ImportBulkRelationshipsRequest { relationships: page(number) }).collect()
}

/// The calls that take long, by their names; each is under way when it is first polled.
fn call(server: &Server, name: &'static str) -> impl Future<Output = Result<(), tonic::Status>> + use<> {
    let address = server.address.clone();
    async move {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut client =
            PermissionsServiceClient::with_interceptor(channel.clone(), crate::process::with_key);
        match name {
            "check" => drop(client.check_permission(check("document:slow", "view", "user:nobody")).await?),
            "check with tracing" => {
                let asked = check("document:slow", "view", "user:nobody");
                let asked = v1::CheckPermissionRequest { with_tracing: true, ..asked };
                drop(client.check_permission(asked).await?);
            }
            "bulk check" => {
                let item = |n: u32| v1::CheckBulkPermissionsRequestItem {
                    resource: object("document:slow"),
                    permission: "view".to_owned(),
                    subject: subject(&format!("user:n{n}")),
                    context: None,
                };
                let items = (0..ITEMS).map(item).collect();
                let request = v1::CheckBulkPermissionsRequest { items, ..Default::default() };
                drop(client.check_bulk_permissions(request).await?);
            }
            "lookup of resources" => {
                let request = v1::LookupResourcesRequest {
                    resource_object_type: "document".to_owned(),
                    permission: "view".to_owned(),
                    subject: subject("user:last"),
                    ..Default::default()
                };
                let mut stream = client.lookup_resources(request).await?.into_inner();
                while stream.message().await?.is_some() {}
            }
            "lookup of subjects" => {
                let request = v1::LookupSubjectsRequest {
                    resource: object("document:slow"),
                    permission: "view".to_owned(),
                    subject_object_type: "user".to_owned(),
                    ..Default::default()
                };
                let mut stream = client.lookup_subjects(request).await?.into_inner();
                while stream.message().await?.is_some() {}
            }
            "expand" => {
                let request = v1::ExpandPermissionTreeRequest {
                    resource: object("folder:a0"),
                    permission: "view".to_owned(),
                    consistency: None,
                };
                drop(client.expand_permission_tree(request).await?);
            }
            "import" => drop(client.import_bulk_relationships(tokio_stream::iter(many())).await?),
            other => panic!("{other}"),
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_the_work() {
    let server = slow(&[]).await;
    for name in [
        "check",
        "check with tracing",
        "bulk check",
        "lookup of resources",
        "lookup of subjects",
        "expand",
        "import",
    ] {
        let before = spent(&server);
        let call = tokio::spawn(call(&server, name));
        let begun = Instant::now();
        while spent(&server) - before < BUSY {
            assert!(begun.elapsed() < PATIENCE && !call.is_finished(), "{name} does not take long");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        call.abort();
        let _ = call.await;
        let left = spent(&server);
        tokio::time::sleep(WATCHED).await;
        let after = spent(&server) - left;
        say(&format!("{name}: {after:?} after its client left"));
        assert!(after <= AFTER_MAX + NOISE, "{name}: {after:?} after its client left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_ends_the_work_when_it_passes() {
    let server = slow(&[]).await;
    let mut client = server.permissions().await;
    let timed = Duration::from_millis(400);
    let mut request = Request::new(check("document:slow", "view", "user:nobody"));
    request.metadata_mut().insert("grpc-timeout", format!("{}m", timed.as_millis()).parse().unwrap());
    let (asked, before) = (Instant::now(), spent(&server));
    let status = client.check_permission(request).await.unwrap_err();
    let took = asked.elapsed();
    // Our client looks at the clock as well, and may be the first to say so.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let spent_in_time = spent(&server) - before;
    say(&format!("a deadline of {timed:?} was told after {took:?}, {spent_in_time:?} of them working"));
    assert!(took >= timed && spent_in_time <= timed + LATE_MAX + NOISE, "{took:?}, {spent_in_time:?}");
    let over = spent(&server);
    tokio::time::sleep(WATCHED).await;
    let after = spent(&server) - over;
    assert!(after <= AFTER_MAX + NOISE, "{after:?} after its time was over");
}

#[expect(clippy::print_stderr, reason = "for whoever runs it with --nocapture")]
fn say(text: &str) {
    eprintln!("{text}");
}
