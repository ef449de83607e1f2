//! Relationships written one by one, and read back.

use idhini_model::Relationship;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::relationship_update::Operation;

use super::Asked;
use crate::arguments::{ReadArguments, RelationshipArguments};
use crate::client::Server;
use crate::failure::Failure;
use crate::output;

pub(super) async fn create(asked: Asked<'_>, arguments: &RelationshipArguments) -> Result<(), Failure> {
    write(asked, Operation::Create, arguments).await
}

pub(super) async fn touch(asked: Asked<'_>, arguments: &RelationshipArguments) -> Result<(), Failure> {
    write(asked, Operation::Touch, arguments).await
}

pub(super) async fn delete(asked: Asked<'_>, arguments: &RelationshipArguments) -> Result<(), Failure> {
    write(asked, Operation::Delete, arguments).await
}

async fn write(
    asked: Asked<'_>,
    operation: Operation,
    arguments: &RelationshipArguments,
) -> Result<(), Failure> {
    let relationship = arguments.relationship()?;
    let server = Server::connect(asked.connection).await?;
    let update = v1::RelationshipUpdate {
        operation: operation as i32,
        relationship: Some(relationship.clone().into()),
    };
    let request = v1::WriteRelationshipsRequest { updates: vec![update], ..Default::default() };
    let answer = server.permissions().write_relationships(server.request(request)).await?.into_inner();
    if asked.connection.json {
        return output::message(&answer);
    }
    output::line(&relationship.to_string());
    output::line(&answer.written_at.unwrap_or_default().token);
    Ok(())
}

/// Prints what a filter admits, page by page if so asked.
pub(super) async fn read(asked: Asked<'_>, arguments: &ReadArguments) -> Result<(), Failure> {
    let (server, consistency) = Server::connect(asked.connection).await?.asked(&arguments.consistency);
    let mut cursor = None;
    loop {
        let request = v1::ReadRelationshipsRequest {
            consistency: consistency.clone(),
            relationship_filter: Some(arguments.filter()),
            optional_limit: arguments.page_limit.unwrap_or(0),
            optional_cursor: cursor.take(),
        };
        let mut answers =
            server.permissions().read_relationships(server.request(request)).await?.into_inner();
        let mut count = 0;
        while let Some(answer) = answers.message().await? {
            count += 1;
            match asked.connection.json {
                true => output::message(&answer)?,
                false => output::line(&text_of(answer.relationship.clone())?),
            }
            cursor = answer.after_result_cursor;
        }
        if arguments.page_limit.is_none_or(|limit| count < limit) || cursor.is_none() {
            return Ok(());
        }
    }
}

/// A relationship as people write it.
pub(super) fn text_of(relationship: Option<v1::Relationship>) -> Result<String, Failure> {
    let missing = || Failure::Answer { missing: "relationship" };
    let relationship = Relationship::try_from(relationship.ok_or_else(missing)?).map_err(|_| missing())?;
    Ok(relationship.to_string())
}
