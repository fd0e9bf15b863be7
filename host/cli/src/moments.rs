//! Times and durations as people write them.

use std::time::Duration;

use ostrakon_client::TimestampMs;
use time::OffsetDateTime;
use time::macros::format_description;

/// What a duration may end with, the largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A time of UTC to the minute, as ISO 8601 has it; one that no calendar has, in milliseconds.
pub(crate) fn minute(at: TimestampMs) -> String {
    formatted(at, format_description!("[year]-[month]-[day]T[hour]:[minute]Z"))
}

/// The same to the second.
pub(crate) fn second(at: TimestampMs) -> String {
    formatted(at, format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
}

fn formatted(at: TimestampMs, format: &(impl time::formatting::Formattable + ?Sized)) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.get()) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(format).ok()).unwrap_or_else(|| format!("{at} ms"))
}

/// Reads a number with its unit, as in `90s`, `15m`, `12h`, `30d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const HOW: &str = "it reads like 90s, 15m, 12h or 30d";
    let digits = text.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| HOW)?;
    let unit = UNITS.iter().find(|(name, _)| *name == &text[digits.len()..]);
    let (_, unit_ms) = unit.ok_or(HOW)?;
    Ok(Duration::from_millis(number.checked_mul(*unit_ms).ok_or("it is too long")?))
}

/// The same the other way, in the largest unit that divides it.
pub(crate) fn duration_text(duration_ms: u64) -> String {
    let divides = |unit_ms: u64| duration_ms > 0 && duration_ms.is_multiple_of(unit_ms);
    match UNITS.iter().find(|(_, unit_ms)| divides(*unit_ms)) {
        Some((name, unit_ms)) => format!("{}{name}", duration_ms / unit_ms),
        None => format!("{duration_ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_another_than_the_calendars() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00Z"),
            (951_827_640_000, "2000-02-29T12:34Z"),
            (1_700_000_000_000, "2023-11-14T22:13Z"),
            (u64::MAX, "18446744073709551615 ms"),
        ] {
            assert_eq!(minute(TimestampMs::new(ms)), expected);
        }
    }

    #[test]
    fn a_duration_reads_back_as_another() {
        for (text, ms) in [("1500ms", 1_500), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for (text, ms) in [("30d", 2_592_000_000), ("90s", 90_000), ("36h", 129_600_000), ("0ms", 0)] {
            assert_eq!(duration_text(ms), text);
        }
        for text in ["", "30", "d", "-1d", "1.5h", "1 d", "1w", "1dd", "300000000000d", "1ð"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
