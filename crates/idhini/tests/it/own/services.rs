use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::history_service_client::HistoryServiceClient;
use idhini_wire::idhini::v1::permissions_service_client::PermissionsServiceClient;
use tonic::Code;

use crate::own::guarded;
use crate::process::Server;

#[tokio::test]
async fn nothing_is_told_without_a_key_but_that_the_services_are_there() {
    let server = Server::furnished();
    let channel = server.channel().await;
    let mut permissions = PermissionsServiceClient::new(channel.clone());
    let mut history = HistoryServiceClient::new(channel.clone());
    let refused = [
        permissions.write_relationships(guarded(&[], Vec::new())).await.unwrap_err(),
        permissions.set_relation(v1::SetRelationRequest::default()).await.unwrap_err(),
        permissions.read_relationships(v1::ReadRelationshipsRequest::default()).await.unwrap_err(),
        permissions.explain(v1::ExplainRequest::default()).await.unwrap_err(),
        permissions.check_stream(tokio_stream::empty()).await.unwrap_err(),
        history.read_changes(v1::ReadChangesRequest::default()).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|status| status.code() == Code::Unauthenticated), "{refused:?}");
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["PermissionsService", "HistoryService"] {
        let service = format!("idhini.v1.{service}");
        let request = tonic_health::pb::HealthCheckRequest { service };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1);
    }
}
