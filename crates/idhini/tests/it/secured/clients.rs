//! Clients that are known by a certificate: what was granted to it they may, without a token.

use std::time::Duration;

use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::idhini::v1::GrantRequest;
use idhini_wire::idhini::v1::access_service_client::AccessServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Authority, fingerprint_of};
use crate::eyes::{Seen, until};
use crate::process::{check, touch, with_key};

/// What a certificate is told when it asks, and when it writes.
async fn may(channel: &Channel) -> (Code, Code) {
    let mut permissions = PermissionsServiceClient::new(channel.clone());
    let code = |status: Result<(), Status>| status.map_or_else(|status| status.code(), |()| Code::Ok);
    let asked = permissions.check_permission(check("document:readme", "view", "user:tom")).await.map(drop);
    let written = permissions.write_relationships(touch(&["document:x#owner@user:ann"])).await.map(drop);
    (code(asked), code(written))
}

async fn grant(authority: &Authority, seen: &Seen, subject: &str, role: &str) {
    let channel = authority.channel(&seen.server, None).await.unwrap();
    let request =
        GrantRequest { path: "root".to_owned(), role: role.to_owned(), subject: subject.to_owned() };
    AccessServiceClient::with_interceptor(channel, with_key).grant(request).await.unwrap();
}

/// Whether a connection with this certificate is one; whoever is refused hears of it with the first call.
async fn comes_in(authority: &Authority, seen: &Seen, shown: Option<super::Shown>) -> bool {
    match authority.channel(&seen.server, shown).await {
        Ok(channel) => may(&channel).await.0 != Code::Unknown && is_alive(&channel).await,
        Err(_) => false,
    }
}

async fn is_alive(channel: &Channel) -> bool {
    use tonic_health::pb::health_client::HealthClient;
    HealthClient::new(channel.clone()).check(tonic_health::pb::HealthCheckRequest::default()).await.is_ok()
}

#[tokio::test]
async fn a_certificate_that_was_granted_a_role_may_and_another_may_not() {
    let authority = Authority::new();
    authority.issue("billing", &["--name", "billing.example", "--spiffe-id", "spiffe://example.org/billing"]);
    authority.issue("named", &["--name", "named.example"]);
    authority.issue("other", &["--name", "billing.example"]);
    let seen =
        authority.serve(&["--tls-client-ca-file", &authority.ca_file(), "--tls-client-auth", "optional"]);
    let channel =
        async |name: &str| authority.channel(&seen.server, Some(authority.shown(name))).await.unwrap();
    let billing = channel("billing").await;
    assert_eq!(may(&billing).await, (Code::PermissionDenied, Code::PermissionDenied));
    grant(&authority, &seen, "certificate:spiffe://example.org/billing", "checker").await;
    // Also on the connection that was refused before.
    assert_eq!(may(&billing).await, (Code::Ok, Code::PermissionDenied));
    grant(&authority, &seen, "certificate:named.example", "writer").await;
    assert_eq!(may(&channel("named").await).await.1, Code::Ok);
    assert_eq!(may(&channel("other").await).await, (Code::PermissionDenied, Code::PermissionDenied));
    let nobody = authority.channel(&seen.server, None).await.unwrap();
    assert_eq!(may(&nobody).await, (Code::Unauthenticated, Code::Unauthenticated));
}

#[tokio::test]
async fn a_certificate_that_ends_is_good_for_nothing_on_its_own_connection() {
    let authority = Authority::new();
    let seen =
        authority.serve(&["--tls-client-ca-file", &authority.ca_file(), "--tls-client-auth", "optional"]);
    grant(&authority, &seen, "certificate:short.example", "admin").await;
    authority.issue("short", &["--name", "short.example", "--lifetime", "3s"]);
    let channel = authority.channel(&seen.server, Some(authority.shown("short"))).await.unwrap();
    assert_eq!(may(&channel).await, (Code::Ok, Code::Ok));
    let mut waited = Duration::ZERO;
    while may(&channel).await != (Code::Unauthenticated, Code::Unauthenticated) {
        assert!(waited < Duration::from_secs(10), "it is still good");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
    }
    assert!(is_alive(&channel).await);
}

#[tokio::test]
async fn only_verified_certificates_are_taken_and_of_these_only_pinned_ones() {
    let (authority, others) = (Authority::new(), Authority::new());
    authority.issue("pinned", &["--name", "pinned.example"]);
    authority.issue("by_name", &["--spiffe-id", "spiffe://example.org/by-name"]);
    authority.issue("other", &["--name", "other.example"]);
    authority.issue("for_servers", &["--name", "pinned.example", "--usage", "server"]);
    others.issue("pinned", &["--name", "pinned.example"]);
    authority.issue("ended", &["--name", "pinned.example", "--lifetime", "1s"]);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let ca = authority.ca_file();
    let required = ["--tls-client-ca-file", &*ca];
    let seen = authority.serve(&required);
    let mut refused = 0.0;
    for (of, name, is_taken) in [
        (&authority, Some("pinned"), true),
        (&authority, Some("other"), true),
        (&authority, None, false),
        (&authority, Some("for_servers"), false),
        (&authority, Some("ended"), false),
        (&others, Some("pinned"), false),
    ] {
        let shown = name.map(|name| of.shown(name));
        assert_eq!(comes_in(&authority, &seen, shown).await, is_taken, "{name:?}");
        if !is_taken {
            refused += 1.0;
            let metric = "idhini_tls_handshake_failures_total{reason=\"client_certificate\"}";
            until("the refusal is counted", || seen.metric(metric).unwrap() >= refused).await;
        }
    }
    let pin = fingerprint_of(&authority.folder.join("pinned.pem"));
    let pins = format!("{pin},spiffe://example.org/by-name");
    let seen = authority.serve(&[&required[..], &["--tls-peer-pins", &pins]].concat());
    for (of, name, is_taken) in [
        (&authority, "pinned", true),
        (&authority, "by_name", true),
        (&authority, "other", false),
        (&others, "pinned", false),
    ] {
        assert_eq!(comes_in(&authority, &seen, Some(of.shown(name))).await, is_taken, "{name}");
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_a_token_is_good_with_it_alone() {
    let authority = Authority::new();
    authority.issue("short", &["--name", "short.example", "--lifetime", "3s"]);
    let seen = authority.serve(&["--tls-client-ca-file", &authority.ca_file()]);
    let channel = authority.channel(&seen.server, Some(authority.shown("short"))).await.unwrap();
    let mut keyed = PermissionsServiceClient::with_interceptor(channel.clone(), with_key);
    let mut said = async || {
        let asked = check("document:readme", "view", "user:tom");
        keyed.check_permission(asked).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(said().await, Code::Ok);
    let mut waited = Duration::ZERO;
    while said().await != Code::Unauthenticated {
        assert!(waited < Duration::from_secs(10), "it is still good");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += Duration::from_millis(100);
    }
    assert!(is_alive(&channel).await);
}
