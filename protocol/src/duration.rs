//! Durations as people write them: `250ms`, `10s`, `5m`, `2h`, `1d`.

use crate::limits::DURATION_MS;

/// The text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// Not a number and a unit.
    #[error("a duration is a number and a unit: 250ms, 10s, 5m, 2h or 1d")]
    Malformed,
    /// Longer than a year.
    #[error("a duration is at most 366 days")]
    TooLong,
}

/// Reads a duration into milliseconds; fractions are allowed down to a millisecond (`0.2s`).
///
/// # Errors
/// [`BadDuration`] when it is malformed or too long.
pub fn parse_ms(text: &str) -> Result<u64, BadDuration> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(BadDuration::Malformed)?;
    let unit_ms = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(BadDuration::Malformed),
    };
    scaled(text[..split].trim_end(), unit_ms)
}

/// Reads plain seconds (`0.2`, `3`) or a duration (`37ms`), as the payloads of `sleep` and `burn` are written.
///
/// # Errors
/// [`BadDuration`] when it is neither, or too long.
pub fn parse_seconds_or_duration_ms(text: &str) -> Result<u64, BadDuration> {
    let text = text.trim();
    if text.ends_with(|c: char| c.is_ascii_alphabetic()) { parse_ms(text) } else { scaled(text, 1_000) }
}

/// `digits[.digits]` times `unit_ms`, in integers: no floating point takes part.
fn scaled(number: &str, unit_ms: u64) -> Result<u64, BadDuration> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return Err(BadDuration::Malformed);
    }
    let mut total_ms = 0_u64;
    for digit in whole.bytes() {
        total_ms = total_ms
            .checked_mul(10)
            .and_then(|t| t.checked_add(u64::from(digit - b'0')))
            .filter(|t| *t <= DURATION_MS)
            .ok_or(BadDuration::TooLong)?;
    }
    total_ms = total_ms.saturating_mul(unit_ms);
    let mut place_ms = unit_ms;
    for digit in part.bytes().take(9) {
        place_ms /= 10;
        total_ms = total_ms.saturating_add(u64::from(digit - b'0') * place_ms);
    }
    if total_ms > DURATION_MS { Err(BadDuration::TooLong) } else { Ok(total_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let cases = [
            ("250ms", 250),
            ("10s", 10_000),
            ("0.2s", 200),
            ("5m", 300_000),
            ("1.5h", 5_400_000),
            ("1d", 86_400_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "5", "ms", "-1s", "1 fortnight", "1e3s", ".s", "999999999999999999999d"] {
            assert!(parse_ms(text).is_err(), "{text}");
        }
        assert_eq!(parse_ms("400d"), Err(BadDuration::TooLong));
    }

    #[test]
    fn a_sleep_payload_is_seconds_or_a_duration() {
        assert_eq!(parse_seconds_or_duration_ms("0.2"), Ok(200));
        assert_eq!(parse_seconds_or_duration_ms(" 3\n"), Ok(3_000));
        assert_eq!(parse_seconds_or_duration_ms("37ms"), Ok(37));
        assert!(parse_seconds_or_duration_ms("soon").is_err());
    }
}
