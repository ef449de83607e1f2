//! Questions about one permission of one object: is it so, and how is it put together?

use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::algebraic_subject_set::Operation;
use idhini_wire::authzed::api::v1::permission_relationship_tree::TreeType;
use idhini_wire::context_message;

use super::{Asked, branch};
use crate::arguments::{Check, Expand};
use crate::client::Server;
use crate::failure::Failure;
use crate::output::{self, Verdict};

/// Deepest tree that is drawn.
const TREE_DEPTH_MAX: usize = 200;

pub(super) async fn check(asked: Asked<'_>, check: Check) -> Result<u8, Failure> {
    let (server, consistency) = Server::connect(asked.connection).await?.asked(&check.consistency);
    let question = format!("{}#{}@{}", check.resource, check.permission, check.subject);
    let request = v1::CheckPermissionRequest {
        consistency,
        resource: Some(check.resource.into()),
        permission: check.permission,
        subject: Some(check.subject.into()),
        context: check.context.map(context_message),
        with_tracing: check.explain,
    };
    let answer = server.permissions().check_permission(server.request(request)).await?.into_inner();
    let verdict = Verdict::of(answer.permissionship).ok_or(Failure::Answer { missing: "permissionship" })?;
    match asked.connection.json {
        true => output::message(&answer)?,
        false => output::check(&question, verdict, &answer, asked.style),
    }
    Ok(verdict.exit_status())
}

/// Either of the two arguments is the object: it is the one with a colon, which no permission's name has.
pub(super) async fn expand(asked: Asked<'_>, expand: Expand) -> Result<(), Failure> {
    let (resource, permission) = match (expand.resource.contains(':'), expand.permission.contains(':')) {
        (true, false) => (expand.resource, expand.permission),
        (false, true) => (expand.permission, expand.resource),
        _ => return Err(Failure::NoObject { first: expand.permission, second: expand.resource }),
    };
    let resource: idhini_model::ResourceRef = resource.parse()?;
    let (server, consistency) = Server::connect(asked.connection).await?.asked(&expand.consistency);
    let request =
        v1::ExpandPermissionTreeRequest { consistency, resource: Some(resource.into()), permission };
    let answer = server.permissions().expand_permission_tree(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    let root = answer.tree_root.ok_or(Failure::Answer { missing: "tree" })?;
    output::line(&label(&root));
    below(&root, "", 0);
    Ok(())
}

fn label(tree: &v1::PermissionRelationshipTree) -> String {
    let object = tree.expanded_object.clone().unwrap_or_default();
    let name = format!("{}:{}#{}", object.object_type, object.object_id, tree.expanded_relation);
    match &tree.tree_type {
        Some(TreeType::Intermediate(set)) => format!("{name}  {}", operation(set.operation())),
        Some(TreeType::Leaf(leaf)) if leaf.subjects.is_empty() => format!("{name}  nobody"),
        Some(TreeType::Leaf(_)) | None => name,
    }
}

fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Union => "any of",
        Operation::Intersection => "all of",
        Operation::Exclusion => "the first without the others",
        Operation::Unspecified => "",
    }
}

/// Recursion is bounded by `TREE_DEPTH_MAX`.
fn below(tree: &v1::PermissionRelationshipTree, indent: &str, depth: usize) {
    if depth >= TREE_DEPTH_MAX {
        return output::line(&format!("{indent}└─ …"));
    }
    match &tree.tree_type {
        Some(TreeType::Intermediate(set)) => {
            for (at, child) in set.children.iter().enumerate() {
                let (branch, stem) = branch(at, set.children.len());
                output::line(&format!("{indent}{branch}{}", label(child)));
                below(child, &format!("{indent}{stem}"), depth + 1);
            }
        }
        Some(TreeType::Leaf(leaf)) => {
            for (at, subject) in leaf.subjects.iter().enumerate() {
                let (branch, _) = branch(at, leaf.subjects.len());
                output::line(&format!("{indent}{branch}{}", subject_text(subject)));
            }
        }
        None => {}
    }
}

fn subject_text(subject: &v1::SubjectReference) -> String {
    let object = subject.object.clone().unwrap_or_default();
    let relation = match subject.optional_relation.as_str() {
        "" => String::new(),
        relation => format!("#{relation}"),
    };
    format!("{}:{}{relation}", object.object_type, object.object_id)
}
