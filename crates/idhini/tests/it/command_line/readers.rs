//! Who reads standard output: somebody who has seen enough, or a disk that is full.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::process::{KEY, PATIENCE, Server, binary, run};

/// The status of a program whose reader has left.
const UNHEARD: i32 = 141;

fn asking(server: &Server, arguments: &[&str]) -> Command {
    let mut command = binary();
    command.args(arguments).envs([("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)]);
    command
}

/// Reads one line and leaves.
fn read_a_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

fn ended(mut child: Child) -> (Option<i32>, String) {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            return (output.status.code(), String::from_utf8(output.stderr).unwrap());
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    panic!("it did not end");
}

#[test]
fn a_stream_whose_reader_has_left_ends_without_a_word() {
    let server = Server::furnished();
    let lines: String = (0..20_000).map(|n| format!("document:d{n}#owner@user:u\n")).collect();
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(run(&["relationship", "bulk-import"], &environment, &lines).status, 0);
    for arguments in [
        &["watch", "--from", "beginning"][..],
        &["relationship", "bulk-export"],
        &["relationship", "read", "document"],
        &["lookup-resources", "document", "edit", "user:u", "--json"],
    ] {
        let mut command = asking(&server, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        assert!(!read_a_line(&mut child).is_empty(), "{arguments:?}");
        assert_eq!(ended(child), (Some(UNHEARD), String::new()), "{arguments:?}");
    }
}

#[test]
fn what_a_full_disk_does_not_take_is_no_answer() {
    let server = Server::furnished();
    for arguments in [
        &["check", "document:readme", "view", "user:tom"][..],
        &["check", "document:readme", "view", "user:tom", "--json"],
        &["schema", "read"],
        &["relationship", "bulk-export"],
        &["completion", "bash"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = asking(&server, arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let (status, said) = ended(child);
        assert_eq!(status, Some(3), "{arguments:?}: {said}");
        assert!(said.contains("No space left") && said.contains("\nnext  "), "{arguments:?}: {said}");
    }
}
