//! The root token: made once, shown once, found by the command line, known to the directory as a hash.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::pty::OpenptFlags;

use crate::process::{KEY, Outcome, SCHEMA, Server, binary, folder, lasting_address, run};

const PREFIX: &str = "idhini_root_";

/// A user with a client file, if there is one.
struct User {
    folder: PathBuf,
}

impl User {
    fn new() -> User {
        User { folder: folder(&[("s.zed", SCHEMA)]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn client_file(&self) -> PathBuf {
        self.path("client.toml")
    }

    /// `idhini serve` without a key, on a port of its own.
    fn serve(&self, data: &str, arguments: &[&str]) -> Command {
        let mut command = self.serve_at(&lasting_address(), data);
        command.args(arguments);
        command
    }

    fn serve_at(&self, address: &str, data: &str) -> Command {
        let mut command = binary();
        command.args(["serve", "--grpc-addr", address, "--data-dir"]).arg(self.path(data));
        command.env("IDHINI_CLIENT_FILE", self.client_file());
        command.stderr(std::fs::File::create(self.path("stderr")).unwrap());
        command
    }

    /// What the server said beside its address.
    fn said(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap()
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let file = self.client_file();
        run(arguments, &[&[("IDHINI_CLIENT_FILE", file.to_str().unwrap())], environment].concat(), "")
    }

    /// The exit status of a first question: 0 also where there is no schema yet, 3 without a token, 4 with a wrong one.
    fn asks(&self, address: &str) -> i32 {
        let outcome = self.run(&["--addr", address, "schema", "read"], &[]);
        if outcome.stderr.contains("no schema has been defined") { 0 } else { outcome.status }
    }

    fn asks_with(&self, address: &str, token: &str) -> Outcome {
        let schema = self.path("s.zed");
        let arguments = ["--addr", address, "schema", "write", schema.to_str().unwrap()];
        self.run(&arguments, &[("IDHINI_TOKEN", token)])
    }

    fn writes(&self, address: &str) -> i32 {
        let schema = self.path("s.zed");
        self.run(&["--addr", address, "schema", "write", schema.to_str().unwrap()], &[]).status
    }

    /// The tokens in the client file.
    fn tokens(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.client_file()).unwrap_or_default();
        let tokens = text.lines().filter_map(|line| line.strip_prefix("token = \"")?.strip_suffix('"'));
        tokens.map(str::to_owned).collect()
    }

    fn token(&self) -> String {
        let tokens = self.tokens();
        assert_eq!(tokens.len(), 1, "{tokens:?}");
        tokens[0].clone()
    }
}

/// A terminal: the side that a person sees, and the side of the process.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let seen = rustix::pty::openpt(flags).unwrap();
    rustix::pty::grantpt(&seen).unwrap();
    rustix::pty::unlockpt(&seen).unwrap();
    let process = rustix::pty::ioctl_tiocgptpeer(&seen, flags).unwrap();
    (seen, process)
}

/// What a person saw until all processes had left the terminal.
fn seen(terminal: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // Ends with an error when the other side is closed.
    let _ = std::fs::File::from(terminal).read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// The token in what was shown.
fn shown(text: &str) -> Option<String> {
    let (_, from) = text.split_once(PREFIX)?;
    let end = from.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(from.len());
    Some(format!("{PREFIX}{}", &from[..end]))
}

/// All of a directory's files.
fn bytes_of(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes_of(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

#[test]
fn the_command_line_of_who_started_a_server_just_works_and_a_restart_changes_nothing() {
    let user = User::new();
    let server = Server::of(user.serve("data", &[]));
    assert_eq!(user.writes(&server.address), 0);
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    assert_eq!(user.asks(&format!("localhost:{port}")), 0);
    let token = user.token();
    assert_eq!(token.len(), PREFIX.len() + 24);
    assert_eq!(user.client_file().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // No person looks on, so nothing is shown.
    let said = user.said();
    assert!(said.contains("client.toml") && !said.contains(&token[PREFIX.len()..]), "{said}");
    let first = server.address.clone();
    server.stop();
    let server = Server::of(user.serve("data", &[]));
    assert_ne!(server.address, first);
    assert_eq!((user.asks(&server.address), user.token(), user.said()), (0, token.clone(), String::new()));
    // Nobody else may call.
    let refused = user.asks_with(&server.address, &format!("{PREFIX}000000000000000000000000"));
    assert_eq!(refused.status, 4, "{}", refused.stderr);
    let without = run(&["--addr", &server.address, "schema", "read"], &[], "");
    assert!(without.status == 3 && without.stderr.contains("IDHINI_TOKEN"), "{}", without.stderr);
    server.stop();
    let kept = bytes_of(&user.path("data"));
    assert!(!kept.windows(24).any(|bytes| bytes == &token.as_bytes()[PREFIX.len()..]));
}

#[test]
fn the_token_is_shown_on_a_terminal_once() {
    let user = User::new();
    let start = || {
        let (seen_side, process_side) = terminal();
        let mut command = user.serve("data", &[]);
        command.stderr(process_side);
        let server = Server::of(command);
        let address = server.address.clone();
        (server, seen_side, address)
    };
    let (server, terminal, address) = start();
    let token = user.token();
    assert_eq!(user.asks_with(&address, &token).status, 0);
    server.stop();
    let text = seen(terminal);
    assert_eq!((shown(&text).as_ref(), text.matches(PREFIX).count()), (Some(&token), 1), "{text}");
    let (server, terminal, _) = start();
    server.stop();
    assert_eq!(seen(terminal), "");
}

#[test]
fn where_the_client_file_cannot_be_written_a_token_is_shown_or_the_server_does_not_start() {
    let user = User::new();
    let nowhere = "/proc/nowhere/client.toml";
    let arguments = ["serve", "--grpc-addr", "127.0.0.1:0", "--data-dir"];
    let data = user.path("data");
    let arguments = [&arguments[..], &[data.to_str().unwrap()]].concat();
    let unseen = run(&arguments, &[("IDHINI_CLIENT_FILE", nowhere)], "");
    assert_eq!(unseen.status, 6, "{}", unseen.stderr);
    assert!(
        unseen.stderr.contains(nowhere) && unseen.stderr.contains("IDHINI_PRESHARED_KEY"),
        "{}",
        unseen.stderr
    );
    assert!(!unseen.stderr.contains(PREFIX), "{}", unseen.stderr);

    let (terminal, process_side) = terminal();
    let mut command = user.serve("data", &[]);
    command.stderr(process_side).env("IDHINI_CLIENT_FILE", nowhere);
    let server = Server::of(command);
    let address = server.address.clone();
    server.stop();
    let text = seen(terminal);
    let token = shown(&text).unwrap();
    assert!(text.contains("will not find it") && text.contains(nowhere), "{text}");
    // It counts from then on; that of the start before never did.
    let server = Server::of(user.serve_at(&address, "data"));
    assert_eq!(user.asks_with(&server.address, &token).status, 0);
    assert_eq!(user.tokens(), [""; 0]);
}

#[test]
fn servers_stand_side_by_side_and_take_turns_at_an_address() {
    let user = User::new();
    let one = Server::of(user.serve("one", &[]));
    let two = Server::of(user.serve("two", &[]));
    assert_eq!([user.asks(&one.address), user.asks(&two.address)], [0, 0]);
    let address = one.address.clone();
    one.stop();
    two.stop();
    // Another takes the address, and the first comes back to it.
    for data in ["two", "one", "three", "one", "two"] {
        let server = Server::of(user.serve_at(&address, data));
        assert_eq!(user.asks(&address), 0, "{data}");
        server.stop();
    }
    assert_eq!(user.tokens().len(), 3);
}

#[test]
fn a_client_file_that_others_may_read_is_refused_with_what_helps() {
    let user = User::new();
    let server = Server::of(user.serve("data", &[]));
    let mode =
        |mode| std::fs::set_permissions(user.client_file(), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let refused = user.run(&["--addr", &server.address, "schema", "read"], &[]);
    assert_eq!(refused.status, 3);
    assert!(
        refused.stderr.contains(&format!("chmod 600 {}", user.client_file().display())),
        "{}",
        refused.stderr
    );
    mode(0o600);
    assert_eq!(user.asks(&server.address), 0);
}

#[test]
fn the_file_is_in_the_users_configuration_directory() {
    let user = User::new();
    for (variable, below) in
        [("XDG_CONFIG_HOME", "idhini/client.toml"), ("HOME", ".config/idhini/client.toml")]
    {
        let home = user.path(variable);
        let mut command = user.serve(variable, &[]);
        command.env_remove("IDHINI_CLIENT_FILE").env_remove("XDG_CONFIG_HOME").env(variable, &home);
        let server = Server::of(command);
        assert_eq!(home.join(below).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut asked = binary();
        asked.env_remove("IDHINI_CLIENT_FILE").env_remove("XDG_CONFIG_HOME").env(variable, &home);
        let schema = user.path("s.zed");
        let asked = asked.args(["--addr", &server.address, "schema", "write"]).arg(schema).output().unwrap();
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    }
}

#[test]
fn an_ephemeral_server_has_a_token_that_ends_with_it() {
    let user = User::new();
    let start = || {
        let mut command = binary();
        command.args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0"]);
        command.env("IDHINI_CLIENT_FILE", user.client_file());
        Server::of(command)
    };
    let server = start();
    assert_eq!(user.writes(&server.address), 0);
    let first = user.token();
    server.stop();
    assert_eq!(user.tokens(), [""; 0]);
    let server = start();
    assert_eq!(user.writes(&server.address), 0);
    assert_eq!(user.asks_with(&server.address, &first).status, 4);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the kills are spread over the time that a start takes")]
fn a_start_that_is_killed_at_any_moment_leaves_a_server_whose_token_is_known() {
    let user = User::new();
    let begun = Instant::now();
    Server::of(user.serve("measured", &[])).kill();
    let whole = begun.elapsed();
    const KILLS: u32 = 16;
    for kill in 0..KILLS {
        let data = format!("data{kill}");
        let mut command = user.serve(&data, &[]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(kill) / f64::from(KILLS)) + Duration::from_millis(1));
        child.kill().unwrap();
        child.wait().unwrap();
        let server = Server::of(user.serve(&data, &[]));
        assert_eq!(user.asks(&server.address), 0, "{kill}");
        server.kill();
    }
}

#[test]
fn a_lost_token_is_replaced_while_no_server_runs() {
    let user = User::new();
    let data = user.path("data");
    let reset = || user.run(&["token", "reset", "--data-dir", data.to_str().unwrap()], &[]);
    let missing = reset();
    assert!(missing.status == 3 && !data.exists(), "{}", missing.stderr);
    let server = Server::of(user.serve("data", &[]));
    let first = user.token();
    let held = reset();
    assert!(held.status == 6 && held.stderr.contains("held by process"), "{}", held.stderr);
    assert_eq!(user.token(), first);
    let address = server.address.clone();
    server.stop();
    let second = reset().stdout.trim().to_owned();
    assert!(second.starts_with(PREFIX) && second != first);
    let server = Server::of(user.serve_at(&address, "data"));
    assert_eq!((user.asks(&address), user.token()), (0, second.clone()));
    assert_eq!(user.asks_with(&address, &first).status, 4);
    server.stop();
    // Also where the file is gone, or damaged in the directory.
    std::fs::remove_file(user.client_file()).unwrap();
    std::fs::write(data.join("root-token"), "damaged").unwrap();
    let damaged = run(
        &["serve", "--grpc-addr", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()],
        &[("IDHINI_CLIENT_FILE", user.client_file().to_str().unwrap())],
        "",
    );
    assert!(damaged.status == 6 && damaged.stderr.contains("token reset"), "{}", damaged.stderr);
    assert_eq!(reset().status, 0);
    let server = Server::of(user.serve("data", &[]));
    assert_eq!(user.writes(&server.address), 0);
    assert_eq!(user.asks_with(&server.address, &second).status, 4);
    // Nothing is made of a directory that is no server's.
    std::fs::create_dir(user.path("empty")).unwrap();
    let empty = user.path("empty");
    let other = user.run(&["token", "reset", "--data-dir", empty.to_str().unwrap()], &[]);
    assert!(other.status == 3 && other.stderr.contains("no data of a server"), "{}", other.stderr);
}

#[test]
fn where_there_are_preshared_keys_they_alone_count() {
    let user = User::new();
    let first = Server::of(user.serve("data", &["--preshared-key", KEY]));
    assert_eq!((user.tokens().len(), user.said().as_str()), (0, ""));
    let address = first.address.clone();
    first.stop();
    let server = Server::of(user.serve_at(&address, "data"));
    let token = user.token();
    assert_eq!((user.writes(&address), user.asks_with(&address, KEY).status), (0, 4));
    server.stop();
    let mut command = user.serve_at(&address, "data");
    command.args(["--preshared-key", KEY]);
    let server = Server::of(command);
    let with = |token: &str| user.asks_with(&address, token).status;
    assert_eq!((with(KEY), with(&token), user.asks(&address)), (0, 4, 3));
    server.stop();
    let server = Server::of(user.serve_at(&address, "data"));
    assert_eq!((user.asks(&address), user.token()), (0, token));
    server.stop();
}

#[test]
fn a_restored_directory_has_a_token_of_its_own() {
    let user = User::new();
    let server = Server::of(user.serve("data", &[]));
    assert_eq!(user.writes(&server.address), 0);
    let (backup, restored) = (user.path("backup"), user.path("restored"));
    let (backup, restored) = (backup.to_str().unwrap(), restored.to_str().unwrap());
    assert_eq!(user.run(&["--addr", &server.address, "backup", backup], &[]).status, 0);
    let token = user.token();
    assert!(!bytes_of(Path::new(backup)).windows(10).any(|bytes| bytes == b"root token"));
    assert_eq!(user.run(&["restore", backup, "--data-dir", restored], &[]).status, 0);
    let second = Server::of(user.serve("restored", &[]));
    assert_eq!([user.asks(&server.address), user.asks(&second.address)], [0, 0]);
    assert_eq!(user.tokens().len(), 2);
    assert_eq!(user.asks_with(&second.address, &token).status, 4);
}

#[test]
fn a_root_token_that_is_not_to_count_does_not_and_somebody_has_to() {
    let user = User::new();
    let without = |arguments: &[&str]| {
        let mut command = user.serve("data", &["--no-root-token"]);
        command.args(arguments);
        command
    };
    let refused = |mut command: Command| {
        let status = command.stdout(std::process::Stdio::null()).status().unwrap();
        let said = user.said();
        assert!(!status.success() && said.contains("nobody would administrate"), "{said}");
        assert!(said.contains("--no-root-token") && user.tokens().is_empty(), "{said}");
    };
    // Nobody could ever do anything in it.
    refused(without(&[]));
    let server = Server::of(user.serve("data", &[]));
    let root = user.token();
    let made = user.run(&["--addr", &server.address, "token", "create", "--role", "admin", "--json"], &[]);
    assert_eq!(made.status, 0, "{}", made.stderr);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let admin = made["token"].as_str().unwrap().to_owned();
    server.stop();
    let server = Server::of(without(&[]));
    let with = |address: &str, token: &str| user.asks_with(address, token).status;
    assert_eq!((with(&server.address, &root), with(&server.address, &admin)), (4, 0));
    server.stop();
    // It comes back with the setting.
    let server = Server::of(user.serve("data", &[]));
    assert_eq!((with(&server.address, &root), with(&server.address, &admin)), (0, 0));
}
