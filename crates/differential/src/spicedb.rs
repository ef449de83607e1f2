//! The client side of a SpiceDB: write a schema and relationships, ask, read the answer in our own words.
//!
//! # Invariants
//! * Questions are always asked fully consistently.
//! * An error is an answer ([`Reply::Fault`]) where the question caused it, and a [`Broken`] where the server did.
//!
//! Cost: a round trip per call; checks go in bulk.

use std::collections::{BTreeMap, BTreeSet};

use idhini_model::Relationship;
use idhini_wire::authzed::api::v1;
use idhini_wire::context_message;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use v1::permissions_service_client::PermissionsServiceClient;
use v1::schema_service_client::SchemaServiceClient;

use crate::query::{Answer, Body, EVERYBODY, Fault, Observed, Posed, Query, Reply, Subjects, Tree, Value};

/// Updates in one WriteRelationships.
const UPDATES_MAX: usize = 1000;
/// Largest message that is accepted from the server.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Items read of one lookup; generated worlds have a few dozen objects.
const ITEMS_MAX: usize = 10_000;
/// Levels of an expansion that are read.
const TREE_DEPTH_MAX: usize = 90;
/// How long any one call may take.
const DEADLINE_MS: u64 = 60_000;

/// The server or the connection failed; no answer to anything.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// No connection.
    #[error("cannot connect to {addr}")]
    Connect {
        /// As given.
        addr: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The token is no header value.
    #[error("the token is not a header value")]
    Token,
    /// A call failed for a reason that is no answer.
    #[error("{call}: {status}")]
    Call {
        /// The call.
        call: &'static str,
        /// What came back.
        status: Box<Status>,
    },
    /// A message says what the contract does not allow.
    #[error("{call} answered a message that cannot be read: {what}")]
    Unreadable {
        /// The call.
        call: &'static str,
        /// What is wrong.
        what: &'static str,
    },
}

/// A connected SpiceDB; cloning shares the connection.
#[derive(Debug, Clone)]
pub struct SpiceDb {
    permissions: PermissionsServiceClient<Channel>,
    schemas: SchemaServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
}

impl SpiceDb {
    /// Connects to `host:port` with a bearer token.
    ///
    /// # Errors
    /// [`Broken::Connect`], [`Broken::Token`].
    pub async fn connect(addr: &str, token: &str) -> Result<SpiceDb, Broken> {
        let failed = |source| Broken::Connect { addr: addr.to_owned(), source };
        let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(failed)?;
        let channel = endpoint.connect().await.map_err(failed)?;
        let permissions =
            PermissionsServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let schemas = SchemaServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let authorization = format!("Bearer {token}").parse().map_err(|_| Broken::Token)?;
        Ok(SpiceDb { permissions, schemas, authorization })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request.set_timeout(std::time::Duration::from_millis(DEADLINE_MS));
        request
    }

    /// Replaces the schema; the inner error is the server's refusal of this text.
    ///
    /// # Errors
    /// [`Broken::Call`].
    pub async fn write_schema(&self, text: &str) -> Result<Result<(), Fault>, Broken> {
        let message = v1::WriteSchemaRequest { schema: text.to_owned() };
        match self.schemas.clone().write_schema(self.request(message)).await {
            Ok(_) => Ok(Ok(())),
            Err(status) => fault("WriteSchema", status).map(Err),
        }
    }

    /// Touches or deletes relationships; the inner error is the server's refusal of them.
    ///
    /// # Errors
    /// [`Broken::Call`].
    pub async fn write(
        &self,
        relationships: &[Relationship],
        operation: v1::relationship_update::Operation,
    ) -> Result<Result<(), Fault>, Broken> {
        for part in relationships.chunks(UPDATES_MAX) {
            let updates = part.iter().map(|relationship| v1::RelationshipUpdate {
                operation: operation.into(),
                relationship: Some(relationship.clone().into()),
            });
            let message = v1::WriteRelationshipsRequest { updates: updates.collect(), ..Default::default() };
            if let Err(status) = self.permissions.clone().write_relationships(self.request(message)).await {
                return fault("WriteRelationships", status).map(Err);
            }
        }
        Ok(Ok(()))
    }

