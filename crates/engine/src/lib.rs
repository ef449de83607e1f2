//! May the subject? Who may? What may it reach? How is it so?

mod attempt;
mod broken;
mod causes;
mod check;
mod conditions;
mod evaluate;
mod expand;
mod explain;
mod inquire;
mod lookup_resources;
mod lookup_subjects;
mod plans;
mod question;
mod refuse;
mod size;
mod solve;
mod survey;
mod until;
mod value;

pub use attempt::ClosureUse;
#[cfg(feature = "broken")]
pub use broken::{VARIANTS, Variant, break_with};
pub use check::{Check, CheckBulk};
pub use conditions::CAVEAT_BUDGET;
pub use expand::{
    EXPAND_DEPTH_MAX, EXPANDED_BYTES_MAX, EXPANDED_COST_MAX, Expand, ExpandKind, ExpandTree, ExpandedSubject,
};
pub use explain::{
    ConditionOutcome, EXPLAINED_BYTES_MAX, EXPLAINED_EDGES_MAX, EXPLAINED_EDGES_TOTAL_MAX,
    EXPLAINED_GOALS_MAX, ExplainedCondition, ExplainedEdge, ExplainedEdges, ExplainedGoal, ExplainedRule,
    Explanation, RuleKind,
};
pub use lookup_resources::{EARLY_EDGES, EARLY_MAX, FoundResource, LookupResources, ReachedResources};
pub use lookup_subjects::{ExcludedSubject, FoundSubject, LookupSubjects, NamedSubjects};
pub use plans::Plans;
pub use question::{
    ATTEMPT_MAX, Answer, COST_MAX, EngineError, GoalName, Limits, Position, Progress, Question, Snapshot,
};
pub use value::Permissionship;
