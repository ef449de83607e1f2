//! What a server asked of the system: it runs under strace, whose output is read here.
//!
//! Calls are ordered by the lines of the trace, not by clocks. One strace sees all threads; a thread that waits in a
//! call goes on only after the call's end was written down, so whatever an end caused stands behind it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{KEY, PATIENCE, Server};

/// What could carry a request, an entry, a sync, a name or an answer.
const TRACED: &str = "--trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,\
                      fsync,fdatasync,/^rename";

/// Longer than anything that a test sends at once; strace would cut it.
const STRING_BYTES_MAX: &str = "16777216";

/// One call of the system.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub name: String,
    /// The line of the trace on which it began.
    pub began: usize,
    /// The line on which it ended; `None` if it never did.
    pub ended: Option<usize>,
    /// What it returned; negative for a failure.
    pub result: Option<i64>,
    /// The path or the connection behind its first argument, if that is a descriptor.
    pub of: String,
    /// The strings among its arguments.
    pub strings: Vec<Vec<u8>>,
}

impl Call {
    /// The bytes that it read or wrote; all that it was to write, if the end of the process left open how far it got.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.strings.concat();
        bytes.truncate(self.result.map_or(usize::MAX, |result| usize::try_from(result).unwrap_or_default()));
        bytes
    }

    pub fn has_succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }
}

/// Starts a server whose calls are written to a file; `inject` makes the system slow or ill.
pub fn start(trace: &Path, inject: &str, environment: &[(&str, &str)], arguments: &[&str]) -> Server {
    // A missing tool is a failure, never a reason to look at nothing.
    let found = Command::new("strace").arg("-V").output();
    assert!(found.is_ok_and(|output| output.status.success()), "strace is needed: apt-get install strace");
    let mut command = Command::new("strace");
    // With `-D` the process that we start becomes the server, so that it can be ended as any other.
    command.args(["-D", "-f", "--seccomp-bpf", "-q", "-yy", "-xx", "-s", STRING_BYTES_MAX, TRACED]);
    command.args([inject, "-o"]).arg(trace).arg(env!("CARGO_BIN_EXE_idhini"));
    command.args(["serve", "--grpc-addr", "127.0.0.1:0", "--preshared-key", KEY]).args(arguments);
    command.envs(environment.iter().copied());
    Server::quiet(command)
}

/// Kills a server, and reads what it did.
pub fn ended(server: Server, trace: &Path) -> Vec<Call> {
    let first = server.pid().to_string();
    server.kill();
    for _ in 0..PATIENCE.as_millis() / 20 {
        let text = std::fs::read_to_string(trace).unwrap();
        // The first thread ends last.
        let last = text.lines().next_back().and_then(|line| line.split_once(' '));
        if last.is_some_and(|(thread, what)| thread == first && what.trim_start().starts_with("+++")) {
            return parse(&text);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("strace did not end");
}

/// The calls of a trace, in the order in which they began.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    // By thread: where its call began, and the text so far.
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let (thread, what) = line.split_once(' ').unwrap();
        let what = what.trim_start();
        if let Some(resumed) = what.strip_prefix("<... ") {
            let (_, rest) = resumed.split_once(" resumed>").unwrap();
            let (began, head) = open.remove(thread).unwrap();
            calls.push(call(&format!("{head}{rest}"), began, Some(at)));
        } else if let Some(head) = what.strip_suffix("<unfinished ...>") {
            open.insert(thread, (at, head));
        } else if !what.starts_with("---") && !what.starts_with("+++") {
            calls.push(call(what, at, Some(at)));
        }
    }
    calls.extend(open.into_values().map(|(began, head)| call(head, began, None)));
    calls.sort_by_key(|call| call.began);
    calls
}

fn call(text: &str, began: usize, ended: Option<usize>) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text}"));
    let (arguments, result) = match rest.rsplit_once(" = ") {
        Some((arguments, result)) => (arguments, result.split(' ').next().and_then(|text| text.parse().ok())),
        None => (rest, None),
    };
    assert!(!arguments.contains("\"..."), "a string was cut: {name}");
    let strings = arguments.split('"').skip(1).step_by(2).map(unescaped).collect();
    // A call that was cut off by the end of the process is written as one that returned nothing.
    let ended = ended.filter(|_| result.is_some());
    Call { name: name.to_owned(), began, ended, result, of: described(arguments), strings }
}

/// What is behind a descriptor: `7<\x2f\x74>` or `9<TCP:[127.0.0.1:1->127.0.0.1:2]>`.
fn described(arguments: &str) -> String {
    let behind = arguments.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(behind) = behind.strip_prefix('<').filter(|_| behind.len() < arguments.len()) else {
        return String::new();
    };
    if behind.starts_with("TCP") {
        return behind.split(']').next().unwrap_or_default().to_owned();
    }
    let path = behind.split(['<', '>']).next().unwrap_or_default();
    String::from_utf8_lossy(&unescaped(path)).into_owned()
}

/// `\x61\x62` is `ab`.
fn unescaped(text: &str) -> Vec<u8> {
    let digits = |byte: &str| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("no byte: {byte}"));
    text.split("\\x").skip(1).map(digits).collect()
}

#[test]
fn a_call_that_others_interrupt_is_put_together() {
    let text = concat!(
        "10    pwrite64(5<\\x2f\\x61>, \"\\x68\\x69\", 2, 0 <unfinished ...>\n",
        "11    fdatasync(5<\\x2f\\x61> <unfinished ...>\n",
        "10    <... pwrite64 resumed>) = 2\n",
        "12    recvfrom(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"\\x61\", 8, 0, NULL, NULL) = 1\n",
        "11    <... fdatasync resumed>)          = -1 EIO (Input/output error) (INJECTED)\n",
        "10    writev(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base=\"\\x61\", iov_len=1}, {iov_base=\"\\x62\\x63\", \
         iov_len=2}], 2) = 2\n",
        "12    fsync(7<\\x2f> <unfinished ...>\n",
        "12    +++ killed by SIGKILL +++\n",
    );
    let calls = parse(text);
    let facts: Vec<_> = calls
        .iter()
        .map(|call| (call.name.as_str(), call.of.as_str(), call.began, call.ended, call.bytes()))
        .collect();
    let connection = "TCP:[127.0.0.1:1->127.0.0.1:2";
    let wanted = [
        ("pwrite64", "/a", 0, Some(2), b"hi".to_vec()),
        ("fdatasync", "/a", 1, Some(4), Vec::new()),
        ("recvfrom", connection, 3, Some(3), b"a".to_vec()),
        ("writev", connection, 5, Some(5), b"ab".to_vec()),
        ("fsync", "/", 6, None, Vec::new()),
    ];
    assert_eq!(facts, wanted);
    assert!(!calls[1].has_succeeded() && calls[3].has_succeeded() && !calls[4].has_succeeded());
}