    /// Deletes every relationship of a definition.
    ///
    /// # Errors
    /// [`Broken::Call`].
    pub async fn delete_all(&self, resource_type: &str) -> Result<(), Broken> {
        let filter = v1::RelationshipFilter { resource_type: resource_type.to_owned(), ..Default::default() };
        let message =
            v1::DeleteRelationshipsRequest { relationship_filter: Some(filter), ..Default::default() };
        match self.permissions.clone().delete_relationships(self.request(message)).await {
            Ok(_) => Ok(()),
            Err(status) => Err(Broken::Call { call: "DeleteRelationships", status: Box::new(status) }),
        }
    }

    /// The schema's text; empty if there is none.
    ///
    /// # Errors
    /// [`Broken::Call`].
    pub async fn read_schema(&self) -> Result<String, Broken> {
        match self.schemas.clone().read_schema(self.request(v1::ReadSchemaRequest {})).await {
            Ok(response) => Ok(response.into_inner().schema_text),
            Err(status) if status.code() == Code::NotFound => Ok(String::new()),
            Err(status) => Err(Broken::Call { call: "ReadSchema", status: Box::new(status) }),
        }
    }

    /// Asks checks in one CheckBulkPermissions; one reply for each, or the same fault for all.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn check_bulk(&self, asked: &[Posed]) -> Result<Vec<Reply>, Broken> {
        const CALL: &str = "CheckBulkPermissions";
        let items = asked.iter().filter_map(item).collect();
        let message = v1::CheckBulkPermissionsRequest { consistency: fully(), items, with_tracing: false };
        let pairs = match self.permissions.clone().check_bulk_permissions(self.request(message)).await {
            Ok(response) => response.into_inner().pairs,
            Err(status) => return Ok(vec![Reply::Fault(fault(CALL, status)?); asked.len()]),
        };
        if pairs.len() != asked.len() {
            return Err(Broken::Unreadable { call: CALL, what: "as many pairs as items" });
        }
        pairs.into_iter().map(|pair| pair_reply(pair.response)).collect()
    }

    /// Asks any one question, checks with CheckPermission.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn ask(&self, asked: &Posed) -> Result<Observed, Broken> {
        let answered = match &asked.query {
            Query::Check { .. } => self.check(asked).await,
            Query::Resources { .. } => self.lookup_resources(asked).await,
            Query::Subjects { .. } => self.lookup_subjects(asked).await,
            Query::Expand { .. } => self.expand(asked).await,
        };
        match answered {
            Ok(observed) => observed,
            Err(status) => {
                let reply = Reply::Fault(fault(asked.query.call(), status)?);
                Ok(Observed { reply, repeated: BTreeSet::new() })
            }
        }
    }

    async fn check(&self, asked: &Posed) -> Result<Result<Observed, Broken>, Status> {
        let Query::Check { resource, permission, subject } = &asked.query else {
            return Ok(Err(Broken::Unreadable { call: "CheckPermission", what: "not a check" }));
        };
        let message = v1::CheckPermissionRequest {
            consistency: fully(),
            resource: Some(resource.clone().into()),
            permission: permission.clone(),
            subject: Some(subject.clone().into()),
            context: Some(context_message(asked.context.clone())),
            with_tracing: false,
        };
        let response = self.permissions.clone().check_permission(self.request(message)).await?.into_inner();
        let answer = checked(response.permissionship, response.partial_caveat_info, "CheckPermission");
        Ok(answer.map(|answer| once(Reply::Check(answer))))
    }

    async fn lookup_resources(&self, asked: &Posed) -> Result<Result<Observed, Broken>, Status> {
        let Query::Resources { resource_type, permission, subject } = &asked.query else {
            return Ok(Err(Broken::Unreadable { call: "LookupResources", what: "not one" }));
        };
        let message = v1::LookupResourcesRequest {
            consistency: fully(),
            resource_object_type: resource_type.clone(),
            permission: permission.clone(),
            subject: Some(subject.clone().into()),
            context: Some(context_message(asked.context.clone())),
            ..Default::default()
        };
        let mut stream = self.permissions.clone().lookup_resources(self.request(message)).await?.into_inner();
        let mut found = BTreeMap::new();
        let mut repeated = BTreeSet::new();
        for _ in 0..ITEMS_MAX {
            let Some(item) = stream.message().await? else { break };
            let answer = match looked_up(item.permissionship, item.partial_caveat_info, "LookupResources") {
                Ok(answer) => answer,
                Err(broken) => return Ok(Err(broken)),
            };
            fold(&mut found, &mut repeated, item.resource_object_id, answer);
        }
        Ok(Ok(Observed { reply: Reply::Resources(found), repeated }))
    }

    async fn lookup_subjects(&self, asked: &Posed) -> Result<Result<Observed, Broken>, Status> {
        let Query::Subjects { resource, permission, subject_type, subject_relation } = &asked.query else {
            return Ok(Err(Broken::Unreadable { call: "LookupSubjects", what: "not one" }));
        };
        let message = v1::LookupSubjectsRequest {
            consistency: fully(),
            resource: Some(resource.clone().into()),
            permission: permission.clone(),
            subject_object_type: subject_type.clone(),
            optional_subject_relation: subject_relation.clone().unwrap_or_default(),
            context: Some(context_message(asked.context.clone())),
            ..Default::default()
        };
        let mut stream = self.permissions.clone().lookup_subjects(self.request(message)).await?.into_inner();
        let mut subjects = Subjects::default();
        let mut repeated = BTreeSet::new();
        for _ in 0..ITEMS_MAX {
            let Some(item) = stream.message().await? else { break };
            if let Err(broken) = fold_subject(&mut subjects, &mut repeated, item) {
                return Ok(Err(broken));
            }
        }
        Ok(Ok(Observed { reply: Reply::Subjects(subjects), repeated }))
    }

    async fn expand(&self, asked: &Posed) -> Result<Result<Observed, Broken>, Status> {
        let Query::Expand { resource, permission } = &asked.query else {
            return Ok(Err(Broken::Unreadable { call: "ExpandPermissionTree", what: "not one" }));
        };
        let message = v1::ExpandPermissionTreeRequest {
            consistency: fully(),
            resource: Some(resource.clone().into()),
            permission: permission.clone(),
        };
        let response =
            self.permissions.clone().expand_permission_tree(self.request(message)).await?.into_inner();
        let tree = response.tree_root.and_then(|root| tree(root, 0));
        let unreadable = Broken::Unreadable { call: "ExpandPermissionTree", what: "no tree" };
        Ok(tree.ok_or(unreadable).map(|mut tree| {
            tree.sort();
            once(Reply::Tree(tree))
        }))
    }
}

