//! What a server is told, by whom, and what it does when it is told nonsense.

use serde_json::Value;

use crate::process::{KEY, Outcome, SCHEMA, Server, binary, folder, reason, run, touch};

fn print(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let outcome = run(&[&["config", "print"], arguments].concat(), environment, "");
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    outcome
}

#[tokio::test]
async fn what_a_file_sets_holds_unless_a_variable_or_a_flag_says_otherwise() {
    let folder = folder(&[
        ("server.toml", "updates-max = 1\nbulk-items-max = 1\npreshared-key = \"of the file\"\n"),
        ("s.zed", SCHEMA),
    ]);
    let start = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = binary();
        command
            .args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY])
            .args(flags);
        command.arg("--config").arg(folder.join("server.toml")).arg("--schema").arg(folder.join("s.zed"));
        command.envs(variables.iter().copied());
        Server::of(command)
    };
    let two = || touch(&["document:a#owner@user:ann", "document:b#owner@user:ann"]);
    for (variables, flags, taken) in [
        (&[][..], &[][..], false),
        (&[("IDHINI_UPDATES_MAX", "2")][..], &[][..], true),
        (&[("IDHINI_UPDATES_MAX", "2")][..], &["--updates-max", "1"][..], false),
    ] {
        let server = start(variables, flags);
        let outcome = server.permissions().await.write_relationships(two()).await;
        match taken {
            true => drop(outcome.unwrap()),
            false => assert_eq!(reason(&outcome.unwrap_err()).0, "TOO_MANY_UPDATES_IN_REQUEST"),
        }
    }
}

#[test]
fn each_setting_is_printed_with_its_value_and_who_said_so() {
    let folder = folder(&[(
        "server.toml",
        "# ours\nhistory = \"7d\"\npreshared-key = [\"s3cret\", \"s3cret too\"]\n",
    )]);
    let file = folder.join("server.toml");
    let file = file.to_str().unwrap();
    let (flags, variables) = (["--cost-max", "9"], [("IDHINI_CONFIG", file), ("IDHINI_DATA_DIR", "./there")]);
    let text = print(&flags, &variables).stdout;
    let words = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words("history"), format!("history 7d file {file}:2:1"));
    assert_eq!(words("data-dir"), "data-dir ./there environment IDHINI_DATA_DIR");
    assert_eq!(words("cost-max"), "cost-max 9 flag --cost-max");
    assert_eq!(words("updates-max"), "updates-max 1000 default");
    assert_eq!(words("preshared-key"), format!("preshared-key (set, 2 keys) file {file}:3:1"));
    // Aligned: what is said begins in the same column everywhere.
    let column = text.lines().find_map(|line| line.find("default")).unwrap();
    assert!(text.lines().all(|line| line.as_bytes()[column - 1] == b' ' && line.as_bytes()[column] != b' '));

    let json = print(&[&flags[..], &["--json"]].concat(), &variables).stdout;
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["cost-max"]["value"], 9);
    assert_eq!(value["history"]["origin"]["line"], 2);
    assert_eq!(value["data-dir"]["origin"]["variable"], "IDHINI_DATA_DIR");
    assert_eq!(value["schema"]["value"], Value::Null);
    let toml = print(&[&flags[..], &["--toml"]].concat(), &variables).stdout;
    assert!([&text, &json, &toml].iter().all(|shown| !shown.contains("s3cret")));

    // The printed file is one that can be read.
    std::fs::write(folder.join("next.toml"), &toml).unwrap();
    let next = print(&["--config", folder.join("next.toml").to_str().unwrap()], &[]).stdout;
    assert!(next.lines().any(|line| line.starts_with("cost-max ") && line.contains("next.toml:")), "{next}");
}

#[test]
fn a_start_tells_all_mistakes_at_once_and_does_nothing() {
    let folder = folder(&[("server.toml", "histroy = \"7d\"\npreshared-key = \"s3crét\"\n")]);
    let (file, data) = (folder.join("server.toml"), folder.join("data"));
    let arguments =
        ["serve", "--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap(), "--ephemeral"];
    let variables = [("IDHINI_COST_MAXIMUM", "3"), ("IDHINI_UPDATES_MAX", "some")];
    let outcome = run(&arguments, &variables, "");
    assert_eq!(outcome.status, 3, "{}", outcome.stderr);
    for says in [
        "5 mistakes",
        "server.toml:1:1: `histroy`",
        "did you mean `history`?",
        "server.toml:2:1: `preshared-key`",
        "printable ASCII",
        "IDHINI_COST_MAXIMUM: ",
        "IDHINI_UPDATES_MAX: `some`",
        "--ephemeral and --data-dir: ",
        "next  ",
    ] {
        assert!(outcome.stderr.contains(says), "{says}: {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("s3c"), "{}", outcome.stderr);
    assert!(!data.exists());
    // What would be printed is judged alike.
    let printed = run(&[&["config", "print"], &arguments[1..]].concat(), &variables, "");
    assert_eq!((printed.status, printed.stderr), (3, outcome.stderr));
}

#[test]
fn a_file_that_is_not_there_stops_the_start() {
    let outcome = run(&["serve", "--ephemeral", "--config", "/nowhere/at/all.toml"], &[], "");
    assert_eq!(outcome.status, 3);
    assert!(outcome.stderr.contains("/nowhere/at/all.toml: cannot be read"), "{}", outcome.stderr);
}
