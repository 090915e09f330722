//! The example payload: Python that sleeps 10 to 60 seconds and prints a sum.

/// Seconds it sleeps, at least and at most.
const SECONDS: (u16, u16) = (10, 60);
/// Largest summand.
const MOST: u16 = 999;

/// A fresh one.
pub(crate) fn payload() -> String {
    let (least, most) = SECONDS;
    let seconds = least + chance(most - least);
    format!("import time\n\ntime.sleep({seconds})\nprint({} + {})\n", chance(MOST), chance(MOST))
}

/// A number from 0 to `most`; without randomness `most`, for nothing hangs on it.
fn chance(most: u16) -> u16 {
    let mut bytes = [0_u8; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u16::from_le_bytes(bytes) % (most + 1),
        Err(_) => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sleeps_10_to_60_seconds_and_prints_a_sum() {
        for _ in 0..200 {
            let text = payload();
            let rest = text.strip_prefix("import time\n\ntime.sleep(").unwrap();
            let (seconds, rest) = rest.split_once(")\nprint(").unwrap();
            assert!((10..=60).contains(&seconds.parse::<u16>().unwrap()), "{text}");
            assert!(rest.contains(" + ") && rest.ends_with(")\n"), "{text}");
        }
    }
}
