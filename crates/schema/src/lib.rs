//! What does this schema mean? Text to a checked, immutable [`Schema`]; plans, reflection, diff, canonical text.

mod canonical;
mod check;
mod comment;
mod lexer;
mod mistake;
mod parser;
mod partial;
mod plan;
mod schema;
mod syntax;

pub use parser::{EXPRESSION_DEPTH_MAX, SCHEMA_BYTES_MAX, TYPE_DEPTH_MAX};
pub use plan::{
    ArrowStep, ClassIndex, MemberIndex, NodeIndex, Plan, PlanClass, PlanMember, PlanNode, PlanSubject,
    PlanType, TypeIndex,
};
pub use schema::{
    AllowedSubject, ArrowKind, ClassKey, Definition, Expression, Permission, Relation, Schema, SchemaError,
    SubjectKind,
};
