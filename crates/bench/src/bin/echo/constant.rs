//! What is answered, always: tokens, cursors and ids as long as idhini's on the workload of the load kit.

use idhini_wire::authzed::api::v1;

/// 50 sealed bytes.
const TOKEN: &str = "AQGzRnSWX1QDdKQdjrMAAAAAs0Z0ll9UA3QAAAAAAAAB9KQdjrOzRnSWX1QDdKQdjrM";
/// 87 sealed bytes.
const CURSOR: &str = "AAQKzRnSWX1QDdKQdjrMAAAAAs0Z0ll9UA3QAAAAAAAAB9KQdjrOzRnSWX1QDdKQdjrMAAAAAZStSACPD1wAAAAAAAAAD6KQdjrOzRnSWX1QDdKQdjrM";
// As idhini's are in base 64.
const _: () = assert!(TOKEN.len() == 67 && CURSOR.len() == 116);
const DOCUMENT: &str = "d136419";
const USER: &str = "u36356";

pub(crate) fn token() -> Option<v1::ZedToken> {
    Some(v1::ZedToken { token: TOKEN.to_owned() })
}

fn cursor() -> Option<v1::Cursor> {
    Some(v1::Cursor { token: CURSOR.to_owned() })
}

pub(crate) fn check() -> v1::CheckPermissionResponse {
    v1::CheckPermissionResponse { checked_at: token(), permissionship: HAS, ..Default::default() }
}

pub(crate) const HAS: i32 = v1::check_permission_response::Permissionship::HasPermission as i32;
const FOUND: i32 = v1::LookupPermissionship::HasPermission as i32;

pub(crate) fn resource() -> v1::LookupResourcesResponse {
    v1::LookupResourcesResponse {
        looked_up_at: token(),
        resource_object_id: DOCUMENT.to_owned(),
        permissionship: FOUND,
        partial_caveat_info: None,
        after_result_cursor: cursor(),
    }
}

#[allow(deprecated, reason = "idhini fills in what old clients read, too")]
pub(crate) fn subject() -> v1::LookupSubjectsResponse {
    v1::LookupSubjectsResponse {
        looked_up_at: token(),
        subject_object_id: USER.to_owned(),
        permissionship: FOUND,
        subject: Some(v1::ResolvedSubject {
            subject_object_id: USER.to_owned(),
            permissionship: FOUND,
            partial_caveat_info: None,
        }),
        after_result_cursor: cursor(),
        ..Default::default()
    }
}
