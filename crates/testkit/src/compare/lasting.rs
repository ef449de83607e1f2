//! Does an answer last as long as the engine says? The reference asked at later moments, with nothing written between.

use idhini_model::Timestamp;

use super::asking::{Asking, drawn, value};
use super::{Difference, Wanted, wanted_answer};
use crate::reference::{Answer, Refusal, Tables};

const LASTING_TURN: u64 = 300;
/// Moments at which an answer is asked for again, besides the last one before it may change.
const MOMENTS_ASKED: usize = 2;

/// Compares a check's answer with those of the moments at which something expires, up to the one that is told.
///
/// # Errors
/// A [`Difference`].
pub(super) fn holds(
    asking: &Asking<'_>,
    tables: &Tables,
    want: &Result<Answer, Refusal>,
) -> Result<(), Box<Difference>> {
    let Ok(want) = want else { return Ok(()) };
    let Ok(mut check) = asking.open_check() else { return Ok(()) };
    let Some(Ok(answer)) = asking.in_portions(|fuel| check.advance(fuel)) else { return Ok(()) };
    let until = check.until();
    let instant = asking.snapshot.instant;
    let expirations = asking.world.relationships.iter().filter_map(|r| r.expires_at);
    let mut moments: Vec<Timestamp> = expirations.filter(|at| *at > instant).collect();
    moments.sort_unstable();
    moments.dedup();
    let told = format!("{until:?} for {:?}", value(answer.permissionship));
    if until.is_some_and(|until| !moments.contains(&until)) {
        return Err(asking.differs(
            "lasting: a moment at which nothing expires",
            format!("{moments:?}"),
            told,
        ));
    }
    moments.retain(|at| until.is_none_or(|until| *at < until));
    let mut rng = drawn(asking.question, LASTING_TURN);
    let mut asked: Vec<Timestamp> = moments.last().copied().into_iter().collect();
    for _ in 0..MOMENTS_ASKED.min(moments.len()) {
        asked.push(*rng.pick(&moments));
    }
    for at in asked {
        let Wanted::Check(then) = wanted_answer(&tables.view(asking.context, at), &asking.question.ask)
        else {
            return Ok(());
        };
        if then.as_ref() != Ok(want) {
            return Err(asking.differs("lasting", format!("{want:?} at {at}, not {then:?}"), told));
        }
    }
    Ok(())
}
