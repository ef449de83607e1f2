//! Explain: a check's answer, its trace, and the relationships that it rests on.
//!
//! # Invariants
//! * Whatever can be checked can be explained: what is too large, or too costly to explain, is left out, and that is said.
//! * The trace is bounded as that of CheckPermission; the grounds by [`GROUNDS_MAX`] and [`GROUNDS_BYTES_MAX`], and a long
//!   schema is not repeated, so that clients take the answer.

use std::collections::HashMap;

use idhini_engine::{Check, ExplainedEdge, ExplainedRule, Explanation, Permissionship, RuleKind};
use idhini_model::{ResourceRef, SubjectRef};
use idhini_wire::authzed::api::v1::DebugInformation;
use idhini_wire::authzed::api::v1::check_permission_response::Permissionship as WirePermissionship;
use idhini_wire::idhini::v1;
use idhini_wire::timestamp_message;
use prost::Message as _;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::audit;
use crate::checks::{Asked, partial_caveat_info, permissionship};
use crate::pin::{Shared, When};
use crate::refusal::Refusal;
use crate::telemetry;
use crate::trace;

/// The most grounds of one answer.
const GROUNDS_MAX: usize = 1_000;
/// About the most bytes of them.
const GROUNDS_BYTES_MAX: usize = 1 << 20;
/// The nesting of a ground, in traces.
const GROUND_DEPTH: usize = 1;

/// Explain.
pub(crate) async fn explain(
    shared: &Shared,
    request: Request<v1::ExplainRequest>,
) -> Result<Response<v1::ExplainResponse>, Status> {
    let when = When::of(request.metadata())?;
    let message = request.into_inner();
    let when = when.asking_of(message.optional_as_of)?;
    let asked = Asked::of(message.resource, message.permission, message.subject, message.context)?;
    audit::noting(|recording| recording.question(&asked));
    let pinned = shared.pin(message.consistency, when).await?;
    let snapshot = pinned.snapshot(&asked.resource.object_type)?;
    let mut check =
        Check::open(snapshot, asked.question(), shared.question_limits()).map_err(Refusal::from)?;
    let answered =
        when.deadline.drive(|fuel| check.advance(fuel)).instrument(telemetry::evaluation_span()).await;
    telemetry::charge(check.cost());
    telemetry::used(check.closures());
    let answer = answered?;
    audit::noting(|recording| recording.answered(answer.permissionship));
    let expires_at = check.until();
    let cost = check.cost();
    // Where the budget ends it is cut; the answer stands.
    let explanation = when.deadline.drive(|fuel| check.advance_explanation(fuel)).await;
    telemetry::charge(check.cost().saturating_sub(cost));
    let explanation = explanation?;
    let schema = snapshot.plans.schema();
    let mut budget = trace::Budget::new();
    let trace = trace::debug_information(&explanation, schema, &asked.subject, &mut budget);
    let Told { trace, grounds, is_truncated } = Told::of(&explanation, trace, budget.is_cut());
    Ok(Response::new(v1::ExplainResponse {
        checked_at: pinned.zed_token(),
        permissionship: permissionship(answer.permissionship) as i32,
        partial_caveat_info: partial_caveat_info(&answer),
        debug_trace: Some(trace),
        grounds,
        is_truncated,
        optional_expires_at: expires_at.map(timestamp_message),
    }))
}

/// What is told of an explanation.
struct Told {
    trace: DebugInformation,
    grounds: Vec<v1::Ground>,
    is_truncated: bool,
}

impl Told {
    fn of(explanation: &Explanation, trace: DebugInformation, is_trace_cut: bool) -> Told {
        let mut listing = Listing { is_whole: !explanation.is_truncated, ..Listing::default() };
        explanation.goals.iter().for_each(|goal| listing.rule(&goal.rule));
        Told {
            trace,
            is_truncated: is_trace_cut || !listing.is_whole || listing.is_cut,
            grounds: listing.grounds,
        }
    }
}

/// The relationships of an explanation being listed.
#[derive(Default)]
struct Listing<'e> {
    grounds: Vec<v1::Ground>,
    bytes: usize,
    /// Where a relationship stands among them, and what it contributes.
    seen: HashMap<(&'e ResourceRef, &'e str, &'e SubjectRef), (usize, Option<Permissionship>)>,
    /// Whether there was no room for some.
    is_cut: bool,
    /// Whether the explanation has all that the answer rests on.
    is_whole: bool,
}

impl<'e> Listing<'e> {
    /// Recursion follows the schema's nesting, which the parser bounds.
    fn rule(&mut self, rule: &'e ExplainedRule) {
        match &rule.kind {
            RuleKind::Nil | RuleKind::SelfObject | RuleKind::IsSubject | RuleKind::Goal(_) => {}
            RuleKind::Relation(edges) | RuleKind::Arrow { edges, .. } => {
                self.is_whole &= edges.omitted == 0;
                edges.edges.iter().for_each(|edge| self.edge(edge));
            }
            RuleKind::Union(parts) | RuleKind::Intersection(parts) => {
                parts.iter().for_each(|part| self.rule(part));
            }
            RuleKind::Exclusion { base, excluded } => {
                [base, excluded].into_iter().flatten().for_each(|part| self.rule(part));
            }
        }
    }

    fn edge(&mut self, edge: &'e ExplainedEdge) {
        let relationship = &edge.relationship;
        let identity = (&relationship.resource, relationship.relation.as_str(), &relationship.subject);
        if let Some((at, contributes)) = self.seen.get_mut(&identity) {
            // Followed to several members: what it contributes at most.
            if edge.permissionship > *contributes {
                *contributes = edge.permissionship;
                self.grounds[*at].permissionship = value(edge.permissionship) as i32;
            }
            return;
        }
        if self.grounds.len() >= GROUNDS_MAX || self.bytes >= GROUNDS_BYTES_MAX {
            self.is_cut = true;
            return;
        }
        let ground = v1::Ground {
            relationship: Some(relationship.clone().into()),
            permissionship: value(edge.permissionship) as i32,
            caveat: edge.condition.as_ref().map(|condition| trace::condition(condition, GROUND_DEPTH)),
        };
        self.bytes += ground.encoded_len();
        self.seen.insert(identity, (self.grounds.len(), edge.permissionship));
        self.grounds.push(ground);
    }
}

fn value(of: Option<Permissionship>) -> WirePermissionship {
    of.map_or(WirePermissionship::Unspecified, permissionship)
}
