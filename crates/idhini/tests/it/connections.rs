//! Connections on which nothing is asked: they make room, and keep nobody else out.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

use crate::process::{PATIENCE, Server, check};
use crate::secured::Authority;

/// More than one worker waits for.
const SILENT: usize = 1_100;

/// Whether the other side has closed it.
fn is_closed(mut silent: &TcpStream) -> bool {
    silent.set_nonblocking(true).unwrap();
    match silent.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

fn silent(address: &str) -> Vec<TcpStream> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    (0..SILENT).map(|_| TcpStream::connect(address).unwrap()).collect()
}

/// The oldest are closed and the newest are not.
fn expect_bounded(silent: &[TcpStream]) {
    let began = Instant::now();
    let closed = || silent.iter().take_while(|silent| is_closed(silent)).count();
    while closed() < SILENT - 1_024 {
        assert!(began.elapsed() < PATIENCE, "{} are closed", closed());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!is_closed(&silent[SILENT - 1]));
}

#[tokio::test]
async fn of_those_who_ask_nothing_whoever_came_first_makes_room() {
    let server = Server::start(&["--worker-threads", "1", "--http-addr", "127.0.0.1:0"]);
    let http = server.http_address();
    // One that has asked, and is silent from then on.
    let mut before = server.permissions().await;
    before.check_permission(check("document:a", "view", "user:a")).await.unwrap_err();
    for address in [&server.address, &http] {
        let silent = silent(address);
        expect_bounded(&silent);
        let mut new = server.permissions().await;
        new.check_permission(check("document:a", "view", "user:a")).await.unwrap_err();
    }
    let still = before.check_permission(check("document:a", "view", "user:a")).await.unwrap_err();
    assert_eq!(still.code(), tonic::Code::FailedPrecondition, "{still:?}");
}

#[tokio::test]
async fn nor_does_silence_instead_of_a_handshake_keep_anybody_out() {
    let authority = Authority::new();
    let seen = authority.serve(&["--worker-threads", "1"]);
    let silent = silent(&seen.server.address);
    expect_bounded(&silent);
    assert!(authority.channel(&seen.server, None).await.is_ok());
}
