//! May the subject? Who may? What may it reach? How is it so?

mod broken;
mod check;
mod conditions;
mod evaluate;
mod explain;
mod inquire;
mod plans;
mod question;
mod solve;
mod value;

#[cfg(feature = "broken")]
pub use broken::{VARIANTS, Variant, break_with};
pub use check::{Check, CheckBulk};
pub use conditions::CAVEAT_BUDGET;
pub use explain::{
    ConditionOutcome, EXPLAINED_EDGES_MAX, EXPLAINED_GOALS_MAX, ExplainedCondition, ExplainedEdge, ExplainedEdges,
    ExplainedGoal, ExplainedRule, Explanation, RuleKind,
};
pub use plans::Plans;
pub use question::{Answer, COST_MAX, EngineError, GoalName, Limits, Progress, Question, Snapshot};
pub use value::Permissionship;
