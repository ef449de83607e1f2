//! What is kept of a token while it is used.

use super::Caller;
use crate::process::{Server, check, folder};
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::idhini::v1;

async fn used(caller: &Caller, accessor: &str) -> (Option<i64>, Option<i64>) {
    let request = v1::ReadTokenRequest { accessor: accessor.to_owned() };
    let read = caller.access().read_token(caller.request(request)).await.unwrap().into_inner();
    let request = v1::ListTokensRequest { path: "a".to_owned(), ..Default::default() };
    let listed = caller.access().list_tokens(caller.request(request)).await.unwrap().into_inner();
    let listed = listed.tokens.into_iter().find(|token| token.accessor == accessor).unwrap();
    let seconds = |token: v1::Token| token.last_used_at.map(|at| at.seconds);
    (seconds(read.token.unwrap()), seconds(listed))
}

#[tokio::test]
async fn when_a_token_was_used_last_is_told_and_known_after_a_restart() {
    let data = folder(&[]).join("data");
    let data = ["--data-dir", data.to_str().unwrap()];
    let server = Server::durable(&data);
    let root = Caller::root(&server).await;
    root.create("a").await.unwrap();
    let request = v1::CreateTokenRequest {
        home: "a".to_owned(),
        roles: vec!["checker".to_owned()],
        ..Default::default()
    };
    let made = root.access().create_token(root.request(request)).await.unwrap().into_inner();
    let accessor = made.created.unwrap().accessor;
    assert_eq!(used(&root, &accessor).await, (None, None));
    let member = root.with(&made.token).about("a");
    let before = idhini::clock::now().seconds();
    for _ in 0..3 {
        let mut permissions = PermissionsServiceClient::new(member.channel.clone());
        let asked = member.request(check("document:a", "view", "user:a"));
        permissions.check_permission(asked).await.unwrap_err();
    }
    let told = used(&root, &accessor).await;
    assert!(told.0.is_some_and(|at| (before..before + 60).contains(&at)), "{told:?} {before}");
    assert_eq!(told.0, told.1);
    server.stop();
    let server = Server::durable(&data);
    assert_eq!(used(&Caller::root(&server).await, &accessor).await, told);
}
