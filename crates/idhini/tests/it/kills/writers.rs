//! Eight writers, to keys of their own and to shared ones, until the server is gone.

use idhini_model::{CaveatUse, Context, Relationship};
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::permissions_service_client::PermissionsServiceClient;
use idhini_wire::authzed::api::v1::schema_service_client::SchemaServiceClient;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use super::model::{Asking, Doing, Heard, Request, Rng};
use crate::process::{PATIENCE, with_key};

pub const WRITERS: u64 = 8;
/// Documents of each writer, and the relationships in each, written at once.
const DOCUMENTS: u64 = 6;
const VIEWERS: u64 = 3;
/// Objects that all writers write.
const SLOTS: u64 = 5;
const BUNDLES: u64 = 3;

pub fn schema(extra: u64) -> String {
    format!(
        "caveat marked(by string) {{ by != \"\" }}
definition user {{}}
definition extra{extra:0>3} {{}}
definition document {{ relation viewer: user with marked }}
definition slot {{ relation holder: user with marked }}
definition bundle {{ relation item: user with marked }}"
    )
}

/// A relationship that says who wrote it.
fn marked(text: &str, by: &str) -> Relationship {
    let mut relationship: Relationship = text.parse().unwrap();
    let context = Context::from_json(&format!(r#"{{"by":"{by}"}}"#)).unwrap();
    relationship.caveat = Some(CaveatUse { name: "marked".to_owned(), context });
    relationship
}

/// Draws what a writer asks for next.
fn asking(rng: &mut Rng, writer: u64, name: &str, number: u64) -> Asking {
    let document = rng.below(DOCUMENTS);
    let own = |doing: Doing| {
        (0..VIEWERS)
            .map(move |n| (doing, marked(&format!("document:d{writer}x{document}#viewer@user:u{n}"), name)))
    };
    let slot = rng.below(SLOTS);
    let shared = |doing: Doing| (doing, marked(&format!("slot:s{slot}#holder@user:one"), name));
    let bundle = format!("bundle:b{}x{}", rng.below(2) * writer, rng.below(BUNDLES));
    let write = |updates: Vec<(Doing, Relationship)>| Asking::Write { updates, precondition: None };
    match rng.below(100) {
        0..30 => write(own(Doing::Touch).chain([shared(Doing::Touch)]).collect()),
        30..45 => write(own(Doing::Touch).chain([shared(Doing::Create)]).collect()),
        45..55 => write(own(Doing::Touch).chain([shared(Doing::Delete)]).collect()),
        55..60 => write(own(Doing::Delete).collect()),
        60..70 => Asking::Write {
            updates: own(Doing::Touch).collect(),
            precondition: Some((rng.chance(50), format!("slot:s{slot}"))),
        },
        70..80 => {
            let items = 1 + rng.below(40);
            Asking::Import((0..items).map(|n| marked(&format!("{bundle}#item@user:u{n}"), name)).collect())
        }
        80..90 => Asking::Clear(bundle),
        90..95 => write(vec![(Doing::Delete, marked("document:nobody#viewer@user:u0", name))]),
        // One writer, so that it is known whose schema stands.
        95..98 if writer == 0 => Asking::Schema(number),
        _ => write(vec![shared(Doing::Touch)]),
    }
}

/// Writes until the server is gone or it is over; returns what was asked and heard.
pub async fn write(
    address: String,
    seed: u64,
    writer: u64,
    life: u64,
    is_over: impl Fn() -> bool,
) -> Vec<Request> {
    let mut rng = Rng(seed ^ (life << 8) ^ writer);
    // The server may be gone already.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let Ok(channel) = endpoint.connect().await else { return Vec::new() };
    let mut permissions = PermissionsServiceClient::with_interceptor(channel.clone(), with_key);
    let mut schemas = SchemaServiceClient::with_interceptor(channel, with_key);
    let mut requests = Vec::new();
    for number in 0.. {
        let name = format!("life{life}w{writer}n{number}");
        let asking = asking(&mut rng, writer, &name, life * 10_000 + number);
        let metadata =
            Some(idhini_wire::context_message(Context::from_json(&format!(r#"{{"by":"{name}"}}"#)).unwrap()));
        let answer = async {
            match asking.clone() {
                Asking::Write { updates, precondition } => {
                    let request = v1::WriteRelationshipsRequest {
                        updates: updates.into_iter().map(update).collect(),
                        optional_preconditions: precondition.into_iter().map(precondition_of).collect(),
                        optional_transaction_metadata: metadata,
                    };
                    Ok(permissions.write_relationships(request).await?.into_inner().written_at)
                }
                Asking::Import(relationships) => {
                    let relationships = relationships.into_iter().map(Into::into).collect();
                    let messages = tokio_stream::iter([v1::ImportBulkRelationshipsRequest { relationships }]);
                    permissions.import_bulk_relationships(messages).await?;
                    Ok(None)
                }
                Asking::Clear(resource) => {
                    let request = v1::DeleteRelationshipsRequest {
                        relationship_filter: Some(filter_of(&resource)),
                        optional_transaction_metadata: metadata,
                        ..Default::default()
                    };
                    Ok(permissions.delete_relationships(request).await?.into_inner().deleted_at)
                }
                Asking::Schema(extra) => {
                    let request = v1::WriteSchemaRequest { schema: schema(extra) };
                    Ok(schemas.write_schema(request).await?.into_inner().written_at)
                }
            }
        };
        let heard = heard(tokio::time::timeout(PATIENCE, answer).await.unwrap());
        let is_gone = heard == Heard::Nothing;
        requests.push(Request { name, asking, heard });
        if is_gone || is_over() {
            break;
        }
    }
    requests
}

/// An import's answer has no token; it is acknowledged all the same.
fn heard(answer: Result<Option<v1::ZedToken>, Status>) -> Heard {
    match answer {
        Ok(token) => Heard::Acknowledged(token.map(|token| token.token).unwrap_or_default()),
        Err(status) => match status.code() {
            Code::AlreadyExists | Code::FailedPrecondition => Heard::Refused,
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => Heard::Nothing,
            _ => panic!("{status:?}"),
        },
    }
}

fn update((doing, relationship): (Doing, Relationship)) -> v1::RelationshipUpdate {
    use v1::relationship_update::Operation;
    let operation = match doing {
        Doing::Create => Operation::Create,
        Doing::Touch => Operation::Touch,
        Doing::Delete => Operation::Delete,
    };
    v1::RelationshipUpdate { operation: operation as i32, relationship: Some(relationship.into()) }
}

fn filter_of(resource: &str) -> v1::RelationshipFilter {
    let (resource_type, id) = resource.split_once(':').unwrap();
    v1::RelationshipFilter {
        resource_type: resource_type.to_owned(),
        optional_resource_id: id.to_owned(),
        ..Default::default()
    }
}

fn precondition_of((must, resource): (bool, String)) -> v1::Precondition {
    use v1::precondition::Operation;
    let operation = if must { Operation::MustMatch } else { Operation::MustNotMatch };
    v1::Precondition { operation: operation as i32, filter: Some(filter_of(&resource)) }
}
