//! Two tenants, and what they have.

use std::collections::HashMap;
use std::path::Path;

use idhini_wire::authzed::api::v1;
use idhini_wire::idhini::v1 as own;
use prost::Message as _;
use serde_json::json;

use crate::calling::{Caller, PERMISSIONS, SCHEMAS, encoded, path};
use crate::{Failure, quiet};

pub(crate) const QUIET: &str = "quiet";
pub(crate) const NOISY: &str = "noisy";
pub(crate) const QUIET_DOCUMENTS: usize = 2_000;
/// Of which one user finds so many.
const FOUND_DOCUMENTS: usize = 100;
/// Namespaces below the neighbour's.
const CHILDREN: usize = 8;
/// What one user of the noisy tenant reaches.
const NOISY_DOCUMENTS: usize = 100_000;
/// Revisions behind the neighbour's newest.
const OLD_REVISIONS: usize = 1_500;
const UPDATES_OF_EACH: usize = 50;
/// Documents that a costly condition guards, and how many each.
pub(crate) const GUARDED: usize = 20;
const CONDITIONS_OF_EACH: usize = 20;
/// So many numbers, each compared with each: as many steps as one evaluation may take.
const NUMBERS: usize = 150;

pub(crate) const SCHEMA: &str = r"
caveat costly(numbers list<int>, given int) {
  numbers.all(x, numbers.all(y, x + y != given))
}
definition user {}
definition group {
  relation member: user | group#member
}
definition document {
  relation viewer: user | group#member | user with costly
  relation banned: user
  permission view = viewer - banned
}
";

/// One of the namespaces below the neighbour's.
pub(crate) fn child(number: usize) -> String {
    format!("{NOISY}/c{}", number % CHILDREN)
}

/// A question about one of the documents of a tenant.
pub(crate) fn check(document: usize, by: &str) -> v1::CheckPermissionRequest {
    v1::CheckPermissionRequest {
        resource: object(&format!("document:d{document}")),
        permission: "view".to_owned(),
        subject: subject(by),
        ..Default::default()
    }
}

pub(crate) fn object(text: &str) -> Option<v1::ObjectReference> {
    let (object_type, object_id) = text.split_once(':')?;
    Some(v1::ObjectReference { object_type: object_type.to_owned(), object_id: object_id.to_owned() })
}

pub(crate) fn subject(text: &str) -> Option<v1::SubjectReference> {
    let (of, relation) = text.split_once('#').unwrap_or((text, ""));
    Some(v1::SubjectReference { object: object(of), optional_relation: relation.to_owned() })
}

pub(crate) fn relationship(resource: &str, relation: &str, by: &str) -> v1::Relationship {
    v1::Relationship {
        resource: object(resource),
        relation: relation.to_owned(),
        subject: subject(by),
        ..Default::default()
    }
}

/// Makes both tenants; what the neighbour has to know is written to a file.
pub(crate) async fn make(address: &str, world: &Path) -> Result<(), Failure> {
    let mut root = Caller::connect(address, "root").await?;
    let children = (0..CHILDREN).map(child);
    for path_of in [QUIET.to_owned(), NOISY.to_owned()].into_iter().chain(children) {
        let create = own::CreateNamespaceRequest { path: path_of, ..Default::default() };
        root.ask(path("/idhini.v1.NamespaceService/", "CreateNamespace")?, encoded(&create)).await?;
    }
    let mut quiet_one = Caller::connect(address, QUIET).await?;
    let mut noisy = Caller::connect(address, NOISY).await?;
    let schema = encoded(&v1::WriteSchemaRequest { schema: SCHEMA.to_owned() });
    for tenant in [&mut quiet_one, &mut noisy] {
        tenant.ask(path(SCHEMAS, "WriteSchema")?, schema.clone()).await?;
    }
    let quiet_rows = (0..QUIET_DOCUMENTS).map(|n| (n, format!("group:g{}#member", n % 50)));
    let nested = (0..50).flat_map(|n| {
        [
            (format!("group:g{n}"), format!("group:h{n}#member")),
            (format!("group:h{n}"), "user:quiet".to_owned()),
        ]
    });
    let rows = quiet_rows.map(|(n, by)| relationship(&format!("document:d{n}"), "viewer", &by));
    let rows = rows.chain(nested.map(|(group, by)| relationship(&group, "member", &by)));
    let found =
        (0..FOUND_DOCUMENTS).map(|n| relationship(&format!("document:d{n}"), "viewer", "user:finder"));
    write(&mut quiet_one, &rows.chain(found).collect::<Vec<_>>()).await?;
    let rows = (0..NOISY_DOCUMENTS).map(|n| {
        let by = if n % 2 == 0 { "user:noisy".to_owned() } else { format!("group:g{}#member", n % 100) };
        relationship(&format!("document:d{n}"), "viewer", &by)
    });
    let groups = (0..100).map(|n| relationship(&format!("group:g{n}"), "member", "user:noisy"));
    write(&mut noisy, &rows.chain(groups).collect::<Vec<_>>()).await?;
    write(&mut noisy, &guarded()).await?;
    let tokens = old_revisions(&mut noisy).await?;
    std::fs::write(world, serde_json::to_vec(&json!({ "tokens": tokens }))?)?;
    quiet::expect_granted(address).await
}

