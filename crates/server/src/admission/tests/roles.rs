//! Every call × every role.

use super::*;

/// The roles that may make a call, as users read it in the documentation.
fn roles_of(service: &str, call: &str) -> Option<&'static [Role]> {
    use Role::{Admin, Checker, Reader, SchemaWriter, Writer};
    const ALL: &[Role] = &Role::ALL;
    Some(match (service, call) {
        ("idhini.v1.NamespaceService" | "idhini.v1.AccessService", _) => ALL,
        ("idhini.admin.v1.AdminService", _) => &[Admin],
        ("grpc.health.v1.Health", _) => return None,
        (reflection, _) if reflection.starts_with("grpc.reflection.") => return None,
        (_, "WriteSchema") => &[Admin, SchemaWriter],
        (
            _,
            "ReadSchema"
            | "ReflectSchema"
            | "ComputablePermissions"
            | "DependentRelations"
            | "DiffSchema"
            | "ExperimentalReflectSchema"
            | "ExperimentalComputablePermissions"
            | "ExperimentalDependentRelations"
            | "ExperimentalDiffSchema",
        ) => &[Admin, SchemaWriter, Writer, Reader],
        (
            _,
            "WriteRelationships"
            | "DeleteRelationships"
            | "ImportBulkRelationships"
            | "BulkImportRelationships"
            | "SetRelation"
            | "ExperimentalRegisterRelationshipCounter"
            | "ExperimentalUnregisterRelationshipCounter",
        ) => &[Admin, Writer],
        (
            _,
            "ReadRelationships"
            | "ExportBulkRelationships"
            | "BulkExportRelationships"
            | "ExperimentalCountRelationships"
            | "ExpandPermissionTree"
            | "Explain"
            | "Watch"
            | "ReadChanges",
        ) => &[Admin, Writer, Reader],
        (
            _,
            "CheckPermission"
            | "CheckBulkPermissions"
            | "BulkCheckPermission"
            | "CheckStream"
            | "LookupResources"
            | "LookupSubjects",
        ) => &[Admin, Writer, Reader, Checker],
        other => panic!("{other:?} is not in this table"),
    })
}

#[tokio::test]
async fn every_role_may_make_its_calls_and_no_others() {
    let world = World::new().await;
    world.create("a", "1").await;
    let name = |role: Role, home: &str| format!("{}_{home}", role.as_str());
    for role in Role::ALL {
        for home in ["root", "a"] {
            world.token(&name(role, home), home, &[role], None).await;
        }
    }
    world.token("none", "a", &[], None).await;
    for (at, row) in world.options.telemetry.rows().iter().enumerate().skip(1) {
        let what = format!("{}/{}", row.service, row.call);
        let access = world.admission.kind(at).unwrap().access;
        let roles = roles_of(&row.service, &row.call);
        let may = async |token: &str, at: Option<&str>| world.call(token, at, access).await.is_ok();
        for role in Role::ALL {
            let wanted = roles.is_none_or(|roles| roles.contains(&role));
            assert_eq!(may(&name(role, "root"), None).await, wanted, "{what} by {role:?}");
            // What is about everything is not for a namespace's own people.
            let is_about_all = row.service == "idhini.admin.v1.AdminService";
            assert_eq!(may(&name(role, "a"), None).await, wanted && !is_about_all, "{what} by {role:?} of a");
            // Roles hold for what is below, and for nothing above or beside.
            assert_eq!(
                may(&name(role, "root"), Some("a")).await,
                wanted && !is_about_all,
                "{what} by {role:?}"
            );
            let is_open = access == Access::Open;
            assert_eq!(may(&name(role, "a"), Some("root")).await, is_open, "{what} by {role:?} of a");
        }
        let is_for_all = access == Access::Own || access == Access::Open;
        assert_eq!(may("none", None).await, is_for_all, "{what} by a token without a role");
        assert_eq!(may("none", Some("a")).await, is_for_all, "{what} by one that names its home");
    }
}

#[tokio::test]
async fn what_led_to_an_answer_is_told_to_readers_only() {
    let world = World::new().await;
    for role in [Role::Checker, Role::Reader] {
        world.token(role.as_str(), "root", &[role], None).await;
        let entry = world.call(role.as_str(), None, CHECK).await.unwrap();
        let mut request = Request::new(());
        entry.put_into(request.extensions_mut(), None);
        assert_eq!(expect_right(&request, Right::Read).is_ok(), role == Role::Reader);
    }
    assert!(expect_right(&Request::new(()), Right::Read).is_err(), "a call that was not let in");
}
