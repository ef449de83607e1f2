//! Beyond loopback there is TLS and authentication, or no server.

use super::{Authority, here};
use crate::process::{KEY, Outcome, Server, binary, check, folder, run, with_key};
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use tonic::Code;

fn serve(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    run(&[&["serve", "--ephemeral"], arguments].concat(), environment, "")
}

#[test]
fn a_start_beyond_loopback_ends_with_what_is_missing() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051"] {
        let outcome = serve(&["--grpc-addr", address, "--preshared-key", KEY], &[]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (3, ""));
        for said in ["--grpc-addr: ", "needs TLS", "--tls-cert-file and --tls-key-file", "--tls-ca-dir"] {
            assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
        }
        let outcome = run(&["serve-testing", "--grpc-addr", address], &[], "");
        assert_eq!(outcome.status, 3);
        assert!(outcome.stderr.contains("needs authentication"), "{}", outcome.stderr);
    }
    let halves = [("--tls-cert-file", "set --tls-key-file"), ("--tls-key-file", "set --tls-cert-file")];
    for (half, missing) in halves {
        let outcome = serve(&["--grpc-addr", "0.0.0.0:0", half, "x.pem"], &[]);
        assert_eq!(outcome.status, 3);
        assert!(outcome.stderr.contains(missing), "{}", outcome.stderr);
    }
    let outcome = serve(&["--metrics-addr", "0.0.0.0:0"], &[]);
    assert!(outcome.status == 3 && outcome.stderr.contains("--metrics-addr: "), "{}", outcome.stderr);
}

#[test]
fn a_start_with_files_that_cannot_be_used_names_them() {
    let authority = Authority::new();
    authority.server(&["--lifetime", "1s"]);
    let (cert, key) = (authority.path("server.pem"), authority.path("server-key.pem"));
    let with = |cert: &str, key: &str| serve(&["--tls-cert-file", cert, "--tls-key-file", key], &[]);
    authority.issue("other", &["--name", "other"]);
    std::fs::write(authority.path("empty.pem"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    for (outcome, named, why) in [
        (with("/none.pem", &key), "/none.pem", "name files that are there"),
        (with(&authority.path("empty.pem"), &key), "empty.pem", "BEGIN CERTIFICATE"),
        (with(&authority.path("other.pem"), &authority.path("empty.pem")), "empty.pem", "BEGIN PRIVATE KEY"),
        (with(&authority.path("other.pem"), &key), "server-key.pem", "not that of the certificate"),
        (with(&cert, &key), "server.pem", "has ended"),
        (serve(&["--tls-ca-dir", "/nowhere"], &[]), "/nowhere/ca.pem", "name files that are there"),
    ] {
        assert_eq!(outcome.status, 6, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(named) && outcome.stderr.contains(why), "{}", outcome.stderr);
    }
}

/// On every address of the machine, of which one is loopback.
#[tokio::test]
async fn beyond_loopback_nobody_is_answered_without_tls_or_without_a_token() {
    let authority = Authority::new();
    let data = folder(&[]);
    let mut command = binary();
    command.args(["serve", "--grpc-addr", "0.0.0.0:0", "--tls-ca-dir", &authority.path("ca"), "--data-dir"]);
    command.arg(data.join("data")).env("IDHINI_CLIENT_FILE", data.join("client.toml"));
    let server = Server::quiet(command);
    let mut plain = PermissionsServiceClient::with_interceptor(
        tonic::transport::Endpoint::from_shared(format!("http://{}", here(&server.address)))
            .unwrap()
            .connect_lazy(),
        with_key,
    );
    let question = check("document:a", "view", "user:a");
    let error = plain.check_permission(question.clone()).await.unwrap_err();
    assert!(matches!(error.code(), Code::Unknown | Code::Unavailable | Code::Internal), "{error:?}");
    let channel = authority.channel(&server, None).await.unwrap();
    let mut nobody = PermissionsServiceClient::new(channel.clone());
    let error = nobody.check_permission(question.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    let mut wrong = PermissionsServiceClient::with_interceptor(channel, with_key);
    assert_eq!(wrong.check_permission(question).await.unwrap_err().code(), Code::PermissionDenied);
    // The command line finds what it needs.
    let file = data.join("client.toml");
    let outcome = run(
        &["--addr", &here(&server.address), "schema", "read"],
        &[("IDHINI_CLIENT_FILE", file.to_str().unwrap())],
        "",
    );
    assert!(outcome.stderr.contains("no schema has been defined"), "{}", outcome.stderr);
}
