//! Health and readiness: whether a server lives, and whether it should get calls.

use std::time::Duration;

use tonic::{Code, Status};

use super::{Seen, limit_files, that_survives_long_files, until};
use crate::process::{RELATIONSHIPS, SCHEMA, folder, touch};

async fn write(seen: &Seen, text: &str) -> Result<(), Status> {
    seen.server.permissions().await.write_relationships(touch(&[text])).await.map(|_| ())
}

fn reason(seen: &Seen) -> String {
    let page = seen.page("/readyz");
    assert_eq!(page.status, 503);
    String::from_utf8(page.body).unwrap()
}

#[tokio::test]
async fn a_server_that_does_not_know_what_became_of_a_write_is_ready_again_as_soon_as_it_does() {
    let seen = Seen::of(that_survives_long_files(), &[]);
    assert_eq!((seen.page("/healthz").status, seen.page("/readyz").status), (200, 200));
    assert_eq!(seen.metric("idhini_ready"), Some(1.0));
    limit_files(&seen.server, Some(1));
    assert_eq!(write(&seen, "document:a#viewer@user:a").await.unwrap_err().code(), Code::Unknown);
    assert!(reason(&seen).contains("the log cannot be"), "{}", reason(&seen));
    assert_eq!(seen.page("/healthz").status, 200);
    assert_eq!(seen.metric("idhini_ready"), Some(0.0));
    assert!(seen.metric("idhini_log_write_failures_total").unwrap() >= 1.0);
    limit_files(&seen.server, None);
    write(&seen, "document:b#viewer@user:a").await.unwrap();
    assert_eq!(seen.page("/readyz").status, 200);
}

#[tokio::test]
async fn a_write_that_was_refused_counts_for_a_while_only_as_nobody_writes_to_a_server_that_is_not_ready() {
    let folder = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
    let seen = Seen::in_folder(that_survives_long_files(), &folder, &["--segment-bytes", "65536"]);
    // No file gets any longer: as soon as the log is, it is full.
    let longest = || {
        let files = std::fs::read_dir(folder.join("data/log")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).max().unwrap()
    };
    limit_files(&seen.server, Some(longest()));
    let long = format!("document:{}#viewer@user:a", "a".repeat(1_000));
    let mut refused = None;
    for at in 0..2_000 {
        if let Err(status) = write(&seen, &long.replacen("a", &format!("n{at}"), 1)).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(reason(&seen).contains("the log cannot be written: "), "{}", reason(&seen));
    tokio::time::sleep(Duration::from_secs(8)).await;
    reason(&seen);
    until("the failure is old", || seen.page("/readyz").status == 200).await;
}
