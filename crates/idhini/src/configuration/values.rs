//! How is a value written? Counts, bytes, times; for people and back.

use std::num::NonZeroUsize;

/// Seconds of each unit of time.
const TIMES: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];
/// Bytes of each unit of memory.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// Times are subtracted from moments, whose seconds have a sign.
const SECONDS_MAX: u64 = i64::MAX as u64;
/// Without end.
pub(super) const FOREVER: &str = "forever";

/// As the machine has it.
pub(super) const AUTO: &str = "auto";
/// More threads than any machine has use for.
const THREADS_MAX: usize = 1024;

/// A number of threads; `None` is as many as the machine has processors.
///
/// # Errors
/// Why it is none.
pub(super) fn threads(text: &str) -> Result<Option<NonZeroUsize>, String> {
    if text == AUTO {
        return Ok(None);
    }
    let given = count(text).and_then(|count| NonZeroUsize::new(usize::try_from(count).ok()?));
    match given.filter(|count| count.get() <= THREADS_MAX) {
        Some(count) => Ok(Some(count)),
        None => Err(format!("`{text}` is not a number of threads from 1 to {THREADS_MAX}")),
    }
}

/// A number of digits alone.
pub(super) fn count(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Bytes, such as 1048576 or 1MiB.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) =
        SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes))).unwrap_or((text, 1));
    count(digits)?.checked_mul(unit)
}

/// Seconds, such as 90m or 7d.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let (digits, unit) = TIMES.iter().find_map(|(unit, s)| Some((text.strip_suffix(*unit)?, *s)))?;
    count(digits)?.checked_mul(unit).filter(|seconds| *seconds <= SECONDS_MAX)
}

/// The other way round.
pub(super) fn show_bytes(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// The other way round; a day is 24h.
pub(super) fn show_seconds(seconds: u64) -> String {
    const DAY: u64 = TIMES[0].1;
    let fits = |unit: u64| seconds >= unit && seconds.is_multiple_of(unit) && (unit < DAY || seconds > DAY);
    let (name, unit) = TIMES.into_iter().find(|(_, unit)| fits(*unit)).unwrap_or(('s', 1));
    format!("{}{name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::{bytes, seconds, show_bytes, show_seconds};

    #[test]
    fn what_is_shown_is_read_back() {
        for value in [0, 1, 59, 60, 61, 3600, 86_400, 86_401, 7 * 86_400, i64::MAX as u64] {
            assert_eq!(seconds(&show_seconds(value)), Some(value));
        }
        for value in [0, 1, 1023, 1024, 1025, 1 << 20, 3 << 30, u64::MAX] {
            assert_eq!(bytes(&show_bytes(value)), Some(value));
        }
        assert_eq!([86_400, 172_800, 90].map(show_seconds), ["24h", "2d", "90s"]);
        assert_eq!([8 << 30, 1 << 10, 1500].map(show_bytes), ["8GiB", "1KiB", "1500"]);
    }

    #[test]
    fn what_is_no_value_is_none() {
        for bad in [
            "",
            "h",
            "5",
            "-5h",
            "+5h",
            "5 h",
            "5H",
            "99999999999999999999h",
            "18446744073709551615d",
            "9223372036854775808s",
            "5é",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        for bad in ["", "KiB", "-5", "+5", "5 KiB", "5KB", "5.5MiB", "18446744073709551615GiB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