fn fully() -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(v1::consistency::Requirement::FullyConsistent(true)) })
}

fn once(reply: Reply) -> Observed {
    Observed { reply, repeated: BTreeSet::new() }
}

/// A status that the question may have caused is an answer; others mean that the server is not there.
fn fault(call: &'static str, status: Status) -> Result<Fault, Broken> {
    match status.code() {
        Code::Unavailable | Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => {
            Err(Broken::Call { call, status: Box::new(status) })
        }
        code => Ok(Fault { code, message: status.message().to_owned() }),
    }
}

fn item(posed: &Posed) -> Option<v1::CheckBulkPermissionsRequestItem> {
    let Query::Check { resource, permission, subject } = &posed.query else { return None };
    Some(v1::CheckBulkPermissionsRequestItem {
        resource: Some(resource.clone().into()),
        permission: permission.clone(),
        subject: Some(subject.clone().into()),
        context: Some(context_message(posed.context.clone())),
    })
}

fn pair_reply(response: Option<v1::check_bulk_permissions_pair::Response>) -> Result<Reply, Broken> {
    use v1::check_bulk_permissions_pair::Response;
    const CALL: &str = "CheckBulkPermissions";
    match response {
        Some(Response::Item(item)) => {
            checked(item.permissionship, item.partial_caveat_info, CALL).map(Reply::Check)
        }
        Some(Response::Error(error)) => {
            Ok(Reply::Fault(Fault { code: Code::from(error.code), message: error.message }))
        }
        None => Err(Broken::Unreadable { call: CALL, what: "a pair without a response" }),
    }
}

