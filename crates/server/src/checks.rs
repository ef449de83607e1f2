//! Check, bulk check and expand: one question or many, answered from one snapshot.

use idhini_engine::{
    Answer, Check, CheckBulk, EngineError, Expand, ExpandKind, ExpandTree, Limits, Permissionship, Progress,
    Question,
};
use idhini_model::{Context, ResourceRef, SubjectRef, Timestamp};
use idhini_replica::control::Right;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::ErrorReason;
use idhini_wire::{ELLIPSIS, timestamp_message};
use prost_types::Struct;
use tonic::{Code, Request, Response, Status};
use tracing::Instrument as _;

use crate::admission::expect_right;
use crate::audit::{self, answer_name};
use crate::deadline::{Deadline, FUEL};
use crate::pin::{Pinned, Shared, When, light};
use crate::refusal::Refusal;
use crate::requests;
use crate::single::is_long;
use crate::telemetry;
use crate::trace;

/// One question, with what it names.
pub(crate) struct Asked {
    pub(crate) resource: ResourceRef,
    pub(crate) permission: String,
    pub(crate) subject: SubjectRef,
    pub(crate) context: Context,
}

impl Asked {
    /// Of a request about one subject.
    pub(crate) fn of(
        resource: Option<v1::ObjectReference>,
        permission: String,
        subject: Option<v1::SubjectReference>,
        context: Option<Struct>,
    ) -> Result<Asked, Refusal> {
        Ok(Asked {
            resource: requests::required(resource, "resource")?.try_into()?,
            permission: requests::permission(permission)?,
            subject: requests::one_subject(subject, "subject.object_id", "check the permission")?,
            context: requests::context(context)?,
        })
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            resource: &self.resource,
            permission: &self.permission,
            subject: &self.subject,
            context: &self.context,
        }
    }
}

/// CheckPermission.
pub(crate) async fn check(
    shared: &Shared,
    request: Request<v1::CheckPermissionRequest>,
) -> Result<Response<v1::CheckPermissionResponse>, Status> {
    expect_tracing(&request, request.get_ref().with_tracing)?;
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let message = request.into_inner();
    let asked = Asked::of(message.resource, message.permission, message.subject, message.context)?;
    audit::noting(|recording| recording.question(&asked));
    let pinned = shared.pin(message.consistency, when).await?;
    let limits = shared.question_limits();
    let mut budget = message.with_tracing.then(trace::Budget::new);
    let Answered { answer, expires_at, debug_trace } =
        answer(&pinned, &asked, limits, budget.as_mut(), deadline, &mut 0).await?;
    audit::noting(|recording| recording.answered(answer.permissionship));
    Ok(Response::new(v1::CheckPermissionResponse {
        checked_at: pinned.zed_token(),
        permissionship: permissionship(answer.permissionship) as i32,
        partial_caveat_info: partial_caveat_info(&answer),
        debug_trace,
        optional_expires_at: expires_at.map(timestamp_message),
    }))
}

/// What led to an answer is made of relationships: whoever may not read those is not told.
fn expect_tracing<T>(request: &Request<T>, with_tracing: bool) -> Result<(), Refusal> {
    if with_tracing { expect_right(request, Right::Read) } else { Ok(()) }
}

/// An answer with what belongs to it.
struct Answered {
    answer: Answer,
    /// Until when it stays the same, unless something is written.
    expires_at: Option<Timestamp>,
    debug_trace: Option<v1::DebugInformation>,
}

