//! What is told of the SpiceDB's changes, applied to the server to fill, in order.
//!
//! A message that the schema was written does not say what it is: the newest is read, which may be ahead of the changes
//! that are still to come. What the newest schema does not admit any more is gone from the SpiceDB by now, or it would have
//! refused that schema; so it is passed over.

use std::collections::HashMap;

use idhini_model::{Relationship, ResourceRef, SubjectRef};
use idhini_schema::Schema;
use idhini_wire::authzed::api::v1;
use idhini_wire::authzed::api::v1::relationship_update::Operation;
use tonic::{Code, Status};

use super::copy::{UPDATES_MAX, update, write};
use super::source::again;
use super::{Ends, MigrateError};
use crate::client::Server;
use crate::failure::Failure;

/// Applies changes.
pub(super) struct Applying {
    ends: Ends,
    /// What the server to fill has.
    schema: Schema,
    /// Whether the SpiceDB has a newer one, which cannot be written before more is deleted.
    is_behind: bool,
    pub(super) updates: u64,
    pub(super) transactions: u64,
    pub(super) schemas: u64,
    /// Updates that a later schema made meaningless.
    pub(super) passed_over: u64,
}

impl Applying {
    pub(super) fn new(ends: Ends, schema: Schema) -> Applying {
        let (updates, transactions, schemas, passed_over) = (0, 0, 0, 0);
        Applying { ends, schema, is_behind: false, updates, transactions, schemas, passed_over }
    }

    pub(super) async fn apply(&mut self, answer: v1::WatchResponse) -> Result<(), Failure> {
        if answer.schema_updated || self.is_behind {
            self.renew_schema().await?;
        }
        if answer.updates.is_empty() {
            return Ok(());
        }
        self.transactions += 1;
        let metadata = answer.optional_transaction_metadata;
        let mut updates = Vec::with_capacity(answer.updates.len());
        for (operation, relationship) in last_of_each(answer.updates)? {
            updates.extend(self.admitted(operation, relationship).await?);
        }
        self.updates += updates.len() as u64;
        let mut updates = updates.into_iter();
        loop {
            let part: Vec<v1::RelationshipUpdate> = updates.by_ref().take(UPDATES_MAX).collect();
            if part.is_empty() {
                return Ok(());
            }
            write(&self.ends.destination, part, metadata.clone()).await?;
        }
    }

    /// The SpiceDB's newest schema must be there in the end.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        if self.is_behind {
            self.renew_schema().await?;
        }
        match self.is_behind {
            true => Err(MigrateError::Unfollowable("the newest schema".to_owned()).into()),
            false => Ok(()),
        }
    }

    /// Takes over the SpiceDB's newest schema, if the relationships that are here allow it.
    async fn renew_schema(&mut self) -> Result<(), Failure> {
        let newest = self.ends.source.schema().await?.unwrap_or_default();
        let schema = Schema::parse(&newest.schema_text).map_err(MigrateError::from)?;
        if schema.canonical_text() == self.schema.canonical_text() {
            self.is_behind = false;
            return Ok(());
        }
        match write_schema(&self.ends.destination, newest.schema_text).await {
            Ok(()) => {
                self.schema = schema;
                self.schemas += 1;
                self.is_behind = false;
                Ok(())
            }
            // Relationships that the SpiceDB deleted before, of which it will tell.
            Err(Failure::Refused(status))
                if matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition) =>
            {
                self.is_behind = true;
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// The update, unless it means nothing under the schema.
    async fn admitted(
        &mut self,
        operation: Operation,
        relationship: Relationship,
    ) -> Result<Option<v1::RelationshipUpdate>, Failure> {
        if !self.fits(operation, &relationship) {
            self.renew_schema().await?;
            if !self.fits(operation, &relationship) {
                if self.is_behind && operation == Operation::Touch {
                    return Err(MigrateError::Unfollowable(relationship.to_string()).into());
                }
                self.passed_over += 1;
                return Ok(None);
            }
        }
        Ok(Some(update(operation, relationship.into())))
    }

    fn fits(&self, operation: Operation, relationship: &Relationship) -> bool {
        match operation {
            Operation::Delete => {
                let has = |object_type: &str| self.schema.definition(object_type);
                has(&relationship.subject.object_type).is_some()
                    && has(&relationship.resource.object_type)
                        .is_some_and(|definition| definition.relation(&relationship.relation).is_some())
            }
            _ => self.schema.validate_relationship(relationship).is_ok(),
        }
    }
}

/// Of several updates of one relationship, which one transaction has only in part, the last.
fn last_of_each(
    updates: Vec<v1::RelationshipUpdate>,
) -> Result<Vec<(Operation, Relationship)>, MigrateError> {
    let mut found: Vec<(Operation, Relationship)> = Vec::with_capacity(updates.len());
    let mut places: HashMap<(ResourceRef, String, SubjectRef), usize> = HashMap::new();
    for update in updates {
        let operation = match update.operation() {
            Operation::Delete => Operation::Delete,
            _ => Operation::Touch,
        };
        let mut relationship = Relationship::try_from(update.relationship.unwrap_or_default())?;
        if operation == Operation::Delete {
            // Which one it is does not depend on them.
            (relationship.caveat, relationship.expires_at) = (None, None);
        }
        let Relationship { resource, relation, subject, .. } = &relationship;
        match places.get(&(resource.clone(), relation.clone(), subject.clone())) {
            Some(place) => found[*place] = (operation, relationship),
            None => {
                places.insert((resource.clone(), relation.clone(), subject.clone()), found.len());
                found.push((operation, relationship));
            }
        }
    }
    Ok(found)
}

/// Writes a schema; tries again when that may help.
pub(super) async fn write_schema(server: &Server, schema: String) -> Result<(), Failure> {
    let request = v1::WriteSchemaRequest { schema };
    let mut tries = 0;
    loop {
        match server.schemas().write_schema(server.request(request.clone())).await {
            Ok(_) => return Ok(()),
            Err(status) => {
                let outcome: Result<(), Status> = again(&mut tries, status).await;
                outcome?;
            }
        }
    }
}
