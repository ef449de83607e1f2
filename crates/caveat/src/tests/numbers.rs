//! Do numbers of unlike types compare by what they count?

use std::cmp::Ordering;

use crate::print::double_text;
use crate::time::{Moment, duration_text, parse_duration};
use crate::value::Number;

#[test]
fn whole_numbers_and_doubles_compare_exactly() {
    let wholes = [
        i128::from(i64::MIN),
        -9_007_199_254_740_993,
        -1,
        0,
        1,
        9_007_199_254_740_993,
        i128::from(i64::MAX),
        i128::from(u64::MAX),
    ];
    let doubles: [f64; 12] =
        [-1e300, -9.3e18, -1.5, -1.0, -0.5, -0.0, 0.5, 1.0, 1.5, 9_007_199_254_740_992.0, 9.3e18, 1e300];
    for whole in wholes {
        for double in doubles {
            // A double is a multiple of a power of two: compare multiples of 2^-1 where it is small enough.
            let expected = if double.abs() < 1e25 {
                #[expect(clippy::cast_possible_truncation, reason = "halves below 2^100")]
                (whole * 2).cmp(&((double * 2.0) as i128))
            } else if double > 0.0 {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            let (a, b) = (Number::Whole(whole), Number::Double(double));
            assert_eq!(a.compare(b), Some(expected), "{whole} {double}");
            assert_eq!(b.compare(a), Some(expected.reverse()), "{double} {whole}");
        }
        assert_eq!(Number::Whole(whole).compare(Number::Double(f64::NAN)), None);
        assert_eq!(Number::Whole(whole).compare(Number::Double(f64::INFINITY)), Some(Ordering::Less));
        assert_eq!(Number::Whole(whole).compare(Number::Double(f64::NEG_INFINITY)), Some(Ordering::Greater));
    }
}

#[test]
fn doubles_print_with_the_fewest_digits_and_an_exponent_where_go_has_one() {
    for (value, text) in [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (100_000.0, "100000"),
        (1_000_000.0, "1e+06"),
        (1_234_567.5, "1.2345675e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1e100, "1e+100"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
    ] {
        assert_eq!(double_text(value), text);
    }
}

#[test]
fn dates_agree_with_jiff_over_all_years() {
    let mut seconds = -62_135_596_800;
    while seconds < 253_402_200_000 {
        let ours = Moment::new(seconds, 0).unwrap().text();
        assert_eq!(ours, jiff::Timestamp::from_second(seconds).unwrap().to_string());
        assert_eq!(Moment::parse(&ours), Moment::new(seconds, 0));
        // A prime number of seconds, a little over ten days.
        seconds += 864_007;
    }
    assert!(Moment::new(253_402_300_800, 0).is_none());
    assert_eq!(
        Moment::parse("9999-12-31T23:59:59.999999999Z").unwrap().text(),
        "9999-12-31T23:59:59.999999999Z"
    );
}

#[test]
fn zones_know_daylight_saving() {
    let summer = Moment::parse("2024-07-01T12:00:00Z").unwrap();
    let winter = Moment::parse("2024-01-01T12:00:00Z").unwrap();
    assert_eq!(summer.offset_in("Europe/Paris"), Some(7_200));
    assert_eq!(winter.offset_in("Europe/Paris"), Some(3_600));
    assert_eq!(winter.offset_in("-05:30"), Some(-19_800));
    assert_eq!(winter.offset_in("5:30"), Some(19_800));
    assert_eq!(winter.offset_in(""), Some(0));
    for unknown in ["Mars/Olympus", ":", "1:", "+", "+5", "a:b", "123:00", "Local"] {
        assert_eq!(winter.offset_in(unknown), None, "{unknown}");
    }
    for edge in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
        assert!(Moment::parse(edge).unwrap().offset_in("Asia/Tokyo").is_some());
    }
}

#[test]
fn durations_print_in_seconds() {
    for (read, printed) in
        [("90m", "5400s"), ("1.5s", "1.5s"), ("1ns", "0.000000001s"), ("-1.5s", "-1.5s"), ("0", "0s")]
    {
        assert_eq!(duration_text(parse_duration(read).unwrap()), printed);
    }
    assert_eq!(parse_duration("2562047h47m16.854775807s"), Some(i64::MAX));
    assert_eq!(parse_duration("2562047h47m16.854775808s"), None);
    assert_eq!(parse_duration("0.000000000000000000000000000001h"), Some(0));
}
