//! What does this schema mean? Text to a checked, immutable [`Schema`]; plans, reflection, diff, canonical text.

mod canonical;
mod change;
mod check;
mod comment;
mod dependence;
mod diff;
mod import;
mod lexer;
mod mistake;
mod parser;
mod partial;
mod plan;
mod reflection;
mod relationship;
mod schema;
mod syntax;

pub use change::{Losses, LostParameter, RelationshipShape};
pub use check::permission::ARROW_STEPS_MAX;
pub use dependence::{DependenceError, MemberReference};
pub use diff::SchemaDiff;
pub use import::{IMPORTS_MAX, ImportError};
pub use parser::{EXPRESSION_DEPTH_MAX, SCHEMA_BYTES_MAX, TYPE_DEPTH_MAX};
pub use plan::{
    ArrowStep, ClassIndex, MemberIndex, NodeIndex, Plan, PlanClass, PlanMember, PlanNode, PlanSubject,
    PlanType, TypeIndex,
};
pub use reflection::{
    CaveatReflection, DefinitionReflection, ParameterReflection, PermissionReflection, ReflectionFilter,
    ReflectionFilterError, RelationReflection, SchemaReflection,
};
pub use relationship::{Mismatch, RelationshipError};
pub use schema::{
    AllowedSubject, ArrowKind, ClassKey, Definition, Expression, Permission, Relation, Schema, SchemaError,
    SubjectKind,
};
