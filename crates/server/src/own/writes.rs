//! Writes with checks as preconditions, and relations set as a whole.

use idhini_replica::{Member, PermissionQuestion, Precondition, SetRelation};
use idhini_wire::authzed::api::v1 as authzed;
use idhini_wire::authzed::api::v1::ErrorReason;
use idhini_wire::idhini::v1;
use idhini_wire::member_name;
use tonic::{Request, Response, Status};

use crate::audit::Change;
use crate::checks::Asked;
use crate::options::Limits;
use crate::pin::Shared;
use crate::refusal::Refusal;
use crate::{relationships, requests};

/// WriteRelationships.
pub(crate) async fn write(
    shared: &Shared,
    request: Request<v1::WriteRelationshipsRequest>,
) -> Result<Response<v1::WriteRelationshipsResponse>, Status> {
    let change = Change::of(&request);
    let v1::WriteRelationshipsRequest {
        updates,
        optional_preconditions,
        optional_transaction_metadata,
        optional_permission_preconditions: checks,
    } = request.into_inner();
    requests::preconditions_within(optional_preconditions.len() + checks.len(), &shared.limits)?;
    let message =
        authzed::WriteRelationshipsRequest { updates, optional_preconditions, optional_transaction_metadata };
    let mut write = requests::write(message, &shared.limits)?;
    for check in checks {
        write.preconditions.push(permission_precondition(check)?);
    }
    let revision = relationships::written(shared, change, write).await?;
    Ok(Response::new(v1::WriteRelationshipsResponse { written_at: shared.token(revision) }))
}

/// SetRelation.
pub(crate) async fn set_relation(
    shared: &Shared,
    request: Request<v1::SetRelationRequest>,
) -> Result<Response<v1::SetRelationResponse>, Status> {
    let change = Change::of(&request);
    let set = asked(request.into_inner(), &shared.limits)?;
    let change = change.noting(|recording| {
        recording.about(&set.resource);
        recording.note("relation", &set.relation);
        recording.note_all("subjects", set.members.iter().map(|member| member.subject.to_string()));
    });
    let set =
        change.make(|wanted| shared.namespace.set_relation(set, wanted), |set| Some(set.revision)).await?;
    Ok(Response::new(v1::SetRelationResponse {
        written_at: shared.token(set.revision),
        created_count: set.tally.created,
        replaced_count: set.tally.replaced,
        deleted_count: set.tally.deleted,
    }))
}

fn asked(message: v1::SetRelationRequest, limits: &Limits) -> Result<SetRelation, Refusal> {
    requests::updates_within(message.subjects.len(), "SetRelation", limits)?;
    let checks = message.optional_permission_preconditions;
    requests::preconditions_within(message.optional_preconditions.len() + checks.len(), limits)?;
    let resource = requests::required(message.resource, "resource")?;
    let relation = member_name(message.relation, "relation")?;
    let member = |of: v1::RelationSubject| {
        let relationship = authzed::Relationship {
            resource: Some(resource.clone()),
            relation: relation.clone(),
            subject: of.subject,
            optional_caveat: of.optional_caveat,
            optional_expires_at: of.optional_expires_at,
        };
        let relationship = requests::relationship(relationship, limits)?;
        let (subject, caveat, expires_at) =
            (relationship.subject, relationship.caveat, relationship.expires_at);
        Ok(Member { subject, caveat, expires_at })
    };
    let members = message.subjects.into_iter().map(member).collect::<Result<_, Refusal>>()?;
    let mut preconditions = requests::preconditions(message.optional_preconditions, limits)?;
    for check in checks {
        preconditions.push(permission_precondition(check)?);
    }
    let metadata = requests::metadata(message.optional_transaction_metadata)?;
    let (resource, changes_max) = (resource.try_into()?, limits.updates_max);
    Ok(SetRelation { resource, relation, members, preconditions, changes_max, metadata })
}

fn permission_precondition(message: v1::PermissionPrecondition) -> Result<Precondition, Refusal> {
    use v1::permission_precondition::Operation;
    let of = match message.operation() {
        Operation::MustHave => Precondition::MustHave,
        Operation::MustNotHave => Precondition::MustNotHave,
        Operation::Unspecified => {
            return Err(Refusal::invalid(
                "a permission precondition has no operation: MUST_NOT_HAVE (1) or MUST_HAVE (2)",
            )
            .because(ErrorReason::EmptyPrecondition));
        }
    };
    let Asked { resource, permission, subject, context } =
        Asked::of(message.resource, message.permission, message.subject, message.context)?;
    Ok(of(PermissionQuestion { resource, permission, subject, context }))
}
