//! What does this schema mean? Text to a checked, immutable [`Schema`]; plans, reflection, diff, canonical text.

mod plan;
mod schema;

pub use plan::{
    ArrowStep, ClassIndex, MemberIndex, NodeIndex, Plan, PlanClass, PlanMember, PlanNode, PlanSubject, PlanType, TypeIndex,
};
pub use schema::{
    AllowedSubject, ArrowKind, ClassKey, Definition, Expression, Permission, Relation, Schema, SchemaError,
    SubjectKind,
};
