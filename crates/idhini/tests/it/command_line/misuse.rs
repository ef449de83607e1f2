//! Arguments that mean nothing, servers that are not there: what is said, and the next step.

use crate::process::{KEY, Server, folder, lasting_address, run};

#[test]
fn arguments_that_mean_nothing_are_malformed_and_the_help_that_fits_is_named() {
    // Whatever else is set.
    let environment = [("IDHINI_ADDR", "127.0.0.1:1"), ("IDHINI_TOKEN", KEY)];
    for (arguments, next) in [
        (&["chekc", "document:readme", "view", "user:tom"][..], "idhini"),
        (&["check", "document:readme", "view"], "idhini check"),
        (&["check", "readme", "view", "user:tom"], "idhini check"),
        (&["check", "document:readme", "view", "user:tom", "--context", "{"], "idhini check"),
        (&["relationship", "touch", "document:readme", "viewer"], "idhini relationship touch"),
        (&["--json", "relationship"], "idhini relationship"),
        (&["as-of", "yesterday", "schema", "read"], "idhini as-of schema read"),
        (&["serve", "--nothing"], "idhini serve"),
        (&["backup"], "idhini backup"),
        (&["restore", "here"], "idhini restore"),
    ] {
        let outcome = run(arguments, &environment, "");
        assert_eq!((outcome.status, outcome.stdout.as_str()), (3, ""), "{arguments:?}: {}", outcome.stderr);
        let last = outcome.stderr.lines().last().unwrap();
        assert_eq!(last, format!("next  see `{next} --help`"), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.starts_with("error"), "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("For more information"), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_server_that_is_not_there_is_said_first_and_why() {
    let address = lasting_address();
    for token in ["", KEY] {
        let environment = [("IDHINI_ADDR", address.as_str()), ("IDHINI_TOKEN", token)];
        let outcome = run(&["check", "document:readme", "view", "user:tom"], &environment, "");
        assert_eq!(outcome.status, 5, "{}", outcome.stderr);
        assert!(outcome.stderr.contains("Connection refused"), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("idhini serve"), "{}", outcome.stderr);
    }
}

#[test]
fn what_is_no_address_is_not_taken_for_a_machine_far_away() {
    for address in ["http://127.0.0.1:50051", ":50051", "127.0.0.1", "127.0.0.1:99999"] {
        let outcome = run(&["schema", "read"], &[("IDHINI_ADDR", address), ("IDHINI_TOKEN", KEY)], "");
        assert_eq!(outcome.status, 3, "{address}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("is not an address such as"), "{address}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("HOST:PORT"), "{address}: {}", outcome.stderr);
    }
}

#[test]
fn a_token_that_is_none_is_not_called_a_missing_one() {
    let server = Server::furnished();
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", "schl\u{fc}ssel\n")];
    let outcome = run(&["schema", "read"], &environment, "");
    assert_eq!(outcome.status, 3, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("characters") && outcome.stderr.contains("printable"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn questions_can_be_named_as_in_zed() {
    let server = Server::furnished();
    let ask = |who: &str| {
        server.run(&["permission", "check", "document:readme", "view", who, "--consistency-full"])
    };
    assert_eq!(["user:tom", "user:bob", "user:eve"].map(|who| ask(who).status), [0, 1, 2]);
    let found = server.run(&["permission", "lookup-resources", "document", "view", "user:tom"]);
    assert_eq!(found.stdout, "has          document:readme\n");
}

#[test]
fn a_file_that_is_no_text_is_to_be_saved_as_text() {
    let folder = folder(&[]);
    let path = folder.join("s.zed");
    std::fs::write(&path, b"definition \xff {}").unwrap();
    let outcome = run(&["schema", "validate", path.to_str().unwrap()], &[], "");
    assert_eq!(outcome.status, 3);
    assert!(outcome.stderr.ends_with("next  save the file as UTF-8\n"), "{}", outcome.stderr);
}
