//! Stopping: who asks is told first, and what was accepted is finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Seen, page, until};
use crate::durable::viewers;
use crate::process::{PATIENCE, SCHEMA, Server, folder, relationship, touch};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_told_and_what_is_under_way_is_finished() {
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", "")]);
    let mut seen = Seen::in_folder(crate::process::binary(), &folder, &[]);
    let channel = seen.server.channel().await;
    // One who asks for its health, one who watches, one in the middle of an import, one who reads slowly.
    let mut healths = Vec::new();
    for service in ["", "authzed.api.v1.PermissionsService", "authzed.api.v1.WatchService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut health = HealthClient::new(channel.clone()).watch(request).await.unwrap().into_inner();
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        healths.push(health);
    }
    let mut watching =
        seen.server.watches().await.watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let (import, messages) = mpsc::channel(1);
    let mut permissions = seen.server.permissions().await;
    let importing =
        tokio::spawn(
            async move { permissions.import_bulk_relationships(ReceiverStream::new(messages)).await },
        );
    let message = |text: &str| v1::ImportBulkRelationshipsRequest { relationships: vec![relationship(text)] };
    import.send(message("document:a#viewer@user:a")).await.unwrap();
    until("the import is under way", || seen.metric("idhini_requests_under_way") >= Some(5.0)).await;

    let metrics = seen.metrics.clone();
    seen.server.tell_to_stop();
    until("it is not ready", || page(&metrics, "/readyz").status == 503).await;
    assert!(String::from_utf8(page(&metrics, "/readyz").body).unwrap().contains("told to stop"));
    assert_eq!(page(&metrics, "/healthz").status, 200);
    for health in &mut healths {
        assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert!(health.message().await.unwrap().is_none());
    }
    let ended = tokio::time::timeout(PATIENCE, watching.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    // The rest of the import comes after all of that.
    import.send(message("document:b#viewer@user:a")).await.unwrap();
    drop(import);
    assert_eq!(importing.await.unwrap().unwrap().into_inner().num_loaded, 2);
    // Nothing of this is a failure.
    assert_eq!(seen.ended(), (Some(0), String::new()));

    let data = folder.join("data");
    let again = Server::durable(&["--data-dir", data.to_str().unwrap()]);
    assert_eq!(viewers(&again, Requirement::FullyConsistent(true)).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_that_was_accepted_is_answered_and_every_answer_is_kept() {
    const WRITERS: usize = 16;
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", "")]);
    let mut seen = Seen::in_folder(crate::process::binary(), &folder, &[]);
    let is_told = Arc::new(AtomicBool::new(false));
    let mut writing = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let mut permissions = seen.server.permissions().await;
        let is_told = Arc::clone(&is_told);
        writing.spawn(async move {
            let mut kept = Vec::new();
            for at in 0.. {
                let id = format!("w{writer}n{at}");
                let was_told = is_told.load(Ordering::SeqCst);
                match permissions.write_relationships(touch(&[&format!("document:{id}#viewer@user:a")])).await
                {
                    Ok(_) => kept.push(id),
                    // Only what came after it was told may be turned away, and it is turned away, not lost.
                    Err(refused) => {
                        let is_late = was_told || is_told.load(Ordering::SeqCst);
                        assert!(is_late, "{refused:?}");
                        return (kept, refused);
                    }
                }
            }
            unreachable!()
        });
    }
    until("they write", || seen.metric("idhini_head_revision") > Some(50.0)).await;
    is_told.store(true, Ordering::SeqCst);
    seen.server.tell_to_stop();
    let mut all = Vec::new();
    for (kept, refused) in writing.join_all().await {
        all.extend(kept);
        // Not that the outcome is unknown, nor that a write was called off.
        let text = format!("{refused:?}");
        // A call that the client begins when it has just heard that the connection ends never leaves it; our client calls that
        // internal.
        let is_unsent = refused.code() == Code::Internal && text.contains("GoAway(b\"\", NO_ERROR, Remote)");
        let is_away = matches!(refused.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        assert!(is_away || is_unsent, "{text}");
        assert!(!refused.message().contains("whether this write took effect"), "{text}");
    }
    assert_eq!(seen.ended().0, Some(0));
    all.sort();
    let again = Server::durable(&["--data-dir", folder.join("data").to_str().unwrap()]);
    let found = viewers(&again, Requirement::FullyConsistent(true)).await;
    let lost: Vec<_> = all.iter().filter(|id| found.binary_search(id).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", all.len());
    // And nothing is there that nobody was told of.
    let untold: Vec<_> = found.iter().filter(|id| all.binary_search(id).is_err()).collect();
    assert!(untold.is_empty(), "{untold:?}");
}
