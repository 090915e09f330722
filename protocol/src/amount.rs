//! Amounts as people write them (`2`, `0.5`), held in thousandths: no floating point takes part.

use alloc::format;
use alloc::string::{String, ToString};

/// Reads an amount with at most three decimals, from 0 to `most` whole ones, into thousandths. None: it is no such number.
/// (Zeros behind the third decimal are no further decimals.)
#[must_use]
pub fn parse_milli(text: &str, most: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let part = part.trim_end_matches('0');
    if part.len() > 3 {
        return None;
    }
    let thousandths = part.bytes().chain(*b"000").take(3).fold(0, |sum, b| sum * 10 + u64::from(b - b'0'));
    let milli = whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(thousandths)?;
    (milli <= most.saturating_mul(1_000)).then_some(milli)
}

/// Thousandths as people read them: `2`, `0.5`.
#[must_use]
pub fn text_of_milli(milli: u64) -> String {
    let (whole, part) = (milli / 1_000, milli % 1_000);
    if part == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{part:03}");
    text.trim_end_matches('0').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_down_to_thousandths_and_are_shown_as_written() {
        for (text, milli) in [("0", 0), ("2", 2_000), ("0.5", 500), ("1.25", 1_250), ("7.001", 7_001)] {
            assert_eq!(parse_milli(text, 10), Some(milli), "{text}");
            assert_eq!(text_of_milli(milli), text);
        }
        assert_eq!(parse_milli("10.000000", 10), Some(10_000));
    }

    #[test]
    fn what_is_negative_huge_too_fine_or_no_number_is_refused() {
        let bad =
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "10.001", "0.0001", "1,5", " 1", "18446744073709551615"];
        for text in bad {
            assert_eq!(parse_milli(text, 10), None, "{text:?}");
        }
        assert_eq!(parse_milli("18446744073709551615", u64::MAX), None, "it has no thousandths");
    }
}
