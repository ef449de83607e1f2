//! What an operator sees of the real binary: log lines, traces, metrics, readiness, profiles, and how it stops.

mod documents;
mod logs;
mod metrics;
mod profile;
mod readiness;
mod stop;
mod traces;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::process::{KEY, PATIENCE, RELATIONSHIPS, SCHEMA, Server, binary, folder};

/// A server whose metrics are served and whose lines are kept.
pub struct Seen {
    pub server: Server,
    pub metrics: String,
    /// Read from a pipe: files are what some tests forbid it.
    said: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

/// What was answered over HTTP.
pub struct Page {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    /// With a data directory, the schema and relationships of the other tests, and these arguments besides.
    pub fn start(arguments: &[&str]) -> Seen {
        Seen::of(binary(), arguments)
    }

    /// Of a command that runs the binary with the arguments that it is given.
    pub fn of(command: Command, arguments: &[&str]) -> Seen {
        let folder = folder(&[("s.zed", SCHEMA), ("r.txt", RELATIONSHIPS)]);
        Seen::in_folder(command, &folder, arguments)
    }

    /// In a folder that has these files.
    pub fn in_folder(mut command: Command, folder: &Path, arguments: &[&str]) -> Seen {
        command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]);
        command.args(["--metrics-addr", "127.0.0.1:0", "--data-dir"]).arg(folder.join("data"));
        command.arg("--schema").arg(folder.join("s.zed")).arg("--relationships").arg(folder.join("r.txt"));
        command.args(arguments).stderr(Stdio::piped());
        let mut server = Server::of(command);
        let metrics = ready(&server);
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, into) = (BufReader::new(server.stderr()), Arc::clone(&said));
        let reading = Some(std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *into.lock().unwrap() += &format!("{line}\n");
            }
        }));
        Seen { server, metrics, said, reading }
    }

    /// What it has said on standard error.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// The same, line by line, as JSON.
    pub fn lines(&self) -> Vec<serde_json::Value> {
        self.said()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    pub fn page(&self, path: &str) -> Page {
        page(&self.metrics, path)
    }

    /// The metrics, as text.
    pub fn text(&self) -> String {
        let page = self.page("/metrics");
        assert_eq!(page.status, 200);
        String::from_utf8(page.body).unwrap()
    }

    /// One of them; none if there is no such series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        value(&self.text(), series)
    }

    /// Stops it; how it ended, and all that it said.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.server.tell_to_stop();
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> (Option<i32>, String) {
        let status = self.server.ended();
        self.reading.take().unwrap().join().unwrap();
        (status, self.said())
    }
}

/// Waits until a server is ready, a moment after it listens; where its metrics are.
pub fn ready(server: &Server) -> String {
    let metrics = server.metrics_address();
    let pauses = PATIENCE.as_millis() / 10;
    let is_ready = |_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        page(&metrics, "/readyz").status == 200
    };
    assert!((0..pauses).any(is_ready), "the server never was ready");
    metrics
}

/// Asks over HTTP.
pub fn page(address: &str, path: &str) -> Page {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { status, head, body: answer[end + 4..].to_vec() }
}

/// The value of a series, such as `idhini_requests_total{code="OK"}`, in a page of metrics.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// A server whose writes fail instead of ending it when a file gets too long.
pub fn that_survives_long_files() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_idhini")]);
    command.env_remove("IDHINI_PRESHARED_KEY");
    command
}

/// How long files may become that the server writes; `None`: as long as they may.
pub fn limit_files(server: &Server, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(pid, Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < end, "it never came about that {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