/// Explained as far as the budget reaches; without one, or with one that is spent, there is no trace. A refusal to a
/// call that asks for traces has its own, however little there is left of the budget. What was spent is added to `spent`.
async fn answer(
    pinned: &Pinned,
    asked: &Asked,
    limits: Limits,
    budget: Option<&mut trace::Budget>,
    deadline: Deadline,
    spent: &mut u64,
) -> Result<Answered, Refusal> {
    let snapshot = pinned.snapshot(&asked.resource.object_type)?;
    let mut check = Check::open(snapshot, asked.question(), light(limits))?;
    let evaluating = async {
        match check.advance(FUEL) {
            Ok(Progress::Done(answer)) => return Ok(Ok(answer)),
            Err(error) if !is_long(&error) => return Ok(Err(error)),
            Ok(Progress::More) | Err(_) => {}
        }
        // It is asked anew where there is time for it.
        deadline.pause().await?;
        check = Check::open(snapshot, asked.question(), limits)?;
        deadline.drive_to(FUEL, |fuel| check.advance(fuel)).await
    };
    let answered = evaluating.instrument(telemetry::evaluation_span()).await;
    let cost = check.cost();
    telemetry::checked(cost);
    telemetry::used(check.closures());
    *spent += cost;
    let (answer, expires_at) = match (answered?, &budget) {
        (Ok(answer), _) => (answer, check.until()),
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(_)) => {
            let explanation = deadline.drive(|fuel| check.advance_explanation(fuel)).await;
            charge(spent, check.cost() - cost);
            let trace = trace::of_failure(&explanation?, snapshot.plans.schema(), &asked.subject);
            return Err(Refusal::from(error).with_trace(trace));
        }
    };
    let debug_trace = match budget.filter(|budget| !budget.is_spent()) {
        Some(budget) => {
            let explained = deadline.drive(|fuel| check.advance_explanation(fuel)).await;
            charge(spent, check.cost() - cost);
            let explanation = explained?;
            Some(trace::debug_information(&explanation, snapshot.plans.schema(), &asked.subject, budget))
        }
        None => None,
    };
    Ok(Answered { answer, expires_at, debug_trace })
}

/// What explaining took.
fn charge(spent: &mut u64, edges: u64) {
    telemetry::charge(edges);
    *spent += edges;
}

/// CheckBulkPermissions.
pub(crate) async fn check_bulk(
    shared: &Shared,
    request: Request<v1::CheckBulkPermissionsRequest>,
) -> Result<Response<v1::CheckBulkPermissionsResponse>, Status> {
    expect_tracing(&request, request.get_ref().with_tracing)?;
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let message = request.into_inner();
    let (count, max) = (message.items.len(), shared.limits.bulk_items_max);
    if count > max {
        return Err(Refusal::invalid(format!(
            "check count of {count} is greater than maximum allowed of {max}"
        ))
        .because(ErrorReason::TooManyChecksInRequest)
        .with("check_count", count)
        .with("maximum_checks_allowed", max)
        .into());
    }
    let items = message.items.into_iter().map(asked_in_bulk).collect::<Result<Vec<_>, _>>()?;
    let (asked, beside): (Vec<_>, Vec<_>) = items.into_iter().unzip();
    let pinned = shared.pin(message.consistency, when).await?;
    let mut pairs = Vec::with_capacity(count);
    let responses = match message.with_tracing {
        true => traced(shared, &pinned, &asked, deadline).await?,
        false => untraced(shared, &pinned, &asked, deadline).await?,
    };
    audit::noting(|recording| {
        let told =
            asked.iter().zip(&responses).map(|(asked, response)| item_text(asked, answer_of(response)));
        recording.note_all("questions", told);
    });
    for ((asked, beside), response) in asked.into_iter().zip(beside).zip(responses) {
        let request = Some(beside.item(asked));
        pairs.push(v1::CheckBulkPermissionsPair { request, response: Some(response) });
    }
    Ok(Response::new(v1::CheckBulkPermissionsResponse { checked_at: pinned.zed_token(), pairs }))
}

/// A question of several, and its answer.
pub(crate) fn item_text(asked: &Asked, answer: &str) -> String {
    let Asked { resource, permission, subject, .. } = asked;
    format!("{answer} {resource}#{permission}@{subject}")
}

fn answer_of(response: &BulkResponse) -> &'static str {
    use v1::check_permission_response::Permissionship as Wire;
    let BulkResponse::Item(item) = response else { return "error" };
    match item.permissionship() {
        Wire::HasPermission => answer_name(Permissionship::Has),
        Wire::ConditionalPermission => answer_name(Permissionship::Conditional),
        Wire::NoPermission | Wire::Unspecified => answer_name(Permissionship::No),
    }
}

