//! May the subject? Who may? What may it reach? How is it so?

mod broken;
mod conditions;
mod evaluate;
mod plans;
mod question;
mod solve;
mod value;

#[cfg(feature = "broken")]
pub use broken::{VARIANTS, Variant, break_with};
pub use conditions::CAVEAT_BUDGET;
pub use plans::Plans;
pub use question::{Answer, COST_MAX, EngineError, GoalName, Limits, Progress, Question, Snapshot};
pub use value::Permissionship;
