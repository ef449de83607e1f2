//! `idhini.v1`: what the server answers beyond the contract.

mod changes;
mod check_stream;
mod explain;
mod pages;
mod services;
mod set_relation;
mod writes;

use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::idhini::v1;
use idhini_wire::idhini::v1::history_service_client::HistoryServiceClient;
use idhini_wire::idhini::v1::permissions_service_client::PermissionsServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::process::{Server, object, relationship, subject, touch, with_key};

/// With the limits that clients have by themselves.
pub async fn own(
    server: &Server,
) -> PermissionsServiceClient<
    InterceptedService<Channel, impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<>>,
> {
    PermissionsServiceClient::with_interceptor(server.channel().await, with_key)
}

pub async fn history(
    server: &Server,
) -> HistoryServiceClient<
    InterceptedService<Channel, impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<>>,
> {
    HistoryServiceClient::with_interceptor(server.channel().await, with_key)
}

pub fn exactly(token: &authzed::ZedToken) -> Option<authzed::Consistency> {
    Some(authzed::Consistency { requirement: Some(Requirement::AtExactSnapshot(token.clone())) })
}

/// A check as a precondition.
pub fn must(have: bool, resource: &str, permission: &str, by: &str) -> v1::PermissionPrecondition {
    use v1::permission_precondition::Operation;
    v1::PermissionPrecondition {
        operation: if have { Operation::MustHave } else { Operation::MustNotHave } as i32,
        resource: object(resource),
        permission: permission.to_owned(),
        subject: subject(by),
        context: None,
    }
}

/// A write of these relationships if these checks answer so.
pub fn guarded(texts: &[&str], checks: Vec<v1::PermissionPrecondition>) -> v1::WriteRelationshipsRequest {
    v1::WriteRelationshipsRequest {
        updates: touch(texts).updates,
        optional_permission_preconditions: checks,
        ..Default::default()
    }
}

pub fn deleting(texts: &[&str]) -> Vec<authzed::RelationshipUpdate> {
    let mut updates = touch(texts).updates;
    let delete = authzed::relationship_update::Operation::Delete as i32;
    updates.iter_mut().for_each(|update| update.operation = delete);
    updates
}

pub fn text(relationship: &authzed::Relationship) -> String {
    idhini_model::Relationship::try_from(relationship.clone()).unwrap().to_string()
}

/// Subjects of a relation, each as after the `@` of a relationship.
pub fn subjects(texts: &[String]) -> Vec<v1::RelationSubject> {
    let subject = |text: &String| {
        let authzed::Relationship { subject, optional_caveat, optional_expires_at, .. } =
            relationship(&format!("document:x#viewer@{text}"));
        v1::RelationSubject { subject, optional_caveat, optional_expires_at }
    };
    texts.iter().map(subject).collect()
}

pub fn set(resource: &str, relation: &str, texts: &[String]) -> v1::SetRelationRequest {
    v1::SetRelationRequest {
        resource: object(resource),
        relation: relation.to_owned(),
        subjects: subjects(texts),
        ..Default::default()
    }
}

/// Imports relationships as one transaction.
pub async fn import(server: &Server, texts: impl IntoIterator<Item = String>) {
    let relationships: Vec<_> = texts.into_iter().map(|text| relationship(&text)).collect();
    let messages: Vec<_> = relationships
        .chunks(100)
        .map(|part| authzed::ImportBulkRelationshipsRequest { relationships: part.to_vec() })
        .collect();
    let mut client = server.permissions().await;
    client.import_bulk_relationships(tokio_stream::iter(messages)).await.unwrap();
}

/// The clock, which the server reads too.
#[expect(clippy::disallowed_methods, reason = "the server's clock is this machine's")]
pub fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Numbers without a pattern.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
