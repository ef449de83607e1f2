//! Certificates that take the place of others, and what connections notice of it: nothing.

use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::{Authority, fingerprint_of};
use crate::eyes::{Seen, until};
use crate::process::{PATIENCE, check, run, touch, with_key};

/// Whether a connection still does its work.
async fn answers(channel: &Channel) -> bool {
    let mut permissions = PermissionsServiceClient::with_interceptor(channel.clone(), with_key);
    permissions.check_permission(check("document:readme", "view", "user:tom")).await.is_ok()
}

fn metric(seen: &Seen, name: &str) -> f64 {
    seen.metric(name).unwrap()
}

async fn shows(authority: &Authority, seen: &Seen, wanted: &str) {
    let began = Instant::now();
    while authority.fingerprint(&seen.server).await.as_deref() != Some(wanted) {
        assert!(began.elapsed() < PATIENCE, "{wanted} is not shown: {}", seen.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn files_that_change_are_shown_and_bad_ones_are_not() {
    let authority = Authority::new();
    let seen = authority.serve(&[]);
    let (file, key_file) = (authority.folder.join("server.pem"), authority.folder.join("server-key.pem"));
    let first = fingerprint_of(&file);
    assert_eq!(authority.fingerprint(&seen.server).await.as_deref(), Some(&*first));
    let opened_first = authority.channel(&seen.server, None).await.unwrap();
    assert!(answers(&opened_first).await);

    authority.server(&["--lifetime", "2d"]);
    let second = fingerprint_of(&file);
    shows(&authority, &seen, &second).await;
    assert!(answers(&opened_first).await, "its connection is another one's business");
    assert_eq!(metric(&seen, "idhini_tls_reloads_total"), 1.0);
    let ends_at = metric(&seen, "idhini_tls_certificate_end_time_seconds");
    let now = idhini::clock::now().seconds() as f64;
    assert!((ends_at - now - 2.0 * 86_400.0).abs() < 300.0, "{ends_at} {now}");

    let (good, good_key) = (std::fs::read(&file).unwrap(), std::fs::read(&key_file).unwrap());
    for bad in ["cut", "key"] {
        match bad {
            "cut" => std::fs::write(&file, &good[..good.len() / 2]).unwrap(),
            _ => {
                // The certificate of another key.
                authority.issue("other", &["--name", "localhost"]);
                std::fs::copy(authority.folder.join("other.pem"), &file).unwrap();
            }
        }
        until("idhini_tls_certificate_old is 1", || metric(&seen, "idhini_tls_certificate_old") == 1.0).await;
        assert_eq!(authority.fingerprint(&seen.server).await.as_deref(), Some(&*second));
        assert!(answers(&opened_first).await);
        std::fs::write(&file, &good).unwrap();
        until("idhini_tls_certificate_old is 0", || metric(&seen, "idhini_tls_certificate_old") == 0.0).await;
    }
    assert_eq!(metric(&seen, "idhini_tls_reload_failures_total"), 2.0);
    let said = seen.said();
    assert_eq!(said.matches("the newest TLS certificate cannot be used").count(), 2, "{said}");
    let secret = String::from_utf8(good_key).unwrap();
    assert!(secret.lines().all(|line| !said.contains(line)), "{said}");
}

/// Handshakes, calls and a stream go on over at least three certificates of their server.
#[tokio::test]
async fn a_server_renews_its_certificate_and_drops_no_connection() {
    let authority = Authority::new();
    let seen = authority.serve_own(&["--tls-lifetime", "3s"]);
    let channel = authority.channel(&seen.server, None).await.unwrap();
    let mut permissions = PermissionsServiceClient::with_interceptor(channel.clone(), with_key);
    let mut watches = WatchServiceClient::with_interceptor(channel, with_key);
    let asked = v1::WatchRequest { optional_object_types: vec!["document".to_owned()], ..Default::default() };
    let mut changes = watches.watch(asked).await.unwrap().into_inner();
    let mut shown = std::collections::BTreeSet::new();
    let began = Instant::now();
    let mut round = 0;
    while shown.len() < 4 {
        assert!(began.elapsed() < PATIENCE, "{shown:?}: {}", seen.said());
        // Verified by the authority and at this moment: one that had ended would be refused.
        shown.insert(authority.fingerprint(&seen.server).await.expect("a handshake failed"));
        round += 1;
        let text = format!("document:r{round}#owner@user:ann");
        permissions.write_relationships(touch(&[&text])).await.unwrap();
        let told = tokio::time::timeout(PATIENCE, changes.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(told.updates.len(), 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(metric(&seen, "idhini_tls_reloads_total") >= 3.0);
    assert_eq!(metric(&seen, "idhini_tls_certificate_old"), 0.0);
}

#[tokio::test]
async fn a_server_that_cannot_renew_says_so_and_goes_on_when_it_can() {
    let authority = Authority::new();
    let seen = authority.serve_own(&["--tls-lifetime", "3s"]);
    let channel = authority.channel(&seen.server, None).await.unwrap();
    let (key, aside) = (authority.folder.join("ca/ca-key.pem"), authority.folder.join("aside"));
    std::fs::rename(&key, &aside).unwrap();
    until("idhini_tls_certificate_old is 1", || metric(&seen, "idhini_tls_certificate_old") == 1.0).await;
    // Until it has ended.
    let began = Instant::now();
    while authority.fingerprint(&seen.server).await.is_some() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answers(&channel).await, "who was there before stays");
    std::fs::rename(&aside, &key).unwrap();
    until("idhini_tls_certificate_old is 0", || metric(&seen, "idhini_tls_certificate_old") == 0.0).await;
    assert!(authority.fingerprint(&seen.server).await.is_some());
}

#[tokio::test]
async fn other_authorities_of_clients_are_taken_when_their_file_changes() {
    let (authority, others) = (Authority::new(), Authority::new());
    authority.issue("client", &["--name", "client.example"]);
    others.issue("client", &["--name", "client.example"]);
    let trusted = authority.path("trusted.pem");
    std::fs::copy(authority.ca_file(), &trusted).unwrap();
    let seen = authority.serve(&["--tls-client-ca-file", &trusted]);
    let comes_in =
        async |of: &Authority| match authority.channel(&seen.server, Some(of.shown("client"))).await {
            Ok(channel) => answers(&channel).await,
            Err(_) => false,
        };
    assert!(comes_in(&authority).await && !comes_in(&others).await);
    std::fs::copy(others.ca_file(), &trusted).unwrap();
    until("idhini_tls_reloads_total is 1", || metric(&seen, "idhini_tls_reloads_total") == 1.0).await;
    assert!(!comes_in(&authority).await && comes_in(&others).await);
}

#[tokio::test]
async fn what_is_taken_anew_is_on_record_and_what_cannot_be_used_is_not() {
    let (authority, others) = (Authority::new(), Authority::new());
    let (trail, trusted) = (authority.path("trail"), authority.path("trusted.pem"));
    std::fs::copy(authority.ca_file(), &trusted).unwrap();
    let seen = authority.serve(&["--tls-client-ca-file", &trusted, "--audit-dir", &trail]);
    let file = authority.folder.join("server.pem");
    let taken = || {
        let asked = run(&["audit", "query", "--json", &trail, "--call", "TakeCertificate"], &[], "");
        assert_eq!((asked.status, asked.stderr.as_str()), (0, ""));
        let lines = asked.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<serde_json::Value>>()
    };
    assert_eq!(taken().len(), 0, "nothing was taken anew so far");
    let digest = |path: &str| idhini_graph::Digest::of(&std::fs::read(path).unwrap()).to_string();
    let is_told = |record: &serde_json::Value| {
        let details = &record["details"];
        let certificate = file.to_str().unwrap();
        assert_eq!(details["fingerprint"].as_str(), Some(&*fingerprint_of(&file)), "{record}");
        assert_eq!(details["certificate_file"].as_str(), Some(&*digest(certificate)), "{record}");
        assert_eq!(details["client_ca_file"].as_str(), Some(&*digest(&trusted)), "{record}");
        assert_eq!((&record["accessor"], &record["outcome"]), (&"server".into(), &"accepted".into()));
        let until: idhini_model::Timestamp = details["until"].as_str().unwrap().parse().unwrap();
        assert!(until > idhini::clock::now(), "{until}");
    };
    // Another certificate of the server, then other authorities of clients.
    authority.server(&["--lifetime", "2d"]);
    until("a certificate is on record", || taken().len() == 1).await;
    is_told(&taken()[0]);
    std::fs::copy(others.ca_file(), &trusted).unwrap();
    until("authorities are on record", || taken().len() == 2).await;
    is_told(&taken()[1]);
    std::fs::write(&trusted, "none").unwrap();
    until("idhini_tls_certificate_old is 1", || metric(&seen, "idhini_tls_certificate_old") == 1.0).await;
    // Whatever is told later is behind whatever was told before.
    std::fs::copy(others.ca_file(), &trusted).unwrap();
    until("idhini_tls_certificate_old is 0", || metric(&seen, "idhini_tls_certificate_old") == 0.0).await;
    seen.server.stop();
    assert_eq!(taken().len(), 2);
}
