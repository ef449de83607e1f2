//! What the binary asks of the system, seen from outside: every acknowledgement on the wire follows a successful sync
//! that follows the write of its entry.
//!
//! A server runs under strace, which makes syncs slow, so that answers that do not wait for them are seen and several
//! writes wait for one, or makes some of them fail. Clients write and import objects with ids of their own, which are
//! found again in what came over the wire, in what was written to segments, and in what was answered.

#![allow(clippy::print_stdout, reason = "what was checked is part of the result")]

use std::path::{Path, PathBuf};

use idhini_wire::authzed::api::v1;

use crate::process::{SCHEMA, Server, folder, relationship, touch};

mod frames;
mod judge;
mod trace;

use judge::{Verdict, judge};

/// Syncs take this much longer.
const SLOW: &str = "--inject=fdatasync:delay_enter=5000";
/// Some fail, from those on that follow the start.
const ILL: &str = "--inject=fdatasync:error=EIO:when=9+7";

const CLIENTS: u64 = 12;
const WRITES: u64 = 20;
const IMPORTERS: u64 = 2;
const IMPORTS: u64 = 4;
const IMPORTED: u64 = 200;

/// The id of an object that nothing else is called: also its end is.
fn id(number: u64) -> String {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}", mixed ^ mixed >> 32)
}

/// Everything that clients do at the same time, each over a connection of its own; the ids of every call that was
/// acknowledged.
async fn everything(server: &Server) -> Vec<Vec<String>> {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let mut permissions = server.permissions().await;
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..WRITES {
                let id = id(client << 32 | number);
                let request = touch(&[&format!("document:{id}#owner@user:ann")]);
                let is_acknowledged = permissions.write_relationships(request).await.is_ok();
                acknowledged.extend(is_acknowledged.then(|| vec![id]));
            }
            acknowledged
        });
    }
    for client in CLIENTS..CLIENTS + IMPORTERS {
        let mut permissions = server.permissions().await;
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..IMPORTS {
                let ids: Vec<String> = (0..IMPORTED).map(|of| id(client << 32 | number << 16 | of)).collect();
                let relationships =
                    ids.iter().map(|id| relationship(&format!("document:{id}#owner@user:ann")));
                let message = v1::ImportBulkRelationshipsRequest { relationships: relationships.collect() };
                let imported = permissions.import_bulk_relationships(tokio_stream::once(message)).await;
                acknowledged.extend(imported.is_ok().then_some(ids));
            }
            acknowledged
        });
    }
    clients.join_all().await.concat()
}

/// Runs a server under strace, keeps it busy and judges what it did.
async fn judged(inject: &str, environment: &[(&str, &str)]) -> Verdict {
    let folder: PathBuf = folder(&[("s.zed", SCHEMA)]);
    let path = |name: &str| folder.join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (data, file) = (path("data"), path("trace"));
    let arguments = ["--data-dir", &text(&data), "--schema", &text(&path("s.zed"))];
    let server = trace::start(&file, inject, environment, &arguments);
    let acknowledged = everything(&server).await;
    let verdict = judge(&trace::ended(server, &file), &data, &acknowledged);
    println!(
        "{} acknowledgements of {} entries' ids in {} segments, {} syncs and {} failed ones, {} answers waited for \
         one sync at most, {} faults at {}",
        verdict.acknowledged,
        verdict.entries_found,
        verdict.segments.len(),
        verdict.syncs,
        verdict.failed_syncs,
        verdict.groups.values().max().unwrap_or(&0),
        verdict.faults.len(),
        verdict.faulty
    );
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledgement_follows_a_sync_that_follows_its_write() {
    let verdict = judged(SLOW, &[]).await;
    assert_eq!(verdict.faults, []);
    let (writes, imports) = (CLIENTS * WRITES, IMPORTERS * IMPORTS);
    assert_eq!(verdict.acknowledged as u64, writes + imports);
    assert_eq!(verdict.entries_found as u64, writes + imports * IMPORTED);
    assert_eq!(verdict.groups.values().sum::<usize>(), verdict.acknowledged);
    assert!(verdict.groups.values().any(|answers| *answers > 1), "no sync was shared");
    // Besides those of segments' starts and of the schema.
    assert!(verdict.syncs < verdict.acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledgement_follows_a_sync_that_failed() {
    let verdict = judged(ILL, &[]).await;
    assert_eq!(verdict.faults, []);
    assert!(verdict.failed_syncs >= 3 && verdict.segments.len() >= 3, "too little failed");
    assert!(verdict.acknowledged as u64 >= WRITES, "too little was acknowledged");
    assert!((verdict.acknowledged as u64) < CLIENTS * WRITES + IMPORTERS * IMPORTS, "nothing was refused");
}

/// Stores that break a rule must be caught, each for what it does.
#[cfg(feature = "broken")]
mod broken {
    use super::judge::Fault;
    use super::{SLOW, Verdict, judged};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_build_that_skips_syncs_is_caught() {
        let verdict = judged(SLOW, &[("IDHINI_BROKEN_LOG", "SkipsSync")]).await;
        // Everything was written, and nothing of it ever synced.
        assert!(verdict.faulty == verdict.acknowledged && verdict.faulty > 0);
        assert!(verdict.faults.iter().all(|fault| matches!(fault, Fault::Unsynced { .. })));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_build_that_acknowledges_before_it_appends_is_caught() {
        let verdict = judged(SLOW, &[("IDHINI_BROKEN_LOG", "AcknowledgesBeforeAppend")]).await;
        // Syncs come as they should, and are not waited for.
        let is_early = |fault: &Fault| matches!(fault, Fault::Early { .. } | Fault::Unwritten { .. });
        assert!(verdict.faults.iter().any(is_early));
        let Verdict { faulty, acknowledged, .. } = verdict;
        assert!(faulty * 10 > acknowledged, "{faulty} of {acknowledged} are early");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_build_that_is_not_broken_is_not_caught() {
        let verdict = judged(SLOW, &[("IDHINI_BROKEN_LOG", "none")]).await;
        assert_eq!(verdict.faults, []);
    }
}
