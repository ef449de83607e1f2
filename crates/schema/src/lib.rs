//! What does this schema mean? Text to a checked, immutable [`Schema`]; plans, reflection, diff, canonical text.

mod schema;

pub use schema::{
    AllowedSubject, ArrowKind, ClassKey, Definition, Expression, Permission, Relation, Schema, SchemaError,
    SubjectKind,
};
