//! A client that nobody here wrote: `openssl s_client`.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use super::Authority;
use crate::process::KEY;

/// What it says when it connects so and sends this.
fn s_client(address: &str, arguments: &[&str], sent: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", address, "-servername", "localhost", "-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have been refused already.
    let _ = child.stdin.take().unwrap().write_all(sent.as_bytes());
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A question as JSON, after which the connection is closed.
fn asked(token: Option<&str>) -> String {
    let body = r#"{"resource":{"objectType":"document","objectId":"readme"},"permission":"view","subject":{"object":{"objectType":"user","objectId":"tom"}}}"#;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "POST /v1/permissions/check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn it_verifies_the_server_speaks_1_3_and_is_answered_as_json() {
    let authority = Authority::new();
    let seen = authority.serve(&[]);
    let ca = authority.ca_file();
    let trusting = ["-CAfile", &*ca, "-verify_return_error", "-verify_hostname", "localhost"];
    let said =
        s_client(&seen.server.address, &[&trusting[..], &["-alpn", "http/1.1"]].concat(), &asked(Some(KEY)));
    for part in
        ["TLSv1.3", "Verify return code: 0 (ok)", "ALPN protocol: http/1.1", "PERMISSIONSHIP_HAS_PERMISSION"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = s_client(&seen.server.address, &trusting, &asked(None));
    assert!(said.contains("HTTP/1.1 401"), "{said}");
    // The one that is spoken first of those that are offered.
    let both = ["-CAfile", &*ca, "-alpn", "http/1.1,h2", "-no_ign_eof"];
    assert!(s_client(&seen.server.address, &both, "Q\n").contains("ALPN protocol: h2"));
    let stranger = Authority::new().ca_file();
    let untrusting = ["-CAfile", &*stranger, "-verify_return_error"];
    let said = s_client(&seen.server.address, &untrusting, &asked(Some(KEY)));
    assert!(said.contains("unable to") && !said.contains("PERMISSIONSHIP"), "{said}");
}

#[test]
fn http_has_the_same_tls_where_it_listens() {
    let authority = Authority::new();
    let seen = authority.serve(&["--http-addr", "127.0.0.1:0"]);
    let (address, ca) = (seen.server.http_address(), authority.ca_file());
    let asked = format!(
        "LIST /v1/sys/namespaces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Vault-Token: {KEY}\r\n\r\n"
    );
    let said = s_client(&address, &["-CAfile", &ca, "-verify_return_error"], &asked);
    assert!(said.contains("TLSv1.3") && said.contains("HTTP/1.1 "), "{said}");
    let plain = std::net::TcpStream::connect(&address).unwrap();
    (&plain).write_all(asked.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = (&plain).read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
}

#[test]
fn tls_1_2_is_refused_unless_it_is_allowed_and_anything_older_always() {
    let authority = Authority::new();
    let ca = authority.ca_file();
    let old = |address: &str, version: &str| {
        s_client(address, &["-CAfile", &ca, version, "-verify_return_error"], &asked(Some(KEY)))
    };
    let seen = authority.serve(&[]);
    assert!(!old(&seen.server.address, "-tls1_2").contains("PERMISSIONSHIP"));
    let seen = authority.serve(&["--tls-min-version", "1.2"]);
    assert!(old(&seen.server.address, "-tls1_2").contains("PERMISSIONSHIP_HAS_PERMISSION"));
    assert!(old(&seen.server.address, "-tls1_3").contains("PERMISSIONSHIP_HAS_PERMISSION"));
    assert!(!old(&seen.server.address, "-tls1_1").contains("PERMISSIONSHIP"));
}

#[test]
fn it_shows_a_certificate_where_one_is_required() {
    let authority = Authority::new();
    authority.issue("client", &["--name", "client.example"]);
    let ca = authority.ca_file();
    let seen = authority.serve(&["--tls-client-ca-file", &ca]);
    let (cert, key) = (authority.path("client.pem"), authority.path("client-key.pem"));
    let shown = ["-CAfile", &*ca, "-cert", &*cert, "-key", &*key];
    let said = s_client(&seen.server.address, &shown, &asked(Some(KEY)));
    assert!(said.contains("PERMISSIONSHIP_HAS_PERMISSION"), "{said}");
    let said = s_client(&seen.server.address, &["-CAfile", &ca], &asked(Some(KEY)));
    assert!(said.contains("certificate required") && !said.contains("PERMISSIONSHIP"), "{said}");
}
