//! Running the binary: a server on a free port, and commands with a time limit.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use idhini_wire::google;
use prost::Message as _;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub const KEY: &str = "a key of this test";

pub const SCHEMA: &str = r#"use expiration

caveat only_on(day string, level int) {
  day == "tuesday" && level > 3
}
definition user {}
definition group {
  relation member: user | group#member
}
definition document {
  relation owner: user
  relation viewer: user | user:* | group#member | user with only_on | user with expiration
  relation banned: user
  permission edit = owner
  permission view = viewer + edit - banned
}
"#;

pub const RELATIONSHIPS: &str = r#"// who is in which group
group:eng#member@user:tom
group:all#member@group:eng#member

document:readme#viewer@group:all#member
document:readme#owner@user:ann
document:readme#viewer@user:bob
document:readme#banned@user:bob
document:readme#viewer@user:eve[only_on:{"day":"tuesday"}]
"#;

/// How long a start or a command may take before the test fails; machines under load are slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Set by whoever wants to see what servers say while tests run.
const STDERR: &str = "TESTS_SERVER_STDERR";

/// A running server; stopped when dropped.
pub struct Server {
    child: Child,
    /// Where it writes what it says on standard error; read if the test fails.
    log: Option<PathBuf>,
    pub address: String,
    /// What it says on standard output after where it listens.
    said: Mutex<mpsc::Receiver<String>>,
}

/// What a command did.
pub struct Outcome {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The binary, to which nothing is said about servers and their tokens by whoever runs the tests.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idhini"));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("IDHINI_")) {
            command.env_remove(name);
        }
    }
    command.env("IDHINI_CLIENT_FILE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("nowhere/client.toml"));
    // Many servers run side by side; tests of metrics say where.
    command.env("IDHINI_METRICS_ADDR", "off");
    command.env("IDHINI_HTTP_ADDR", "off");
    command
}

/// A folder of its own, with these files.
pub fn folder(files: &[(&str, &str)]) -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}-{number}", std::process::id()));
    // Ids of processes come back, and with them the folder of an earlier run.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// An address to come back to. Its port is below those that the system gives to outgoing connections: one of these would be