fn missing(info: Option<v1::PartialCaveatInfo>) -> BTreeSet<String> {
    info.map(|info| info.missing_required_context.into_iter().collect()).unwrap_or_default()
}

fn checked(
    permissionship: i32,
    info: Option<v1::PartialCaveatInfo>,
    call: &'static str,
) -> Result<Answer, Broken> {
    use v1::check_permission_response::Permissionship;
    let value = match Permissionship::try_from(permissionship) {
        Ok(Permissionship::NoPermission) => Value::No,
        Ok(Permissionship::ConditionalPermission) => Value::Conditional,
        Ok(Permissionship::HasPermission) => Value::Has,
        _ => return Err(Broken::Unreadable { call, what: "an unknown permissionship" }),
    };
    Ok(Answer { value, missing: missing(info) })
}

fn looked_up(
    permissionship: i32,
    info: Option<v1::PartialCaveatInfo>,
    call: &'static str,
) -> Result<Answer, Broken> {
    let value = match v1::LookupPermissionship::try_from(permissionship) {
        Ok(v1::LookupPermissionship::HasPermission) => Value::Has,
        Ok(v1::LookupPermissionship::ConditionalPermission) => Value::Conditional,
        _ => return Err(Broken::Unreadable { call, what: "an unknown permissionship" }),
    };
    Ok(Answer { value, missing: missing(info) })
}

/// Keeps the greatest of repeated items; of two conditional ones, what both lack.
fn fold(found: &mut BTreeMap<String, Answer>, repeated: &mut BTreeSet<String>, id: String, answer: Answer) {
    match found.get_mut(&id) {
        None => {
            found.insert(id, answer);
        }
        Some(known) => {
            if answer.value > known.value {
                *known = answer;
            } else if answer.value == known.value {
                known.missing.extend(answer.missing);
            }
            repeated.insert(id);
        }
    }
}

fn fold_subject(
    subjects: &mut Subjects,
    repeated: &mut BTreeSet<String>,
    item: v1::LookupSubjectsResponse,
) -> Result<(), Broken> {
    const CALL: &str = "LookupSubjects";
    let subject = item.subject.ok_or(Broken::Unreadable { call: CALL, what: "an item without a subject" })?;
    let answer = looked_up(subject.permissionship, subject.partial_caveat_info, CALL)?;
    if subject.subject_object_id == EVERYBODY {
        for excluded in item.excluded_subjects {
            let mut left = looked_up(excluded.permissionship, excluded.partial_caveat_info, CALL)?;
            if left.value == Value::Has {
                left = Answer { value: Value::No, missing: BTreeSet::new() };
            }
            subjects.excluded.insert(excluded.subject_object_id, left);
        }
    }
    fold(&mut subjects.found, repeated, subject.subject_object_id, answer);
    Ok(())
}

/// Recursion is bounded by [`TREE_DEPTH_MAX`]; deeper trees are not read.
fn tree(node: v1::PermissionRelationshipTree, depth: usize) -> Option<Tree> {
    use v1::algebraic_subject_set::Operation;
    use v1::permission_relationship_tree::TreeType;
    if depth > TREE_DEPTH_MAX {
        return None;
    }
    let object = node.expanded_object.unwrap_or_default();
    let body = match node.tree_type? {
        TreeType::Leaf(leaf) => Body::Leaf(leaf.subjects.into_iter().map(subject_text).collect()),
        TreeType::Intermediate(set) => {
            let operation = Operation::try_from(set.operation).ok()?;
            let children =
                set.children.into_iter().map(|child| tree(child, depth + 1)).collect::<Option<_>>()?;
            match operation {
                Operation::Union => Body::Union(children),
                Operation::Intersection => Body::Intersection(children),
                Operation::Exclusion => Body::Exclusion(children),
                Operation::Unspecified => return None,
            }
        }
    };
    Some(Tree {
        resource: format!("{}:{}", object.object_type, object.object_id),
        member: node.expanded_relation,
        body,
    })
}

fn subject_text(subject: v1::SubjectReference) -> String {
    let object = subject.object.unwrap_or_default();
    match subject.optional_relation.as_str() {
        "" | "..." => format!("{}:{}", object.object_type, object.object_id),
        relation => format!("{}:{}#{relation}", object.object_type, object.object_id),
    }
}
