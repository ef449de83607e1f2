//! When is it? Durations and moments as CEL has them: their text, their arithmetic, their parts in a time zone.
//!
//! Durations are whole nanoseconds in 64 bits, moments lie between the years 1 and 9999. Time zones by name come
//! from a table inside the program, so that every node answers alike.

use std::sync::LazyLock;

use jiff::tz::TimeZoneDatabase;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z.
const SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const SECONDS_MAX: i64 = 253_402_300_799;
/// Longest text of a duration or moment.
const TEXT_BYTES_MAX: usize = 128;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A moment between the years 1 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// Since 1970-01-01T00:00:00Z, rounded towards the past.
    seconds: i64,
    nanos: u32,
}

/// A part of a date or a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    FullYear,
    /// January is 0.
    Month,
    /// The first is 0.
    DayOfYear,
    /// The first is 0.
    DayOfMonth,
    /// The first is 1.
    Date,
    /// Sunday is 0.
    DayOfWeek,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Moment {
    pub(crate) fn new(seconds: i64, nanos: u32) -> Option<Moment> {
        (SECONDS_MIN..=SECONDS_MAX).contains(&seconds).then_some(Moment { seconds, nanos })
    }

    pub(crate) fn seconds(self) -> i64 {
        self.seconds
    }

    /// Reads RFC 3339 with capital `T` and `Z`; digits beyond nanoseconds are dropped.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        let bytes = text.as_bytes();
        if bytes.len() > TEXT_BYTES_MAX || !text.is_ascii() {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<i64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let mut rest = &text[19..];
        let mut nanos = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            nanos = nanos_of_fraction(fraction.get(..digits).filter(|d| !d.is_empty())?)?;
            rest = &fraction[digits..];
        }
        let offset = if rest == "Z" { 0 } else { parse_rfc3339_offset(rest)? };
        let seconds =
            days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
        Moment::new(seconds - offset, nanos)
    }

    /// RFC 3339 in UTC, without zeros at the end of the fraction.
    pub(crate) fn text(self) -> String {
        let (year, month, day) = civil_from_days(self.seconds.div_euclid(SECONDS_PER_DAY));
        let time = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let whole = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if self.nanos == 0 {
            return format!("{whole}Z");
        }
        let fraction = format!("{:09}", self.nanos);
        format!("{whole}.{}Z", fraction.trim_end_matches('0'))
    }

    /// The moment so many nanoseconds later.
    pub(crate) fn plus(self, nanos: i64) -> Option<Moment> {
        let total = i64::from(self.nanos) + nanos.rem_euclid(NANOS_PER_SECOND);
        let seconds = self.seconds + nanos.div_euclid(NANOS_PER_SECOND) + total / NANOS_PER_SECOND;
        Moment::new(seconds, u32::try_from(total % NANOS_PER_SECOND).ok()?)
    }

    /// The nanoseconds since `earlier`.
    pub(crate) fn since(self, earlier: Moment) -> Option<i64> {
        let nanos = i128::from(self.seconds - earlier.seconds) * i128::from(NANOS_PER_SECOND)
            + i128::from(self.nanos)
            - i128::from(earlier.nanos);
        i64::try_from(nanos).ok()
    }

    /// A part of the date or time, `offset` seconds east of Greenwich.
    pub(crate) fn part(self, part: Part, offset: i64) -> i64 {
        let local = self.seconds + offset;
        let (days, time) = (local.div_euclid(SECONDS_PER_DAY), local.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        match part {
            Part::FullYear => year,
            Part::Month => month - 1,
            Part::DayOfYear => days - days_from_civil(year, 1, 1),
            Part::DayOfMonth => day - 1,
            Part::Date => day,
            // The first of January 1970 was a Thursday.
            Part::DayOfWeek => (days + 4).rem_euclid(7),
            Part::Hours => time / 3600,
            Part::Minutes => time / 60 % 60,
            Part::Seconds => time % 60,
            Part::Milliseconds => i64::from(self.nanos) / 1_000_000,
        }
    }

    /// How many seconds east of Greenwich the zone is at this moment: `+05:30`, `5:30`, `Europe/Paris`, `UTC`.
    pub(crate) fn offset_in(self, zone: &str) -> Option<i64> {
        if zone.is_empty() || zone == "UTC" {
            return Some(0);
        }
        if zone.len() > TEXT_BYTES_MAX {
            return None;
        }
        if let Some((hours, minutes)) = zone.split_once(':') {
            let (sign, hours) = match hours.as_bytes().first()? {
                b'-' => (-1, &hours[1..]),
                b'+' => (1, &hours[1..]),
                _ => (1, hours),
            };
            let number = |text: &str| -> Option<i64> {
                let good = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
                good.then(|| text.parse().ok())?
            };
            return Some(sign * (number(hours)? * 3600 + number(minutes)? * 60));
        }
        let zone = ZONES.get(zone).ok()?;
        // The table ends some hours before the last moment that CEL has.
        let within = self.seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
        Some(zone.to_offset(jiff::Timestamp::from_second(within).ok()?).seconds().into())
    }
}

/// Reads a duration such as `1h30m`, `-1.5s`, `100ms` or `0`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i128); 8] = [
        // Longer names before those that begin alike.
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at(whole);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, scale) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        if !digits.is_empty() {
            total = total.checked_add(i128::from(digits.parse::<i64>().ok()?) * scale)?;
        }
        // Digits beyond 18 are less than a nanosecond of any unit.
        let fraction = &fraction[..fraction.len().min(18)];
        if !fraction.is_empty() {
            let places = u32::try_from(fraction.len()).ok()?;
            total += i128::from(fraction.parse::<i64>().ok()?) * scale / 10i128.pow(places);
        }
        rest = &after[unit.len()..];
        if rest.is_empty() {
            return i64::try_from(if negative { -total } else { total }).ok();
        }
    }
}

/// A duration in seconds, as `5400s` or `1.5s`.
pub(crate) fn duration_text(nanos: i64) -> String {
    // As Go computes it, in doubles: the shortest digits that read back as the same double.
    #[expect(clippy::cast_precision_loss, reason = "seconds of 64-bit nanoseconds are below 2^53")]
    let seconds = (nanos / NANOS_PER_SECOND) as f64 + (nanos % NANOS_PER_SECOND) as f64 / 1e9;
    format!("{seconds}s")
}

/// A part of a duration: the whole duration, counted in that unit.
pub(crate) fn duration_part(nanos: i64, part: Part) -> Option<i64> {
    match part {
        Part::Hours => Some(nanos / NANOS_PER_SECOND / 3600),
        Part::Minutes => Some(nanos / NANOS_PER_SECOND / 60),
        Part::Seconds => Some(nanos / NANOS_PER_SECOND),
        Part::Milliseconds => Some(nanos / 1_000_000),
        _ => None,
    }
}

fn nanos_of_fraction(digits: &str) -> Option<u32> {
    let digits: String = digits.chars().take(9).collect();
    format!("{digits:0<9}").parse().ok()
}

/// `+hh:mm` or `-hh:mm` in seconds.
fn parse_rfc3339_offset(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    if [hours, minutes].iter().any(|n| n.len() != 2 || !n.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date, in years that begin on the first of March so that leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date so many days after 1970-01-01: year, month, day.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
