//! What a person at a terminal sees: colours, progress; and who asks for none, or pipes, sees none.
#![cfg(target_os = "linux")]

use std::process::Command;

use crate::process::{KEY, SCHEMA, Server, folder, run};

/// Runs the binary on a pseudo terminal, which `script` makes; answers what came to the terminal.
fn on_terminal(server: &Server, arguments: &str, environment: &[(&str, &str)]) -> String {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_idhini"));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_remove("NO_COLOR")
        .envs([("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY), ("TERM", "xterm")])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn answers_have_colours_on_a_terminal_only() {
    let server = Server::furnished();
    let seen = |who: &str, environment: &[(&str, &str)]| {
        on_terminal(&server, &format!("check document:readme view user:{who}"), environment)
    };
    assert!(seen("tom", &[]).starts_with("\x1b[32mhas        \x1b[0m  "), "{:?}", seen("tom", &[]));
    assert!(seen("bob", &[]).contains("\x1b[31mno"));
    assert!(seen("eve", &[]).contains("\x1b[33mconditional"));
    for plain in [&[("NO_COLOR", "1")], &[("TERM", "dumb")]] {
        let text = seen("tom", plain);
        assert!(text.starts_with("has ") && !text.contains('\x1b'), "{text:?}");
    }
    let failure = on_terminal(&server, "check document:readme nothing user:tom", &[]);
    assert!(failure.contains("\x1b[31m\x1b[1merror\x1b[0m"), "{failure:?}");
    let piped = server.run(&["check", "document:readme", "nothing", "user:tom"]);
    assert!(!piped.stderr.contains('\x1b'), "{:?}", piped.stderr);
    let json = on_terminal(&server, "--json check document:readme view user:tom", &[]);
    assert!(!json.contains('\x1b') && json.contains("PERMISSIONSHIP_HAS_PERMISSION"), "{json:?}");
}

#[test]
fn long_work_shows_how_far_it_is_on_a_terminal_only() {
    let server = Server::start(&[]);
    let environment = [("IDHINI_ADDR", server.address.as_str()), ("IDHINI_TOKEN", KEY)];
    assert_eq!(run(&["schema", "write", "-"], &environment, SCHEMA).status, 0);
    let text: String = (0..20_000).map(|n| format!("document:d{n}#owner@user:u\n")).collect();
    let folder = folder(&[("r.txt", text.as_str())]);
    let path = folder.join("r.txt");
    let seen = on_terminal(&server, &format!("relationship bulk-import {}", path.display()), &[]);
    assert!(seen.contains("sent") && seen.contains("/s"), "{seen:?}");
    assert!(seen.contains("20000 relationships"), "{seen:?}");
    let target = folder.join("out.txt");
    let piped = server.run(&["relationship", "bulk-export", target.to_str().unwrap()]);
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("", ""));
    let seen = on_terminal(&server, &format!("relationship bulk-export {}", target.display()), &[]);
    assert!(seen.contains("received"), "{seen:?}");
}
