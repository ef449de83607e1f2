//! Calls on several threads: who sees what another wrote, and who waits for whom?

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use tokio::time::Instant;
use tonic::Request;

use crate::process::{SCHEMA, Server, check, touch};

/// How long a cheap call may take beside a connection that keeps the only worker busy.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Calls that the busy connection always has under way.
const BUSY_CALLS: usize = 8;

fn asked(requirement: Requirement) -> v1::CheckPermissionRequest {
    let consistency = Some(v1::Consistency { requirement: Some(requirement) });
    v1::CheckPermissionRequest { consistency, ..check("document:d", "view", "user:ann") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_on_one_connection_is_seen_on_all() {
    let server = Server::start(&["--worker-threads", "3"]);
    server.schemas().await.write_schema(v1::WriteSchemaRequest { schema: SCHEMA.to_owned() }).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(server.permissions().await);
    }
    for round in 0..200 {
        let is_there = round % 2 == 0;
        let mut write = touch(&["document:d#viewer@user:ann"]);
        if !is_there {
            write.updates[0].operation = v1::relationship_update::Operation::Delete as i32;
        }
        let writer = round % clients.len();
        let token =
            clients[writer].write_relationships(write).await.unwrap().into_inner().written_at.unwrap();
        let wanted = if is_there { Permissionship::HasPermission } else { Permissionship::NoPermission };
        for (at, client) in clients.iter_mut().enumerate() {
            let fresh = Requirement::AtLeastAsFresh(token.clone());
            for requirement in [Requirement::FullyConsistent(true), Requirement::MinimizeLatency(true), fresh]
            {
                let answer = client.check_permission(asked(requirement)).await.unwrap().into_inner();
                assert_eq!(answer.permissionship, wanted as i32, "round {round}, connection {at}");
                assert_eq!(answer.checked_at.as_ref(), Some(&token));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_endless_calls_does_not_keep_another_of_the_same_worker_waiting() {
    let server = crate::leaving::slow(&["--worker-threads", "1"]).await;
    let mut busy = Vec::new();
    let channel = server.permissions().await;
    for _ in 0..BUSY_CALLS {
        let mut client = channel.clone();
        busy.push(tokio::spawn(async move {
            loop {
                let mut request = Request::new(check("document:slow", "view", "user:nobody"));
                request.set_timeout(Duration::from_secs(20));
                let _ = client.check_permission(request).await;
            }
        }));
    }
    let before = crate::leaving::spent(&server);
    while crate::leaving::spent(&server) - before < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut other = server.permissions().await;
    for _ in 0..10 {
        let began = Instant::now();
        other.check_permission(check("group:g1", "member", "user:last")).await.unwrap();
        assert!(began.elapsed() < WAIT_MAX, "{:?}", began.elapsed());
    }
    assert!(busy.iter().all(|call| !call.is_finished()));
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}
