//! `idhini ca`: an authority, and what it certifies.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{Authority, fingerprint_of};
use crate::process::run;

/// What openssl says; it was not written here.
fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_an_authority_certifies_openssl_verifies() {
    let authority = Authority::new();
    let at = |name: &str| authority.folder.join(name);
    assert_eq!((mode(&at("ca")), mode(&at("ca/ca-key.pem")), mode(&at("ca/ca.pem"))), (0o700, 0o600, 0o644));
    let names = ["--name", "a.example", "--name", "b.example", "--ip", "10.0.0.1", "--ip", "::1"];
    authority
        .issue("a", &[&names[..], &["--spiffe-id", "spiffe://example.org/a", "--lifetime", "36h"]].concat());
    assert_eq!((mode(&at("a-key.pem")), mode(&at("a.pem"))), (0o600, 0o644));
    let (ca, certificate) = (authority.ca_file(), authority.path("a.pem"));
    for purpose in ["sslserver", "sslclient"] {
        let verified =
            openssl(&["verify", "-x509_strict", "-purpose", purpose, "-CAfile", &ca, &certificate]);
        assert!(verified.ends_with(": OK\n"), "{verified}");
    }
    let text = openssl(&["x509", "-in", &certificate, "-noout", "-text"]);
    for said in [
        "DNS:a.example, DNS:b.example, IP Address:10.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "URI:spiffe://example.org/a",
        "ecdsa-with-SHA256",
    ] {
        assert!(text.contains(said), "{text}");
    }
    let fingerprint = openssl(&["x509", "-in", &certificate, "-noout", "-fingerprint", "-sha256"]);
    let digits = fingerprint.trim().split_once('=').unwrap().1;
    let pin: idhini_server::Pin = format!("sha256:{digits}").parse().unwrap();
    assert_eq!(pin.to_string(), fingerprint_of(&at("a.pem")));
    let public = openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]);
    assert_eq!(openssl(&["pkey", "-in", &authority.path("a-key.pem"), "-pubout"]), public);
}

#[test]
fn an_authority_is_not_written_over_and_a_certificate_is() {
    let authority = Authority::new();
    let before = std::fs::read(authority.ca_file()).unwrap();
    let again = run(&["ca", "init", &authority.path("ca")], &[], "");
    assert!(again.status == 3 && again.stderr.contains("is there already"), "{}", again.stderr);
    std::fs::remove_file(authority.path("ca/ca-key.pem")).unwrap();
    assert_eq!(run(&["ca", "init", &authority.path("ca")], &[], "").status, 3);
    assert_eq!(std::fs::read(authority.ca_file()).unwrap(), before);
    let lost = run(
        &["ca", "issue", "--dir", &authority.path("ca"), "--name", "a", "--out", &authority.path("a")],
        &[],
        "",
    );
    assert!(lost.status == 3 && lost.stderr.contains("ca-key.pem"), "{}", lost.stderr);

    let authority = Authority::new();
    authority.issue("a", &["--name", "a.example"]);
    let first = fingerprint_of(&authority.folder.join("a.pem"));
    authority.issue("a", &["--name", "a.example"]);
    assert_ne!(fingerprint_of(&authority.folder.join("a.pem")), first);
}

#[test]
fn what_is_certified_is_told_to_people_and_programs_without_the_key() {
    let authority = Authority::new();
    let (dir, out) = (authority.path("ca"), authority.path("v1.2"));
    let arguments = ["ca", "issue", "--dir", &dir, "--name", "a.example", "--out", &out];
    let outcome = run(&[&arguments[..], &["--json"]].concat(), &[], "");
    let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(value["certificate"], format!("{out}.pem"));
    assert_eq!(value["key"], format!("{out}-key.pem"));
    assert_eq!(value["fingerprint"], fingerprint_of(Path::new(&format!("{out}.pem"))));
    let told = run(&arguments, &[], "").stdout;
    let key = std::fs::read_to_string(format!("{out}-key.pem")).unwrap();
    assert!(key.lines().all(|line| !told.contains(line)), "{told}");
    let nobody = run(&["ca", "issue", "--dir", &dir, "--out", &out], &[], "");
    assert_eq!(nobody.status, 3, "{}", nobody.stderr);
    for bad in [["--name", "*.example"], ["--ip", "a"], ["--spiffe-id", "https://a"], ["--lifetime", "0s"]] {
        let outcome = run(&[&arguments[..], &bad].concat(), &[], "");
        assert_eq!(outcome.status, 3, "{bad:?}: {}", outcome.stderr);
    }
}