/// in the way of a server for up to a minute after its end.
pub fn lasting_address() -> String {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        // Other processes run tests as well.
        let tried = std::process::id().wrapping_mul(31) + TRIED.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.0.0.1:{}", 20_000 + tried % 12_000);
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

impl Server {
    pub fn start(arguments: &[&str]) -> Server {
        let mut command = binary();
        command.args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
        command.args(arguments);
        Server::quiet(command)
    }

    /// Without a key among its arguments.
    pub fn with_keys_of_environment(keys: &str) -> Server {
        let mut command = binary();
        command.args(["serve", "--ephemeral", "--grpc-addr", "127.0.0.1:0"]);
        command.env("IDHINI_PRESHARED_KEY", keys);
        Server::quiet(command)
    }

    /// With a data directory among its arguments.
    pub fn durable(arguments: &[&str]) -> Server {
        let mut command = binary();
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
        command.args(arguments);
        Server::quiet(command)
    }

    /// Of a command that serves, and whose standard error nobody reads unless the test fails.
    pub fn quiet(mut command: Command) -> Server {
        if std::env::var_os(STDERR).is_some() {
            return Server::of(command);
        }
        let log = folder(&[("stderr", "")]).join("stderr");
        command.stderr(std::fs::File::create(&log).unwrap());
        Server::started(command, Some(log))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What is resident of the process, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(self) {
        assert_eq!(self.terminate(), Some(0));
    }

    /// Of a command that serves.
    pub fn of(command: Command) -> Server {
        Server::started(command, None)
    }

    fn started(mut command: Command, log: Option<PathBuf>) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            // Whoever has stopped the server does not listen.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let line = said.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the server did not start: {}", log.as_ref().map(text_of).unwrap_or_default())
        });
        let address = line.strip_prefix("listening on ").unwrap().split(' ').next().unwrap().to_owned();
        Server { child, log, address, said: Mutex::new(said) }
    }

    /// Where its metrics are, if it was started with a place for them.
    pub fn metrics_address(&self) -> String {
        let line = self.said.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        line.strip_prefix("metrics on http://").unwrap().strip_suffix("/metrics").unwrap().to_owned()
    }

    /// Where it listens for HTTP, if it was started with a place for that.
    pub fn http_address(&self) -> String {
        let line = self.said.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let address = line.strip_prefix("http on http").unwrap();
        address.trim_start_matches('s').strip_prefix("://").unwrap().to_owned()
    }

    /// Asks the server to stop.
    pub fn tell_to_stop(&self) {
        let id = self.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// With the schema and relationships above.
    pub fn furnished() -> Server {
        let folder = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        Server::start(&["--schema", &path("s.zed"), "--relationships", &path("r.txt")])
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        run(arguments, &[("IDHINI_ADDR", &self.address), ("IDHINI_TOKEN", KEY)], "")
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    pub async fn permissions(
        &self,
    ) -> PermissionsServiceClient<
        InterceptedService<Channel, impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<>>,
    > {
        PermissionsServiceClient::with_interceptor(self.channel().await, with_key)
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    pub async fn schemas(
        &self,
    ) -> SchemaServiceClient<
        InterceptedService<Channel, impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<>>,
    > {
        SchemaServiceClient::with_interceptor(self.channel().await, with_key)
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    /// With the limits that clients have by themselves.
    pub async fn watches(
        &self,
    ) -> WatchServiceClient<
        InterceptedService<Channel, impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<>>,
    > {
        WatchServiceClient::with_interceptor(self.channel().await, with_key)
    }

    /// Asks the server to stop, and waits for its exit status.
    #[cfg(unix)]
    pub fn terminate(mut self) -> Option<i32> {
        self.tell_to_stop();
        self.ended()
    }

    /// What it says on standard error, if that was piped.
    pub fn stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// Waits for its exit status.
    pub fn ended(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Some(log) = &self.log else { return };
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the server at {} said:\n{}", self.address, text_of(log));
        }
        let _ = std::fs::remove_dir_all(log.parent().unwrap());
    }
}

fn text_of(log: &PathBuf) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

pub fn with_key(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    Ok(request)
}

/// Runs a command to its end, with this on its standard input.
pub fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Outcome {
    let mut child = binary()
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (sender, receiver) = mpsc::channel();
    let id = child.id().to_string();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let output = receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = Command::new("kill").arg(&id).status();
        panic!("{arguments:?} did not end")
    });
    Outcome {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[cfg(unix)]
fn wait(child: &mut Child) -> Option<i32> {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the server did not stop");
}

/// The contract's reason of a refusal, and its metadata.
pub fn reason(status: &Status) -> (String, std::collections::HashMap<String, String>) {
    let details = google::rpc::Status::decode(status.details()).unwrap().details;
    let Some(any) = details.first() else { return Default::default() };
    let info = google::rpc::ErrorInfo::decode(any.value.as_slice()).unwrap();
    assert_eq!(info.domain, "authzed.com");
    (info.reason.trim_start_matches("ERROR_REASON_").to_owned(), info.metadata.into_iter().collect())
}

pub fn object(text: &str) -> Option<v1::ObjectReference> {
    let (object_type, object_id) = text.split_once(':').unwrap();
    Some(v1::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() })
}

pub fn subject(text: &str) -> Option<v1::SubjectReference> {
    let (of, relation) = text.split_once('#').unwrap_or((text, ""));
    Some(v1::SubjectReference { object: object(of), optional_relation: relation.to_owned() })
}

pub fn check(resource: &str, permission: &str, by: &str) -> v1::CheckPermissionRequest {
    v1::CheckPermissionRequest {
        resource: object(resource),
        permission: permission.to_owned(),
        subject: subject(by),
        ..Default::default()
    }
}

pub fn relationship(text: &str) -> v1::Relationship {
    text.parse::<idhini_model::Relationship>().unwrap().into()
}

pub fn touch(texts: &[&str]) -> v1::WriteRelationshipsRequest {
    let updates = texts.iter().map(|text| v1::RelationshipUpdate {
        operation: v1::relationship_update::Operation::Touch as i32,
        relationship: Some(relationship(text)),
    });
    v1::WriteRelationshipsRequest { updates: updates.collect(), ..Default::default() }
}

pub fn of_type(resource_type: &str) -> v1::RelationshipFilter {
    v1::RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() }
}
