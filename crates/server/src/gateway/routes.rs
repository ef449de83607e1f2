//! Which path stands for which call? As `google.api.http` has it in the published contract.

use std::collections::HashMap;
use std::sync::OnceLock;

use idhini_wire::{Described, FILE_DESCRIPTOR_SET};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Status;

const PACKAGE: &str = "authzed.api.v1";

/// Path below `/v1/`, service, call.
const PATHS: [(&str, &str, &str); 27] = [
    ("relationships/read", "PermissionsService", "ReadRelationships"),
    ("relationships/write", "PermissionsService", "WriteRelationships"),
    ("relationships/delete", "PermissionsService", "DeleteRelationships"),
    ("permissions/check", "PermissionsService", "CheckPermission"),
    ("permissions/checkbulk", "PermissionsService", "CheckBulkPermissions"),
    ("permissions/expand", "PermissionsService", "ExpandPermissionTree"),
    ("permissions/resources", "PermissionsService", "LookupResources"),
    ("permissions/subjects", "PermissionsService", "LookupSubjects"),
    ("relationships/importbulk", "PermissionsService", "ImportBulkRelationships"),
    ("relationships/exportbulk", "PermissionsService", "ExportBulkRelationships"),
    ("schema/read", "SchemaService", "ReadSchema"),
    ("schema/write", "SchemaService", "WriteSchema"),
    ("schema/reflectschema", "SchemaService", "ReflectSchema"),
    ("schema/permissions/computable", "SchemaService", "ComputablePermissions"),
    ("schema/permissions/dependent", "SchemaService", "DependentRelations"),
    ("schema/diffschema", "SchemaService", "DiffSchema"),
    ("watch", "WatchService", "Watch"),
    ("experimental/relationships/bulkimport", "ExperimentalService", "BulkImportRelationships"),
    ("experimental/relationships/bulkexport", "ExperimentalService", "BulkExportRelationships"),
    ("experimental/permissions/bulkcheckpermission", "ExperimentalService", "BulkCheckPermission"),
    ("experimental/reflectschema", "ExperimentalService", "ExperimentalReflectSchema"),
    ("experimental/permissions/computable", "ExperimentalService", "ExperimentalComputablePermissions"),
    ("experimental/permissions/dependent", "ExperimentalService", "ExperimentalDependentRelations"),
    ("experimental/diffschema", "ExperimentalService", "ExperimentalDiffSchema"),
    (
        "experimental/registerrelationshipcounter",
        "ExperimentalService",
        "ExperimentalRegisterRelationshipCounter",
    ),
    ("experimental/countrelationships", "ExperimentalService", "ExperimentalCountRelationships"),
    (
        "experimental/unregisterrelationshipcounter",
        "ExperimentalService",
        "ExperimentalUnregisterRelationshipCounter",
    ),
];

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// Service and call, as gRPC's paths have them.
    pub(super) call: String,
    pub(super) request: Described,
    pub(super) response: Described,
    pub(super) takes_stream: bool,
    pub(super) answers_stream: bool,
}

/// The call of a path below `/v1/`.
pub(super) fn find(path: &str) -> Option<Route> {
    static ROUTES: OnceLock<HashMap<String, Route>> = OnceLock::new();
    let routes = ROUTES.get_or_init(|| described().unwrap_or_default());
    routes.get(path).cloned()
}

/// What is said of a path without a call.
pub(super) fn unknown(path: &str) -> Status {
    Status::not_found(format!(
        "no call is at `{}`; they are at /v1/…, such as /v1/permissions/check",
        path.escape_default()
    ))
}

/// Every path with what its call takes and answers; none if the descriptors are of another contract.
fn described() -> Option<HashMap<String, Route>> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).ok()?;
    let services = || set.file.iter().filter(|file| file.package() == PACKAGE).flat_map(|file| &file.service);
    let mut routes = HashMap::new();
    for (path, service, call) in PATHS {
        let service = services().find(|s| s.name() == service)?;
        let method = service.method.iter().find(|m| m.name() == call)?;
        let route = Route {
            call: format!("{PACKAGE}.{}/{call}", service.name()),
            request: Described::named(method.input_type().trim_start_matches('.')).ok()?,
            response: Described::named(method.output_type().trim_start_matches('.')).ok()?,
            takes_stream: method.client_streaming(),
            answers_stream: method.server_streaming(),
        };
        routes.insert(path.to_owned(), route);
    }
    Some(routes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_path_is_the_end_of_another() {
        for (path, ..) in PATHS {
            let end = format!("/{path}");
            assert!(!PATHS.iter().any(|(other, ..)| other.ends_with(&end)), "{path}");
        }
    }

    #[test]
    fn every_call_of_the_contract_has_one_path() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let contract = set.file.iter().filter(|file| file.package() == PACKAGE);
        let all: BTreeSet<String> = contract
            .flat_map(|file| &file.service)
            .flat_map(|service| {
                service.method.iter().map(|method| format!("{PACKAGE}.{}/{}", service.name(), method.name()))
            })
            .collect();
        let routes = described().unwrap();
        assert_eq!(routes.len(), PATHS.len());
        assert_eq!(routes.into_values().map(|route| route.call).collect::<BTreeSet<_>>(), all);
    }
}
