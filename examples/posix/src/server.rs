//! What does the server say? Writes the schema and the facts over gRPC, and asks in bulk.
//!
//! # Invariants
//! * A server that holds another schema is left alone: this program only ever replaces its own.
//! * An answer that is neither yes nor no, or to another question than the one asked, ends the run.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use idhini_wire::authzed::api::v1::check_bulk_permissions_pair::Response;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use idhini_wire::authzed::api::v1::{
    CheckBulkPermissionsRequest, CheckBulkPermissionsRequestItem, Consistency, DeleteRelationshipsRequest,
    ObjectReference, ReadSchemaRequest, Relationship, RelationshipFilter, RelationshipUpdate,
    SubjectReference, WriteRelationshipsRequest, WriteSchemaRequest,
};
use tokio::task::JoinSet;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use idhini_schema::Schema;

use crate::relationships::{Fact, RESOURCE_TYPES, SCHEMA};

/// Updates, and questions, that one call carries.
pub const BATCH: usize = 1_000;

const IN_FLIGHT: usize = 4;
const START_TRIES: u32 = 200;
const START_PAUSE: Duration = Duration::from_millis(50);
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One question as the server is asked it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Type and id.
    pub resource: (&'static str, Arc<str>),
    /// The permission.
    pub permission: &'static str,
    /// The user id.
    pub user: u32,
}

/// Why the server's side of the run failed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address or the key is not one.
    #[error("the address or the token of the server is malformed: {0}")]
    Malformed(String),
    /// The server's program could not be run.
    #[error(
        "cannot start the server `{program}`: {cause}; name its program with --serve, or a server with --addr"
    )]
    Start {
        /// Which.
        program: String,
        /// Why.
        cause: String,
    },
    /// It holds something else.
    #[error("the server holds another schema: use a server, or a namespace, without one")]
    Occupied,
    /// A call failed.
    #[error("{call}: {status}")]
    Call {
        /// Which.
        call: &'static str,
        /// How.
        status: Box<Status>,
    },
    /// A reply that answers nothing.
    #[error("the server did not answer {0}")]
    NoAnswer(String),
}

/// A server of this run's own, stopped when dropped.
pub struct OwnServer {
    child: Child,
    /// Where it listens.
    pub addr: String,
    /// Its key.
    pub token: String,
}

impl OwnServer {
    /// Starts `program` on a free port, with nothing in it.
    ///
    /// # Errors
    /// [`ServerError::Start`].
    pub fn start(program: &Path, token: String) -> Result<Self, ServerError> {
        let failed = |cause: std::io::Error| ServerError::Start {
            program: program.display().to_string(),
            cause: cause.to_string(),
        };
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let free = TcpListener::bind(any_port).and_then(|listener| listener.local_addr()).map_err(failed)?;
        let child = Command::new(program)
            .args(["serve", "--ephemeral", "--grpc-addr", &free.to_string()])
            .env("IDHINI_PRESHARED_KEY", &token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self { child, addr: free.to_string(), token })
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers.
#[derive(Clone)]
pub struct Server {
    permissions: PermissionsServiceClient<Channel>,
    schemas: SchemaServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
}

impl Server {
    /// Connects, waiting for a server that is only just starting.
    ///
    /// # Errors
    /// [`ServerError`] if the address or the token is malformed, or nobody answers.
    pub async fn connect(addr: &str, token: &str) -> Result<Self, ServerError> {
        let malformed = |what: &dyn std::fmt::Display| ServerError::Malformed(what.to_string());
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|error| malformed(&error))?;
        let authorization = format!("Bearer {token}").parse().map_err(|error| malformed(&error))?;
        let mut tries = 0;
        let channel = loop {
            match endpoint.clone().timeout(CALL_TIMEOUT).connect().await {
                Ok(channel) => break channel,
                Err(_) if tries < START_TRIES => tries += 1,
                Err(error) => return Err(ServerError::NoAnswer(format!("at {addr}: {error}"))),
            }
            tokio::time::sleep(START_PAUSE).await;
        };
        let permissions =
            PermissionsServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { permissions, schemas: SchemaServiceClient::new(channel), authorization })
    }

    /// Makes the server hold `schema` and nothing else.
    ///
    /// # Errors
    /// [`ServerError::Occupied`] if it holds another, [`ServerError::Call`] if a call fails.
    pub async fn write_schema(&mut self, schema: &str) -> Result<(), ServerError> {
        let read = self.request(ReadSchemaRequest::default());
        match self.schemas.read_schema(read).await {
            Ok(reply) => {
                let held = reply.into_inner().schema_text;
                if ![SCHEMA, schema].iter().any(|ours| is_same_schema(ours, &held)) {
                    return Err(ServerError::Occupied);
                }
                for resource_type in RESOURCE_TYPES {
                    self.delete_all(resource_type).await?;
                }
            }
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(failed("ReadSchema", status)),
        }
        let write = self.request(WriteSchemaRequest { schema: schema.to_owned() });
        self.schemas.write_schema(write).await.map_err(|status| failed("WriteSchema", status))?;
        Ok(())
    }

