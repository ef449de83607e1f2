//! The command line over TLS: what it trusts, what it shows, and what it says when that does not do.

use super::{Authority, fingerprint_of, with_key};
use crate::process::{KEY, Outcome, run};

const QUESTION: [&str; 4] = ["check", "document:readme", "view", "user:tom"];

fn ask(address: &str, arguments: &[&str]) -> Outcome {
    with_key(&[&["--addr", address], arguments, &QUESTION].concat(), &[])
}

/// Refused, with a next step in which this stands.
fn fails(outcome: &Outcome, next: &str) {
    assert_eq!((outcome.status, outcome.stdout.as_str()), (5, ""), "{}", outcome.stderr);
    let (_, said) = outcome.stderr.split_once("\nnext  ").unwrap();
    assert!(said.contains(next), "{next}: {}", outcome.stderr);
}

#[test]
fn a_server_is_verified_by_its_authority_and_its_name_or_by_pins() {
    let (authority, others) = (Authority::new(), Authority::new());
    authority.issue("server", &["--name", "localhost", "--spiffe-id", "spiffe://example.org/server"]);
    let seen = authority.serve_given(&[]);
    let address = seen.server.address.as_str();
    let at_name = address.replace("127.0.0.1", "localhost");
    let (ca, stranger) = (authority.ca_file(), others.ca_file());
    let fingerprint = fingerprint_of(&authority.folder.join("server.pem"));
    let other = fingerprint_of(&others.folder.join("ca/ca.pem"));
    assert_eq!(ask(&at_name, &["--ca-file", &ca]).status, 0);
    let good: [&[&str]; 5] = [
        &["--ca-file", &ca, "--tls-pin", "spiffe://example.org/server"],
        &["--ca-file", &ca, "--tls-pin", "localhost"],
        &["--ca-file", &ca, "--tls-pin", &fingerprint],
        &["--tls-pin", &fingerprint],
        &["--tls", "--tls-pin", &format!("{other},{fingerprint}")],
    ];
    for arguments in good {
        let outcome = ask(address, arguments);
        assert_eq!(outcome.status, 0, "{arguments:?}: {}", outcome.stderr);
    }
    let bad: [(&[&str], &str); 7] = [
        (&["--tls"], "--ca-file"),
        (&["--ca-file", &stranger], "--ca-file"),
        // The certificate is for the name, not for the address.
        (&["--ca-file", &ca], "--tls-pin NAME"),
        (&["--ca-file", &ca, "--tls-pin", "spiffe://example.org/other"], "compare --tls-pin"),
        (&["--ca-file", &ca, "--tls-pin", &other], "compare --tls-pin"),
        (&["--tls-pin", &other], "compare --tls-pin"),
        (&["--ca-file", &stranger, "--tls-pin", &fingerprint], "--ca-file"),
    ];
    for (arguments, next) in bad {
        fails(&ask(address, arguments), next);
    }
    fails(&ask(address, &[]), "--tls");
    // Said by the environment.
    let outcome = with_key(&[&["--addr", &at_name], &QUESTION[..]].concat(), &[("IDHINI_CA_FILE", &ca)]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn a_server_that_has_no_tls_or_is_beyond_this_machine_is_told_apart() {
    let authority = Authority::new();
    let plain = crate::process::Server::furnished();
    fails(&ask(&plain.address, &["--ca-file", &authority.ca_file()]), "leave --tls out");
    let beyond = ask("192.0.2.1:50051", &[]);
    assert!(beyond.status == 3 && beyond.stderr.contains("add --tls"), "{}", beyond.stderr);
    let unread = ask(&plain.address, &["--ca-file", "/nowhere.pem"]);
    assert!(unread.status == 3 && unread.stderr.contains("/nowhere.pem"), "{}", unread.stderr);
    let half = ask(&plain.address, &["--client-cert", &authority.ca_file()]);
    assert!(half.status == 3 && half.stderr.contains("--client-key"), "{}", half.stderr);
    let wrong = ask(&plain.address, &["--tls-pin", "sha256:00"]);
    assert!(wrong.status == 3 && wrong.stderr.contains("64 hexadecimal digits"), "{}", wrong.stderr);
}

#[test]
fn a_certificate_is_shown_and_does_instead_of_a_token() {
    let (authority, others) = (Authority::new(), Authority::new());
    authority.issue("client", &["--name", "client.example"]);
    others.issue("client", &["--name", "client.example"]);
    let ca = authority.ca_file();
    let seen = authority.serve(&["--tls-client-ca-file", &ca]);
    let address = seen.server.address.as_str();
    fails(&ask(address, &["--ca-file", &ca]), "--client-cert and --client-key");
    let of = |authority: &Authority| [authority.path("client.pem"), authority.path("client-key.pem")];
    let [cert, key] = of(&others);
    let stranger = ["--ca-file", &*ca, "--client-cert", &*cert, "--client-key", &*key];
    fails(&ask(address, &stranger), "--client-cert and --client-key");
    let [cert, key] = of(&authority);
    let shown = ["--ca-file", &*ca, "--client-cert", &*cert, "--client-key", &*key];
    assert_eq!(ask(address, &shown).status, 0, "with the key of the tests");
    let alone = run(&[&["--addr", address], &shown[..], &QUESTION].concat(), &[], "");
    assert!(alone.status == 4 && alone.stderr.contains("PermissionDenied"), "{}", alone.stderr);
}

#[test]
fn the_client_file_says_how_a_server_is_reached() {
    let authority = Authority::new();
    authority.issue("client", &["--name", "client.example"]);
    let seen = authority.serve_own(&["--tls-client-auth", "required"]);
    let file = authority.path("client.toml");
    let text = format!(
        "[[server]]\naddress = \"{}\"\ntoken = \"{KEY}\"\ntls = true\nca-file = \"{}\"\nclient-cert = \"{}\"\nclient-key = \"{}\"\ntls-pin = \"localhost\"\n",
        seen.server.address,
        authority.ca_file(),
        authority.path("client.pem"),
        authority.path("client-key.pem")
    );
    std::fs::write(&file, text).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, private).unwrap();
    let ask = |arguments: &[&str]| {
        let arguments = [&["--addr", &seen.server.address], arguments, &QUESTION].concat();
        run(&arguments, &[("IDHINI_CLIENT_FILE", &file)], "")
    };
    let outcome = ask(&[]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    // What is said on the command line counts.
    fails(&ask(&["--tls-pin", "other.example"]), "compare --tls-pin");
}