/// Relationships whose conditions take as long as they may, each with numbers of its own.
fn guarded() -> Vec<v1::Relationship> {
    let mut rows = Vec::new();
    for document in 0..GUARDED {
        for condition in 0..CONDITIONS_OF_EACH {
            let first = (document * CONDITIONS_OF_EACH + condition) * NUMBERS;
            let numbers = (first..first + NUMBERS).map(|number| prost_types::Value {
                kind: Some(prost_types::value::Kind::NumberValue(number as f64)),
            });
            let numbers = prost_types::ListValue { values: numbers.collect() };
            let numbers = prost_types::Value { kind: Some(prost_types::value::Kind::ListValue(numbers)) };
            let context = prost_types::Struct { fields: [("numbers".to_owned(), numbers)].into() };
            let mut row =
                relationship(&format!("document:guarded{document}x{condition}"), "viewer", "user:guarded");
            row.optional_caveat =
                Some(v1::ContextualizedCaveat { caveat_name: "costly".to_owned(), context: Some(context) });
            rows.push(row);
        }
    }
    rows
}

/// A check that evaluates one of those.
pub(crate) fn guarded_check(number: usize) -> v1::CheckPermissionRequest {
    let (document, condition) = (number / CONDITIONS_OF_EACH % GUARDED, number % CONDITIONS_OF_EACH);
    let given = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(-1.0)) };
    v1::CheckPermissionRequest {
        resource: object(&format!("document:guarded{document}x{condition}")),
        subject: subject("user:guarded"),
        context: Some(prost_types::Struct { fields: [("given".to_owned(), given)].into() }),
        ..check(0, "user:guarded")
    }
}

async fn write(caller: &mut Caller, rows: &[v1::Relationship]) -> Result<(), Failure> {
    for some in rows.chunks(500) {
        caller.ask(path(PERMISSIONS, "WriteRelationships")?, encoded(&touched(some))).await?;
    }
    Ok(())
}

pub(crate) fn touched(rows: &[v1::Relationship]) -> v1::WriteRelationshipsRequest {
    let updates = rows.iter().map(|row| v1::RelationshipUpdate {
        operation: v1::relationship_update::Operation::Touch as i32,
        relationship: Some(row.clone()),
    });
    v1::WriteRelationshipsRequest { updates: updates.collect(), ..Default::default() }
}

/// Writes many revisions, and keeps their tokens.
async fn old_revisions(caller: &mut Caller) -> Result<Vec<String>, Failure> {
    let mut tokens = Vec::new();
    for revision in 0..OLD_REVISIONS {
        let rows: Vec<_> = (0..UPDATES_OF_EACH)
            .map(|n| relationship(&format!("document:old{revision}x{n}"), "viewer", "user:old"))
            .collect();
        let answer = caller.ask(path(PERMISSIONS, "WriteRelationships")?, encoded(&touched(&rows))).await?;
        let written = v1::WriteRelationshipsResponse::decode(answer)?.written_at;
        tokens.push(written.ok_or("a write has no token")?.token);
    }
    Ok(tokens)
}

/// What [`make`] wrote.
pub(crate) fn tokens(world: &Path) -> Result<Vec<String>, Failure> {
    let mut kept: HashMap<String, Vec<String>> = serde_json::from_slice(&std::fs::read(world)?)?;
    kept.remove("tokens").ok_or_else(|| "the world has no tokens".into())
}
