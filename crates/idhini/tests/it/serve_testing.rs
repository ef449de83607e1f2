//! `serve-testing`: each token has a store of its own.

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::watch_service_client::WatchServiceClient;
use idhini_wire::idhini::admin::v1::DescribeRequest;
use idhini_wire::idhini::admin::v1::admin_service_client::AdminServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::process::{SCHEMA, Server, binary, of_type, reason, run, touch};

fn serve(arguments: &[&str]) -> Server {
    let mut command = binary();
    command.args(["serve-testing", "--grpc-addr", "127.0.0.1:0"]).args(arguments);
    Server::quiet(command)
}

/// Calls with one token.
struct Caller {
    channel: Channel,
    token: &'static str,
}

impl Caller {
    async fn new(server: &Server, token: &'static str) -> Caller {
        Caller { channel: server.channel().await, token }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }

    fn permissions(&self) -> PermissionsServiceClient<Channel> {
        PermissionsServiceClient::new(self.channel.clone())
    }

    async fn write_schema(&self, schema: &str) -> Result<(), Status> {
        let request = self.request(v1::WriteSchemaRequest { schema: schema.to_owned() });
        SchemaServiceClient::new(self.channel.clone()).write_schema(request).await.map(drop)
    }

    async fn read_schema(&self) -> Result<String, Status> {
        let request = self.request(v1::ReadSchemaRequest {});
        let read = SchemaServiceClient::new(self.channel.clone()).read_schema(request).await;
        read.map(|answer| answer.into_inner().schema_text)
    }

    async fn touch(&self, texts: &[&str]) -> Result<String, Status> {
        let answer = self.permissions().write_relationships(self.request(touch(texts))).await?;
        Ok(answer.into_inner().written_at.unwrap().token)
    }

    async fn read(
        &self,
        requirement: Option<Requirement>,
        cursor: Option<v1::Cursor>,
    ) -> Result<Vec<v1::ReadRelationshipsResponse>, Status> {
        let request = self.request(v1::ReadRelationshipsRequest {
            consistency: Some(v1::Consistency { requirement }),
            relationship_filter: Some(of_type("document")),
            optional_cursor: cursor,
            optional_limit: 1,
        });
        let mut answers = self.permissions().read_relationships(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(answer) = answers.message().await? {
            all.push(answer);
        }
        Ok(all)
    }
}

#[tokio::test]
async fn two_tokens_have_nothing_in_common() {
    let server = serve(&[]);
    let (one, two) = (Caller::new(&server, "one").await, Caller::new(&server, "two").await);
    one.write_schema(SCHEMA).await.unwrap();
    assert_eq!(two.read_schema().await.unwrap_err().code(), Code::NotFound);
    two.write_schema("definition user {} definition document { relation owner: user }").await.unwrap();
    let of_one = one.touch(&["document:a#owner@user:ann", "document:b#owner@user:ann"]).await.unwrap();
    let of_two = two.touch(&["document:c#owner@user:bob", "document:d#owner@user:bob"]).await.unwrap();
    let head = Some(Requirement::FullyConsistent(true));
    let first = |found: &[v1::ReadRelationshipsResponse]| {
        found[0].relationship.clone().unwrap().resource.unwrap().object_id
    };
    let (page_of_one, page_of_two) =
        (one.read(head.clone(), None).await.unwrap(), two.read(head, None).await.unwrap());
    assert_eq!((first(&page_of_one).as_str(), first(&page_of_two).as_str()), ("a", "c"));

    // What one was given is good for it, and refused to the other.
    let cursor = |page: &[v1::ReadRelationshipsResponse]| page[0].after_result_cursor.clone();
    assert_eq!(first(&one.read(None, cursor(&page_of_one)).await.unwrap()), "b");
    let refused = two.read(None, cursor(&page_of_one)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).0.as_str()), (Code::InvalidArgument, "INVALID_CURSOR"));
    for requirement in [Requirement::AtLeastAsFresh, Requirement::AtExactSnapshot] {
        let at = |token: &str| Some(requirement(v1::ZedToken { token: token.to_owned() }));
        assert!(one.read(at(&of_one), None).await.is_ok() && two.read(at(&of_two), None).await.is_ok());
        for (caller, token) in [(&one, &of_two), (&two, &of_one)] {
            let refused = caller.read(at(token), None).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
            assert!(refused.message().contains("another namespace"), "{refused}");
        }
    }
    for (caller, token) in [(&one, &of_two), (&two, &of_one)] {
        let optional_start_cursor = Some(v1::ZedToken { token: token.clone() });
        let request = caller.request(v1::WatchRequest { optional_start_cursor, ..Default::default() });
        let refused = match WatchServiceClient::new(caller.channel.clone()).watch(request).await {
            Err(status) => status,
            Ok(stream) => stream.into_inner().message().await.unwrap_err(),
        };
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains("another namespace"), "{refused}");
    }
    assert!(one.read_schema().await.unwrap().contains("definition group"));
    assert!(!two.read_schema().await.unwrap().contains("definition group"));
}

#[tokio::test]
async fn without_a_token_there_is_health_and_no_store() {
    let server = serve(&[]);
    let channel = server.channel().await;
    let mut schemas = SchemaServiceClient::new(channel.clone());
    let refused = schemas.read_schema(v1::ReadSchemaRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    for service in ["", "authzed.api.v1.PermissionsService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status, 1);
    }
}

#[tokio::test]
async fn backups_are_not_offered() {
    let server = serve(&[]);
    let one = Caller::new(&server, "one").await;
    let mut admin = AdminServiceClient::new(one.channel.clone());
    let refused = admin.describe(one.request(DescribeRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_store_idle_for_longest_goes_but_none_that_a_watch_holds() {
    let server = serve(&["--stores-max", "2"]);
    let callers = [
        Caller::new(&server, "one").await,
        Caller::new(&server, "two").await,
        Caller::new(&server, "three").await,
    ];
    let [one, two, three] = &callers;
    one.write_schema(SCHEMA).await.unwrap();
    two.write_schema(SCHEMA).await.unwrap();
    let watched = |caller: &Caller| {
        let mut watches = WatchServiceClient::new(caller.channel.clone());
        let request = caller.request(v1::WatchRequest::default());
        async move { watches.watch(request).await.unwrap().into_inner() }
    };
    // Used longest ago, but not idle.
    let mut watch = watched(one).await;
    two.read_schema().await.unwrap();
    three.write_schema(SCHEMA).await.unwrap();
    one.touch(&["document:a#owner@user:ann"]).await.unwrap();
    assert_eq!(watch.message().await.unwrap().unwrap().updates.len(), 1);
    let of_three = watched(three).await;
    let refused = two.read_schema().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("--stores-max"), "{refused}");
    drop((watch, of_three));
    // The server hears of it a little later. What "two" had is gone.
    let empty = loop {
        match two.read_schema().await.unwrap_err() {
            status if status.code() == Code::ResourceExhausted => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            status => break status,
        }
    };
    assert_eq!(empty.code(), Code::NotFound);
}

#[tokio::test]
async fn limits_can_be_set_and_storage_cannot() {
    let server = serve(&["--updates-max", "1"]);
    let one = Caller::new(&server, "one").await;
    one.write_schema(SCHEMA).await.unwrap();
    let refused = one.touch(&["document:a#owner@user:ann", "document:b#owner@user:ann"]).await.unwrap_err();
    assert_eq!(reason(&refused).0, "TOO_MANY_UPDATES_IN_REQUEST");
    assert_eq!(run(&["serve-testing", "--data-dir", "x"], &[], "").status, 3);
    assert_eq!(server.terminate(), Some(0));
}
