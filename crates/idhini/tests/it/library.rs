//! A directory that a server and a program with the library open in turn, and never at once.

use idhini::{Error, Idhini, Update};
use idhini_wire::authzed::api::v1::consistency::Requirement;

use crate::durable::{viewers, write};
use crate::process::{Server, folder};

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_goes_from_a_program_to_a_server_and_back() {
    let folder = folder(&[]);
    let data = folder.join("data");
    let arguments = ["--data-dir", data.to_str().unwrap()];
    let of_program = {
        let idhini = Idhini::open(&data).unwrap();
        idhini.write_schema("definition user {} definition document { relation viewer: user }").unwrap();
        idhini.write(Update::create("document:a#viewer@user:ann".parse().unwrap())).unwrap()
    };
    let server = Server::durable(&arguments);
    assert_eq!(viewers(&server, Requirement::FullyConsistent(true)).await, ["a"]);
    write(&server, &["document:b#viewer@user:ann"]).await;
    let refused = Idhini::open(&data).unwrap_err();
    assert!(matches!(refused, Error::Directory(_)));
    let told = refused.to_string();
    assert!(told.contains(&format!("held by process {}", server.pid())), "{told}");
    // What was acknowledged outlives its end, whoever looks next.
    server.kill();
    let idhini = Idhini::open(&data).unwrap();
    let ann = "user:ann".parse().unwrap();
    let seen = |snapshot: &idhini::Snapshot| {
        let found = snapshot.lookup_resources("document", "viewer", &ann).unwrap();
        found.map(|found| found.unwrap().object_id.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&idhini.snapshot()), ["a", "b"]);
    assert_eq!(seen(&idhini.at(of_program).unwrap()), ["a"]);
    // And the server is told who has it now.
    let started = crate::process::run(
        &[&["serve", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off"], &arguments[..]].concat(),
        &[],
        "",
    );
    let holder = format!("held by process {}", std::process::id());
    assert!(started.status == 6 && started.stderr.contains(&holder), "{}", started.stderr);
}