pub(crate) type BulkResponse = v1::check_bulk_permissions_pair::Response;

async fn untraced(
    shared: &Shared,
    pinned: &Pinned,
    asked: &[Asked],
    deadline: Deadline,
) -> Result<Vec<BulkResponse>, Refusal> {
    let Some(snapshot) = pinned.published.snapshot(pinned.instant) else {
        let unknown =
            |a: &Asked| bulk_response(Err(Refusal::unknown_definition(&a.resource.object_type)), None);
        return Ok(asked.iter().map(unknown).collect());
    };
    let open = |limits| {
        let questions = asked.iter().map(Asked::question).collect();
        CheckBulk::open(snapshot, questions, limits).within(shared.limits.bulk_cost_max)
    };
    let mut bulk = open(light(shared.question_limits()));
    let answering = async {
        if let Progress::Done(answers) = bulk.advance(FUEL)
            && !answers.iter().any(|answer| answer.as_ref().is_err_and(is_long))
        {
            return Ok(answers);
        }
        // They are asked anew where there is time for it.
        deadline.pause().await?;
        bulk = open(shared.question_limits());
        deadline.drive(|fuel| Ok::<_, EngineError>(bulk.advance(fuel))).await
    };
    let answers = answering.instrument(telemetry::evaluation_span()).await;
    telemetry::charge(bulk.cost());
    telemetry::used(bulk.closures());
    let answers = answers?;
    Ok(answers.into_iter().map(|a| bulk_response(a.map_err(Refusal::from), None)).collect())
}

/// Explaining wants each item's own evaluation. The items share one budget of traces, and one of edges.
async fn traced(
    shared: &Shared,
    pinned: &Pinned,
    asked: &[Asked],
    deadline: Deadline,
) -> Result<Vec<BulkResponse>, Refusal> {
    let mut responses = Vec::with_capacity(asked.len());
    let mut budget = trace::Budget::new();
    let (limits, cost_max) = (shared.question_limits(), shared.limits.bulk_cost_max);
    let mut cost = 0;
    for asked in asked {
        if cost >= cost_max {
            responses.push(bulk_response(Err(EngineError::BulkBudget { cost_max }.into()), None));
            continue;
        }
        responses.push(match answer(pinned, asked, limits, Some(&mut budget), deadline, &mut cost).await {
            Ok(Answered { answer, debug_trace, .. }) => bulk_response(Ok(answer), debug_trace),
            Err(refusal) => bulk_response(Err(refusal), None),
        });
        deadline.pause().await?;
    }
    Ok(responses)
}

/// What an item of a bulk says that its question does not; with that it becomes the item again.
struct Beside {
    relation: Option<&'static str>,
    context: Option<Struct>,
}

fn asked_in_bulk(item: v1::CheckBulkPermissionsRequestItem) -> Result<(Asked, Beside), Refusal> {
    let relation = item.subject.as_ref().filter(|subject| subject.optional_relation == ELLIPSIS);
    let beside = Beside { relation: relation.map(|_| ELLIPSIS), context: item.context.clone() };
    let asked = Asked {
        resource: requests::required(item.resource, "items.resource")?.try_into()?,
        permission: requests::permission(item.permission)?,
        // A wildcard is that item's error, which the engine tells.
        subject: requests::required(item.subject, "items.subject")?.try_into()?,
        context: requests::context(item.context)?,
    };
    Ok((asked, beside))
}

impl Beside {
    fn item(self, asked: Asked) -> v1::CheckBulkPermissionsRequestItem {
        let mut subject = v1::SubjectReference::from(asked.subject);
        if let Some(relation) = self.relation {
            subject.optional_relation = relation.to_owned();
        }
        v1::CheckBulkPermissionsRequestItem {
            resource: Some(asked.resource.into()),
            permission: asked.permission,
            subject: Some(subject),
            context: self.context,
        }
    }
}