    async fn delete_all(&mut self, resource_type: &str) -> Result<(), ServerError> {
        let filter = RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() };
        let request = DeleteRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
        let request = self.request(request);
        self.permissions
            .delete_relationships(request)
            .await
            .map_err(|status| failed("DeleteRelationships", status))?;
        Ok(())
    }

    /// Writes all facts, [`BATCH`] in a call. `wrote` is told how many each time.
    ///
    /// # Errors
    /// [`ServerError::Call`] with the first failure.
    pub async fn write(&self, facts: &[Fact], wrote: impl Fn(usize)) -> Result<(), ServerError> {
        let mut calls = JoinSet::new();
        for batch in facts.chunks(BATCH) {
            let updates: Vec<_> = batch.iter().map(update).collect();
            let (mut server, count) = (self.clone(), updates.len());
            if calls.len() >= IN_FLIGHT {
                wrote(ended(calls.join_next().await)?);
            }
            calls.spawn(async move {
                let request = server.request(WriteRelationshipsRequest { updates, ..Default::default() });
                let reply = server.permissions.write_relationships(request).await;
                reply.map(|_| count).map_err(|status| failed("WriteRelationships", status))
            });
        }
        while !calls.is_empty() {
            wrote(ended(calls.join_next().await)?);
        }
        Ok(())
    }

    /// Asks everything, [`BATCH`] in a call, and gives the answers in the same order.
    ///
    /// # Errors
    /// [`ServerError`] if a call fails, or an answer is neither yes nor no.
    pub async fn ask(&self, questions: &[Asked], answered: impl Fn(usize)) -> Result<Vec<bool>, ServerError> {
        let mut answers = vec![None; questions.len()];
        let mut calls = JoinSet::new();
        let mut batches = questions.chunks(BATCH).enumerate();
        loop {
            while calls.len() < IN_FLIGHT
                && let Some((number, batch)) = batches.next()
            {
                let (server, items) = (self.clone(), batch.iter().map(item).collect());
                calls.spawn(async move { server.ask_batch(items).await.map(|answers| (number, answers)) });
            }
            if calls.is_empty() {
                break;
            }
            let (number, batch) = ended(calls.join_next().await)?;
            answered(batch.len());
            for (place, answer) in answers.iter_mut().skip(number * BATCH).zip(batch) {
                *place = Some(answer);
            }
        }
        let all: Option<Vec<bool>> = answers.into_iter().collect();
        all.ok_or_else(|| ServerError::NoAnswer("every question".to_owned()))
    }

    async fn ask_batch(
        mut self,
        items: Vec<CheckBulkPermissionsRequestItem>,
    ) -> Result<Vec<bool>, ServerError> {
        let consistency = Consistency { requirement: Some(Requirement::FullyConsistent(true)) };
        let request =
            CheckBulkPermissionsRequest { consistency: Some(consistency), items, ..Default::default() };
        let items = request.items.clone();
        let request = self.request(request);
        let reply = self.permissions.check_bulk_permissions(request).await;
        let pairs = reply.map_err(|status| failed("CheckBulkPermissions", status))?.into_inner().pairs;
        if pairs.len() != items.len() {
            return Err(ServerError::NoAnswer(format!("{} questions, but {}", items.len(), pairs.len())));
        }
        let answers = items.into_iter().zip(pairs).map(|(item, pair)| {
            let answer = match &pair.response {
                Some(Response::Item(answer)) if pair.request.as_ref() == Some(&item) => {
                    answer.permissionship()
                }
                _ => Permissionship::Unspecified,
            };
            match answer {
                Permissionship::HasPermission => Ok(true),
                Permissionship::NoPermission => Ok(false),
                _ => Err(ServerError::NoAnswer(format!("{item:?}, but said {:?}", pair.response))),
            }
        });
        answers.collect()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }
}

fn ended<T>(call: Option<Result<Result<T, ServerError>, tokio::task::JoinError>>) -> Result<T, ServerError> {
    match call {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(ServerError::NoAnswer(format!("a call: {error}"))),
        None => Err(ServerError::NoAnswer("a call".to_owned())),
    }
}

fn failed(call: &'static str, status: Status) -> ServerError {
    ServerError::Call { call, status: Box::new(status) }
}

/// Whether two texts are one schema, however they are laid out.
fn is_same_schema(ours: &str, held: &str) -> bool {
    let canonical = |text: &str| Schema::parse(text).map(|schema| schema.canonical_text());
    canonical(held).is_ok_and(|held| canonical(ours) == Ok(held))
}

fn update(fact: &Fact) -> RelationshipUpdate {
    let relationship = Relationship {
        resource: Some(object(fact.resource.0, &fact.resource.1)),
        relation: fact.relation.to_owned(),
        subject: Some(SubjectReference {
            object: Some(object(fact.subject.0, &fact.subject.1)),
            optional_relation: fact.subject_relation.to_owned(),
        }),
        ..Default::default()
    };
    RelationshipUpdate { operation: Operation::Touch.into(), relationship: Some(relationship) }
}

fn item(asked: &Asked) -> CheckBulkPermissionsRequestItem {
    CheckBulkPermissionsRequestItem {
        resource: Some(object(asked.resource.0, &asked.resource.1)),
        permission: asked.permission.to_owned(),
        subject: Some(SubjectReference {
            object: Some(object("user", &asked.user.to_string())),
            optional_relation: String::new(),
        }),
        context: None,
    }
}

fn object(object_type: &str, object_id: &str) -> ObjectReference {
    ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() }
}

#[cfg(test)]
mod tests {
    use idhini_schema::Schema;

    use super::is_same_schema;
    use crate::relationships::SCHEMA;

    #[test]
    fn a_schema_with_the_same_names_is_not_ours() {
        assert!(is_same_schema(SCHEMA, &Schema::parse(SCHEMA).unwrap().canonical_text()));
        let foreign =
            "definition user {}\ndefinition file {\n relation owner: user\n permission read = owner\n}";
        assert!(!is_same_schema(SCHEMA, foreign));
        assert!(!is_same_schema(SCHEMA, "not a schema"));
    }
}
