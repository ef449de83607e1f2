//! The workload's questions with their right answers, as encoded requests.

use bytes::Bytes;
use clap::ValueEnum;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship;
use idhini_wire::authzed::api::v1::consistency::Requirement;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use prost::Message as _;

use crate::{Failure, Target};

/// Consistency of a question.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Consistency {
    /// `minimize_latency`.
    Min,
    /// `fully_consistent`.
    Full,
}

/// One check.
pub(crate) struct Check {
    pub(crate) resource: v1::ObjectReference,
    pub(crate) permission: String,
    pub(crate) subject: v1::SubjectReference,
    /// As the wire has it.
    pub(crate) permissionship: i32,
}

/// A request and what its answer has to say.
pub(crate) struct Encoded {
    pub(crate) request: Bytes,
    /// For a check.
    pub(crate) permissionship: Option<i32>,
}

impl Consistency {
    pub(crate) fn message(self) -> Option<v1::Consistency> {
        let requirement = match self {
            Consistency::Min => Requirement::MinimizeLatency(true),
            Consistency::Full => Requirement::FullyConsistent(true),
        };
        Some(v1::Consistency { requirement: Some(requirement) })
    }
}

pub(crate) fn read(target: &Target, name: &str) -> Result<String, Failure> {
    let path = target.dir.join(name);
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

pub(crate) fn object(text: &str) -> Result<v1::ObjectReference, Failure> {
    let (object_type, object_id) = text.split_once(':').ok_or_else(|| format!("cannot read `{text}`"))?;
    Ok(v1::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() })
}

pub(crate) fn subject(text: &str) -> Result<v1::SubjectReference, Failure> {
    let (text, relation) = text.split_once('#').unwrap_or((text, ""));
    Ok(v1::SubjectReference { object: Some(object(text)?), optional_relation: relation.to_owned() })
}

pub(crate) fn checks(target: &Target, set: &str) -> Result<Vec<Check>, Failure> {
    let check = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [resource, permission, of, granted] => {
            let permissionship = match granted {
                "1" => Permissionship::HasPermission,
                _ => Permissionship::NoPermission,
            };
            Ok(Check {
                resource: object(resource)?,
                permission: permission.to_owned(),
                subject: subject(of)?,
                permissionship: permissionship as i32,
            })
        }
        _ => Err(format!("cannot read `{line}`").into()),
    };
    read(target, &format!("checks_{set}.txt"))?.lines().map(check).collect()
}

pub(crate) fn encoded_checks(
    target: &Target,
    set: &str,
    consistency: Consistency,
) -> Result<Vec<Encoded>, Failure> {
    let encode = |check: Check| Encoded {
        request: Bytes::from(
            v1::CheckPermissionRequest {
                consistency: consistency.message(),
                resource: Some(check.resource),
                permission: check.permission,
                subject: Some(check.subject),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        permissionship: Some(check.permissionship),
    };
    Ok(checks(target, set)?.into_iter().map(encode).collect())
}

/// Single writes: a block of lines is touched and then deleted, so that the data ends nearly as it was, and so that no
/// delete can overtake its touch.
pub(crate) fn encoded_writes(target: &Target, file: &str) -> Result<Vec<Encoded>, Failure> {
    const BLOCK: usize = 500;
    let text = read(target, file)?;
    let relationships = text.lines().map(relationship).collect::<Result<Vec<_>, _>>()?;
    let mut requests = Vec::new();
    for block in relationships.chunks(BLOCK) {
        for operation in [Operation::Touch, Operation::Delete] {
            requests.extend(block.iter().map(|relationship| {
                let (operation, relationship) = (operation as i32, Some(relationship.clone()));
                let updates = vec![v1::RelationshipUpdate { operation, relationship }];
                let request = v1::WriteRelationshipsRequest { updates, ..Default::default() };
                Encoded { request: Bytes::from(request.encode_to_vec()), permissionship: None }
            }));
        }
    }
    Ok(requests)
}

fn relationship(line: &str) -> Result<v1::Relationship, Failure> {
    let parts = line.split_once('@').and_then(|(left, of)| Some((left.split_once('#')?, of)));
    let ((resource, relation), of) = parts.ok_or_else(|| format!("cannot read `{line}`"))?;
    Ok(v1::Relationship {
        resource: Some(object(resource)?),
        relation: relation.to_owned(),
        subject: Some(subject(of)?),
        ..Default::default()
    })
}