pub(crate) fn bulk_response(
    answer: Result<Answer, Refusal>,
    debug_trace: Option<v1::DebugInformation>,
) -> BulkResponse {
    match answer {
        Ok(answer) => BulkResponse::Item(v1::CheckBulkPermissionsResponseItem {
            permissionship: permissionship(answer.permissionship) as i32,
            partial_caveat_info: partial_caveat_info(&answer),
            debug_trace,
        }),
        Err(refusal) => BulkResponse::Error(refusal.into_message()),
    }
}

pub(crate) fn permissionship(value: Permissionship) -> v1::check_permission_response::Permissionship {
    use v1::check_permission_response::Permissionship as Wire;
    match value {
        Permissionship::No => Wire::NoPermission,
        Permissionship::Conditional => Wire::ConditionalPermission,
        Permissionship::Has => Wire::HasPermission,
    }
}

pub(crate) fn partial_caveat_info(answer: &Answer) -> Option<v1::PartialCaveatInfo> {
    (answer.permissionship == Permissionship::Conditional)
        .then(|| v1::PartialCaveatInfo { missing_required_context: answer.missing.iter().cloned().collect() })
}

/// ExpandPermissionTree.
pub(crate) async fn expand(
    shared: &Shared,
    request: Request<v1::ExpandPermissionTreeRequest>,
) -> Result<Response<v1::ExpandPermissionTreeResponse>, Status> {
    let when = When::of(request.metadata())?;
    let deadline = when.deadline;
    let message = request.into_inner();
    let resource: ResourceRef =
        requests::required(message.resource, "resource")?.try_into().map_err(Refusal::from)?;
    let permission = requests::permission(message.permission)?;
    let pinned = shared.pin(message.consistency, when).await?;
    audit::noting(|recording| {
        recording.about(&resource);
        recording.note("permission", &permission);
    });
    let limits = shared.question_limits();
    let snapshot = pinned.snapshot(&resource.object_type)?;
    let mut expand = Expand::open(snapshot, &resource, &permission, limits).map_err(Refusal::from)?;
    let expanding =
        deadline.drive(|fuel| expand.advance(fuel)).instrument(telemetry::evaluation_span()).await;
    telemetry::charge(expand.cost());
    let tree = expanding?;
    // A large tree takes a while to rewrite, so that is done where it holds nobody up. The task can only have panicked.
    let tree_root = tokio::task::spawn_blocking(move || expansion(tree)).await.map_err(|error| {
        telemetry::failed_because(|| Some(error.to_string()));
        Refusal::new(Code::Internal, "expanding failed inside the server")
    })?;
    let expanded_at = pinned.zed_token();
    Ok(Response::new(v1::ExpandPermissionTreeResponse { expanded_at, tree_root: Some(tree_root) }))
}

/// Recursion is bounded, as no tree has more levels than the engine's `EXPAND_DEPTH_MAX`, rules included.
fn expansion(tree: ExpandTree) -> v1::PermissionRelationshipTree {
    use v1::algebraic_subject_set::Operation;
    use v1::permission_relationship_tree::TreeType;
    let set = |operation: Operation, children: Vec<ExpandTree>| {
        TreeType::Intermediate(v1::AlgebraicSubjectSet {
            operation: operation as i32,
            children: children.into_iter().map(expansion).collect(),
        })
    };
    let tree_type = match tree.kind {
        ExpandKind::Leaf(subjects) => TreeType::Leaf(v1::DirectSubjectSet {
            subjects: subjects.into_iter().map(|s| s.subject.into()).collect(),
        }),
        ExpandKind::Union(children) => set(Operation::Union, children),
        ExpandKind::Intersection(children) => set(Operation::Intersection, children),
        ExpandKind::Exclusion(children) => set(Operation::Exclusion, children),
    };
    v1::PermissionRelationshipTree {
        expanded_object: Some(tree.resource.into()),
        expanded_relation: tree.member,
        tree_type: Some(tree_type),
    }
}
