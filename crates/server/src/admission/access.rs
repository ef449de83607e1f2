//! What does a call need? A table of all calls: the right that its caller must have, and whether it changes something.
//!
//! # Invariants
//! * A call that is not in the table is answered to nobody.
//!
//! Cost: one look-up by the number of the call's row.

use idhini_replica::control::Right;

use crate::quotas::Counts;
use crate::telemetry::Row;

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: it tells nothing of what is stored.
    Open,
    /// A known caller; whoever answers it judges the rest by the paths and accessors that the request names.
    Own,
    /// A right in the namespace that it is about.
    Namespace {
        right: Right,
        /// Whether it changes something there.
        is_change: bool,
    },
    /// To administer everything: it is about all namespaces.
    Server,
}

/// What is known of a kind of call before one comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) access: Access,
    pub(crate) takes_stream: bool,
    pub(crate) answers_stream: bool,
    /// How it counts at the meters of its namespace and caller; not at all what has to be answered however much was asked.
    pub(crate) counts: Option<Counts>,
}

const fn reads(right: Right) -> Access {
    Access::Namespace { right, is_change: false }
}

const fn changes(right: Right) -> Access {
    Access::Namespace { right, is_change: true }
}

impl Kind {
    /// Of a row of all calls; there is none of what is no call.
    pub(crate) fn of(row: &Row) -> Option<Kind> {
        let access = access(&row.service, &row.call)?;
        let counts = counts(access, row);
        Some(Kind { access, takes_stream: row.takes_stream, answers_stream: row.answers_stream, counts })
    }

    /// Whether what it answers tells who may do what.
    pub(crate) fn is_decision(self) -> bool {
        matches!(self.access, Access::Namespace { right: Right::Check | Right::Read, is_change: false })
    }

    /// Whether it changes something in its namespace.
    pub(crate) fn is_change(self) -> bool {
        matches!(self.access, Access::Namespace { is_change: true, .. })
    }

    /// Whether its answer says what was done, so that it is given also when that ended its caller's own right to ask: a
    /// token that revokes itself hears that it did.
    pub(crate) fn tells_what_was_done(self) -> bool {
        self.is_change() || self.access == Access::Own
    }
}

/// What ends a misuse: it is done also while the quotas of a namespace are used up.
const URGENT: [&str; 5] = ["LockNamespace", "UnlockNamespace", "ReadLock", "RevokeToken", "Revoke"];

/// Who administrates the server is not a tenant.
fn counts(access: Access, row: &Row) -> Option<Counts> {
    match access {
        Access::Open | Access::Server => None,
        Access::Own if URGENT.contains(&row.call.as_str()) => Some(Counts::Urgent),
        Access::Namespace { .. } if row.is_watch() => Some(Counts::Watch),
        Access::Own | Access::Namespace { .. } => Some(Counts::Call),
    }
}

fn access(service: &str, call: &str) -> Option<Access> {
    Some(match service {
        "grpc.health.v1.Health"
        | "grpc.reflection.v1.ServerReflection"
        | "grpc.reflection.v1alpha.ServerReflection" => Access::Open,
        "idhini.v1.NamespaceService" | "idhini.v1.AccessService" => Access::Own,
        "idhini.admin.v1.AdminService" => Access::Server,
        "authzed.api.v1.PermissionsService" | "idhini.v1.PermissionsService" => permissions(call)?,
        "authzed.api.v1.SchemaService" => schema(call)?,
        "authzed.api.v1.ExperimentalService" => experimental(call)?,
        "authzed.api.v1.WatchService" if call == "Watch" => reads(Right::Read),
        "idhini.v1.HistoryService" if call == "ReadChanges" => reads(Right::Read),
        _ => return None,
    })
}

fn permissions(call: &str) -> Option<Access> {
    Some(match call {
        "CheckPermission" | "CheckBulkPermissions" | "CheckStream" | "LookupResources" | "LookupSubjects" => {
            reads(Right::Check)
        }
        // What these tell is made of relationships.
        "ReadRelationships" | "ExportBulkRelationships" | "ExpandPermissionTree" | "Explain" => {
            reads(Right::Read)
        }
        "WriteRelationships" | "DeleteRelationships" | "ImportBulkRelationships" | "SetRelation" => {
            changes(Right::Write)
        }
        _ => return None,
    })
}

fn schema(call: &str) -> Option<Access> {
    Some(match call {
        "ReadSchema" | "ReflectSchema" | "ComputablePermissions" | "DependentRelations" | "DiffSchema" => {
            reads(Right::ReadSchema)
        }
        "WriteSchema" => changes(Right::WriteSchema),
        _ => return None,
    })
}

fn experimental(call: &str) -> Option<Access> {
    Some(match call {
        "BulkImportRelationships" => changes(Right::Write),
        "BulkExportRelationships" | "ExperimentalCountRelationships" => reads(Right::Read),
        "BulkCheckPermission" => reads(Right::Check),
        "ExperimentalReflectSchema"
        | "ExperimentalComputablePermissions"
        | "ExperimentalDependentRelations"
        | "ExperimentalDiffSchema" => reads(Right::ReadSchema),
        "ExperimentalRegisterRelationshipCounter" | "ExperimentalUnregisterRelationshipCounter" => {
            changes(Right::Write)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Telemetry;

    #[test]
    fn every_call_that_is_described_is_in_the_table() {
        let telemetry = Telemetry::new(None);
        let rows = telemetry.rows();
        assert!(Kind::of(&rows[0]).is_none(), "the row of what is no call");
        for row in &rows[1..] {
            assert!(Kind::of(row).is_some(), "{}/{}", row.service, row.call);
        }
    }

    #[test]
    fn health_runs_through_no_meter_locks_through_their_callers_and_everything_else_through_all() {
        for row in Telemetry::new(None).rows().iter().skip(1) {
            let is_free = row.service.starts_with("grpc.") || row.service == "idhini.admin.v1.AdminService";
            let is_urgent = (row.service == "idhini.v1.NamespaceService"
                && row.call.ends_with("ockNamespace"))
                || ["ReadLock", "RevokeToken", "Revoke"].contains(&row.call.as_str());
            let counts = Kind::of(row).unwrap().counts;
            assert_eq!(counts.is_none(), is_free, "{}/{}", row.service, row.call);
            assert_eq!(counts == Some(Counts::Urgent), is_urgent, "{}/{}", row.service, row.call);
            assert_eq!(counts == Some(Counts::Watch), row.call == "Watch" && !is_free, "{}", row.call);
        }
    }

    #[test]
    fn nothing_that_writes_is_taken_for_a_reading() {
        for row in Telemetry::new(None).rows().iter().skip(1) {
            let kind = Kind::of(row).unwrap();
            let is_of_data = matches!(kind.access, Access::Namespace { .. });
            let writes = ["Write", "Delete", "Import", "Set", "Register", "Unregister"];
            let name = row.call.trim_start_matches("Experimental").trim_start_matches("Bulk");
            let sounds_so = writes.iter().any(|verb| name.starts_with(verb));
            assert_eq!(kind.is_change(), is_of_data && sounds_so, "{}/{}", row.service, row.call);
        }
    }
}
