//! Deliberately wrong evaluators: each variant breaks one rule, and the test kit must catch every one.
//!
//! Without the feature `broken` nothing of this is compiled in: [`is_broken`] is the constant `false`.

macro_rules! variants {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One rule broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Variant { $($(#[$doc])* $name,)+ }

        /// All variants.
        #[cfg(feature = "broken")]
        pub const VARIANTS: &[Variant] = &[$(Variant::$name,)+];
    };
}

variants! {
    /// A userset does not count as its own member.
    UsersetIsNotItsOwnMember,
    /// `self` grants to usersets of the object.
    SelfMatchesUsersets,
    /// `self` grants to nobody.
    SelfIsNil,
    /// A wildcard grants to usersets.
    WildcardMatchesUsersets,
    /// A condition on a direct relationship is taken for true.
    DirectDropsItsCondition,
    /// An arrow follows only the first of its relation's types.
    ArrowFollowsFirstTypeOnly,
    /// A goal met again while open is simply no.
    VisitedSetIsTheFixpoint,
    /// Goals found for one subject answer for the next.
    MemoKeepsOtherSubject,
    /// Only the first conditional child tells what is missing.
    MissingOfOneBranchOnly,
    /// What is missing includes branches that do not matter.
    MissingLeaksFromOtherBranches,
    /// Items of a bulk check are all asked in the first one's context.
    BulkSharesOneContext,
    /// Lookups answer candidates without verifying them.
    LookupTrustsCandidates,
    /// Lookups pass over wildcards.
    LookupForgetsWildcards,
    /// A wildcard is answered without its exclusions.
    LookupForgetsExclusions,
    /// Lookups lose subjects that stand under an intersection.
    LookupDropsIntersectedSubjects,
    /// Each page of a lookup begins one object too late.
    PagesSkipOne,
    /// A lookup tells whoever may have it before its search is over.
    EarlyTrustsCandidates,
    /// Whom a lookup told before its search was over, it tells again.
    EarlyIsToldAgain,
    /// Whom a lookup tells before its search is over depends on how much it is asked to do at once.
    EarlyMindsPortions,
    /// `+` is taken for `&`.
    UnionIsIntersection,
    /// `&` is taken for `+`.
    IntersectionIsUnion,
    /// The last branch of a union decides, whatever came before.
    LastBranchWins,
    /// A condition on one edge is carried over to the next.
    BranchConditionLeaks,
    /// `a - b` is `a`.
    ExclusionTakesNothing,
    /// `a - b` is `a` where an arrow leads to it.
    ExclusionUnderArrowTakesNothing,
    /// What is excluded under a condition is not excluded.
    ConditionalExclusionTakesNothing,
    /// What is excluded under a condition is excluded.
    ConditionalExclusionTakesAll,
    /// An exclusion on a cycle reads what it is about to change.
    ExclusionInCycleReadsItself,
    /// What has no answer is denied.
    NoAnswerIsDenial,
    /// `.all` is taken for `.any`.
    AllIsAny,
    /// `.all` holds where there is nothing to follow.
    AllOfNothingHolds,
    /// `.all` passes over edges whose condition is false.
    AllSkipsFalseConditions,
    /// A condition on an arrow's edge is taken for true.
    ArrowDropsItsCondition,
    /// An arrow does not follow edges to usersets.
    ArrowMindsSubjectRelations,
    /// A condition on a userset's edge is taken for true.
    UsersetDropsItsCondition,
    /// Usersets that name a permission grant nothing.
    UsersetOfPermissionIsMissed,
    /// A wildcard grants to nobody.
    WildcardGrantsNobody,
    /// A condition on a wildcard is taken for true.
    WildcardDropsItsCondition,
    /// A conditional edge is taken for unconditional.
    ConditionsGrant,
    /// What a caveat said for one stored context is taken for all of its name.
    OutcomesAreKeptByName,
    /// The request's context wins over the stored one.
    RequestContextWins,
    /// A failing caveat grants.
    FailedCaveatGrants,
    /// A failing caveat denies.
    FailedCaveatDenies,
    /// Expired relationships count.
    ExpirationIsIgnored,
    /// A relationship counts at the instant of its expiration.
    ExpirationIsLate,
    /// How long an answer lasts does not mind what is excluded.
    UntilForgetsExclusions,
    /// How long an answer lasts does not mind the edges on the way to what grants it.
    UntilForgetsTheWay,
    /// `nil` grants.
    NilGrants,
    /// The second of two equal items of a bulk check is denied.
    BulkDeniesRepeats,
    /// An attempt takes every edge for one that surely counts.
    SearchTrustsConditions,
    /// An attempt that is short of edges denies.
    SpentSearchDenies,
    /// A search from the subject up ends with what the subject is in directly.
    SearchClimbsOneLevel,
    /// What a search met by one rule it takes for met by all.
    MarksForgetTheRule,
    /// An attempt takes `a - b` for `a`.
    AttemptExcludesNobody,
    /// What contains a group is remembered as if nesting never changed.
    ClosuresOutliveChanges,
    /// What contains one group is taken for what contains another of the same number.
    ClosuresForgetTheRule,
}

#[cfg(feature = "broken")]
/// Those of attempts, which would hide all others.
const OF_ATTEMPTS: [Variant; 7] = [
    Variant::SearchTrustsConditions,
    Variant::SpentSearchDenies,
    Variant::SearchClimbsOneLevel,
    Variant::MarksForgetTheRule,
    Variant::AttemptExcludesNobody,
    Variant::ClosuresOutliveChanges,
    Variant::ClosuresForgetTheRule,
];

#[cfg(feature = "broken")]
mod chosen {
    use std::cell::Cell;

    use super::Variant;

    thread_local! {
        static CHOSEN: Cell<Option<Variant>> = const { Cell::new(None) };
    }

    /// Breaks this thread's evaluators; `None` mends them.
    pub fn break_with(variant: Option<Variant>) {
        CHOSEN.set(variant);
    }

    #[inline]
    pub(crate) fn is_broken(variant: Variant) -> bool {
        CHOSEN.get() == Some(variant)
    }

    /// Whether something is broken that only shows where nothing is attempted first.
    pub(crate) fn is_evaluator_broken() -> bool {
        CHOSEN.get().is_some_and(|chosen| !super::OF_ATTEMPTS.contains(&chosen))
    }
}

#[cfg(feature = "broken")]
pub use chosen::break_with;
#[cfg(feature = "broken")]
pub(crate) use chosen::{is_broken, is_evaluator_broken};

#[cfg(not(feature = "broken"))]
#[inline(always)]
pub(crate) const fn is_broken(_: Variant) -> bool {
    false
}

#[cfg(not(feature = "broken"))]
#[inline(always)]
pub(crate) const fn is_evaluator_broken() -> bool {
    false
}
