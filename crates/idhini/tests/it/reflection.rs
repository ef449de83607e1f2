//! Health by service name, and what reflection tells: every service that is answered, and every file that describes it.

use std::collections::BTreeSet;

use idhini_wire::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::process::Server;

/// Those that clients call; all of them are answered, and none of them wants a token for health.
const SERVICES: [&str; 6] = [
    "authzed.api.v1.PermissionsService",
    "authzed.api.v1.SchemaService",
    "authzed.api.v1.WatchService",
    "authzed.api.v1.ExperimentalService",
    "idhini.v1.PermissionsService",
    "idhini.v1.HistoryService",
];

fn described() -> FileDescriptorSet {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
}

/// The services of some files, by their full names.
fn services(files: &[FileDescriptorProto]) -> BTreeSet<String> {
    files.iter().flat_map(|f| f.service.iter().map(|s| format!("{}.{}", f.package(), s.name()))).collect()
}

#[tokio::test]
async fn health_is_told_by_service_name_and_of_the_server() {
    let server = Server::furnished();
    let mut health = HealthClient::new(server.channel().await);
    for service in [""].into_iter().chain(SERVICES) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
        let mut watched = health.watch(request).await.unwrap().into_inner();
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest { service: "authzed.api.v1.Nothing".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

macro_rules! reflection_tells_everything {
    ($name:ident, $version:ident, $package:literal) => {
        #[tokio::test]
        async fn $name() {
            use pb::server_reflection_request::MessageRequest;
            use pb::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version as pb;
            let server = Server::furnished();
            let channel = server.channel().await;
            let mut client = pb::server_reflection_client::ServerReflectionClient::new(channel);
            // Each question on a stream of its own.
            let mut ask = async |question: MessageRequest| {
                let request =
                    pb::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
                let asked = tokio_stream::iter([request]);
                let mut answers = client.server_reflection_info(asked).await?.into_inner();
                Ok::<_, tonic::Status>(answers.message().await?.unwrap().message_response.unwrap())
            };
            let listed = ask(MessageRequest::ListServices(String::new())).await.unwrap();
            let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
            let listed: BTreeSet<String> = listed.service.into_iter().map(|s| s.name).collect();
            for service in SERVICES.into_iter().chain(["grpc.health.v1.Health", $package]) {
                assert!(listed.contains(service), "{service} is not among {listed:?}");
            }
            // Nothing is listed that nothing describes.
            let mut files: Vec<FileDescriptorProto> = Vec::new();
            for service in &listed {
                let found = ask(MessageRequest::FileContainingSymbol(service.clone())).await.unwrap();
                let MessageResponse::FileDescriptorResponse(found) = found else { panic!("{found:?}") };
                let found: Vec<FileDescriptorProto> = found
                    .file_descriptor_proto
                    .iter()
                    .map(|bytes| FileDescriptorProto::decode(bytes.as_slice()).unwrap())
                    .collect();
                assert!(services(&found).contains(service), "{service}");
                files.extend(found);
            }
            // Every file of ours and every file that these need, by name, as it is.
            let ours = described().file;
            let mut names: BTreeSet<String> = ours.iter().map(|file| file.name().to_owned()).collect();
            names.extend(files.iter().flat_map(|file| file.dependency.clone()));
            for name in names {
                let found = ask(MessageRequest::FileByFilename(name.clone())).await;
                let found = found.unwrap_or_else(|status| panic!("{name}: {status:?}"));
                let MessageResponse::FileDescriptorResponse(found) = found else { panic!("{found:?}") };
                let file = FileDescriptorProto::decode(found.file_descriptor_proto[0].as_slice()).unwrap();
                assert_eq!(file.name(), name);
                if let Some(own) = ours.iter().find(|own| own.name() == name) {
                    assert_eq!(file, *own);
                }
            }
            // Messages and methods by their names too.
            for symbol in [
                "authzed.api.v1.CheckPermissionRequest",
                "authzed.api.v1.PermissionsService.CheckPermission",
                "authzed.api.v1.ErrorReason",
            ] {
                let found = ask(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
                assert!(
                    matches!(found, Ok(MessageResponse::FileDescriptorResponse(_))),
                    "{symbol}: {found:?}"
                );
            }
            let unknown = ask(MessageRequest::FileContainingSymbol("authzed.Nothing".to_owned())).await;
            assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
        }
    };
}

reflection_tells_everything!(reflection_v1_tells_everything, v1, "grpc.reflection.v1.ServerReflection");
reflection_tells_everything!(
    reflection_v1alpha_tells_everything,
    v1alpha,
    "grpc.reflection.v1alpha.ServerReflection"
);
