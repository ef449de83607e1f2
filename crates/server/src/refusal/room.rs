//! How much of a refusal is there room for? It travels among trailers, the message twice and most of it in base64.
//!
//! Many clients take 8 KiB of trailers and break off a call that has more, so that nobody learns what was refused.
//! Names and contexts may be longer than that. What is too long is cut, the longest values first, and ends in `…`.

use super::{DEBUG_TRACE, Refusal};

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 800;
/// The most bytes of all values of the metadata.
const VALUES_BYTES_MAX: usize = 2_800;
const CUT: char = '…';

/// The refusal with what there is room for.
pub(super) fn fitted(mut refusal: Refusal) -> Refusal {
    cut(&mut refusal.message, MESSAGE_BYTES_MAX);
    // Half a trace cannot be read; it is bounded where it is made.
    let trace = refusal.metadata.remove(DEBUG_TRACE);
    let max = VALUES_BYTES_MAX.saturating_sub(trace.as_ref().map_or(0, String::len));
    let level = level(refusal.metadata.values().map(String::len).collect(), max);
    refusal.metadata.values_mut().for_each(|value| cut(value, level));
    refusal.metadata.extend(trace.map(|trace| (DEBUG_TRACE, trace)));
    refusal
}

/// How long each may be so that they are no longer than `max` together.
fn level(mut lengths: Vec<usize>, max: usize) -> usize {
    lengths.sort_unstable();
    let mut left = max;
    for (at, length) in lengths.iter().enumerate() {
        let share = left / (lengths.len() - at);
        if *length > share {
            return share;
        }
        left -= length;
    }
    usize::MAX
}

fn cut(text: &mut String, max: usize) {
    if text.len() <= max {
        return;
    }
    let mut end = max.saturating_sub(CUT.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push(CUT);
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn what_fits_is_left_as_it_is_and_the_longest_is_cut_first() {
        assert_eq!(level(vec![], 10), usize::MAX);
        assert_eq!(level(vec![3, 7], 10), usize::MAX);
        assert_eq!(level(vec![20, 3], 10), 7);
        assert_eq!(level(vec![20, 2, 20], 10), 4);
        let long = Refusal::new(Code::Internal, "ü".repeat(5_000))
            .with("short", "as it is")
            .with("long", "ü".repeat(3_000))
            .with("longer", "x".repeat(30_000));
        let fitted = fitted(long);
        assert_eq!(fitted.metadata["short"], "as it is");
        assert!(fitted.message.len() <= MESSAGE_BYTES_MAX && fitted.message.ends_with("ü…"));
        assert!(fitted.metadata.values().map(String::len).sum::<usize>() <= VALUES_BYTES_MAX);
        assert!(fitted.metadata["long"].ends_with("ü…") && fitted.metadata["longer"].len() > 1_000);
    }
}
