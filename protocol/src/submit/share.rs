//! `limits` of a submission: the bounds that it shares with other jobs of one key.

use alloc::format;
use alloc::string::{String, ToString};

use serde_json::Value;

use super::reader::Reader;
use crate::limits::{RATE_PERIODS_MS, SHARE_CONCURRENCY, SHARE_KEY_BYTES, SHARE_STARTS};
use crate::more::Share;

impl Reader<'_> {
    pub(super) fn share(&mut self) -> Option<Share> {
        let Some(object) = self.get("limits")?.as_object() else {
            self.fault("limits", "must be an object of key, concurrency and rate".to_string(), None);
            return None;
        };
        for name in object.keys().filter(|name| !["key", "concurrency", "rate"].contains(&name.as_str())) {
            self.fault(&format!("limits.{name}"), "is none of key, concurrency and rate".to_string(), None);
        }
        let given = |name: &str| object.get(name).filter(|value| !value.is_null());
        let key = self.share_key(given("key"));
        let concurrency = given("concurrency").and_then(|value| self.concurrency(value));
        let rate = given("rate").and_then(|value| self.rate(value));
        if given("concurrency").is_none() && given("rate").is_none() {
            self.fault("limits", "names neither concurrency nor rate".to_string(), None);
        }
        Some(Share { key, concurrency, rate })
    }

    fn share_key(&mut self, value: Option<&Value>) -> String {
        let most = SHARE_KEY_BYTES as u64;
        let (detail, limit) = match value {
            None => ("is required".to_string(), None),
            Some(Value::String(key)) if key.is_empty() || key.len() > SHARE_KEY_BYTES => {
                (format!("must have 1 to {most} bytes, has {}", key.len()), Some(most))
            }
            Some(Value::String(key)) if key.chars().any(char::is_control) => {
                ("must not hold control characters".to_string(), None)
            }
            Some(Value::String(key)) => return key.clone(),
            Some(_) => ("must be text".to_string(), None),
        };
        self.fault("limits.key", detail, limit);
        String::new()
    }

    fn concurrency(&mut self, value: &Value) -> Option<u32> {
        let number = value.as_u64().filter(|number| (1..=SHARE_CONCURRENCY).contains(number));
        if number.is_none() {
            let detail = format!("must be a whole number from 1 to {SHARE_CONCURRENCY}");
            self.fault("limits.concurrency", detail, Some(SHARE_CONCURRENCY));
        }
        number.and_then(|number| u32::try_from(number).ok())
    }

    fn rate(&mut self, value: &Value) -> Option<(u32, u64)> {
        let rate = value.as_str().and_then(rate_of);
        if rate.is_none() {
            let detail =
                format!("must be text such as 5/s, 100/m or 2000/h, the number from 1 to {SHARE_STARTS}");
            self.fault("limits.rate", detail, Some(SHARE_STARTS));
        }
        rate
    }
}

/// `5/s`: so many starts in so many milliseconds.
fn rate_of(text: &str) -> Option<(u32, u64)> {
    let (number, unit) = text.split_once('/')?;
    let place = ["s", "m", "h"].iter().position(|known| *known == unit)?;
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let starts = number.parse::<u64>().ok().filter(|n| is_plain && (1..=SHARE_STARTS).contains(n))?;
    Some((u32::try_from(starts).ok()?, RATE_PERIODS_MS[place]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use serde_json::json;

    fn read(limits: &Value) -> Result<Option<Share>, Vec<String>> {
        let job = json!({"class": "echo", "limits": limits});
        let fields = job.as_object().expect("an object");
        let read = super::super::parse(fields).map(|spec| spec.more.limits);
        read.map_err(|errors| errors.into_iter().map(|error| error.field).collect())
    }

    #[test]
    fn limits_are_read_as_they_are_written() {
        let share = |concurrency, rate| Share { key: "shop".to_string(), concurrency, rate };
        for (limits, expected) in [
            (json!({"key": "shop", "concurrency": 2}), share(Some(2), None)),
            (json!({"key": "shop", "rate": "5/s", "concurrency": null}), share(None, Some((5, 1_000)))),
            (
                json!({"key": "shop", "rate": "100/m", "concurrency": 100_000}),
                share(Some(100_000), Some((100, 60_000))),
            ),
            (json!({"key": "shop", "rate": "1000000/h"}), share(None, Some((1_000_000, 3_600_000)))),
        ] {
            assert_eq!(read(&limits), Ok(Some(expected)), "{limits}");
        }
        assert_eq!(read(&Value::Null), Ok(None));
    }

    #[test]
    fn bad_limits_are_refused_by_the_name_of_their_member() {
        let long = "k".repeat(201);
        for (limits, fields) in [
            (json!("shop"), &["limits"][..]),
            (json!({"key": "shop"}), &["limits"]),
            (json!({"concurrency": 1}), &["limits.key"]),
            (json!({"key": "", "concurrency": 1}), &["limits.key"]),
            (json!({"key": 7, "concurrency": 1}), &["limits.key"]),
            (json!({"key": "a\nb", "concurrency": 1}), &["limits.key"]),
            (json!({"key": long, "concurrency": 1}), &["limits.key"]),
            (json!({"key": "k", "concurrency": 0}), &["limits.concurrency"]),
            (json!({"key": "k", "concurrency": -1}), &["limits.concurrency"]),
            (json!({"key": "k", "concurrency": 100_001}), &["limits.concurrency"]),
            (json!({"key": "k", "concurrency": 1.5}), &["limits.concurrency"]),
            (json!({"key": "k", "concurrency": "2"}), &["limits.concurrency"]),
            (json!({"key": "k", "concurrency": 1, "speed": 2}), &["limits.speed"]),
            (json!({"speed": 2}), &["limits.speed", "limits.key", "limits"]),
        ] {
            assert_eq!(read(&limits), Err(fields.iter().map(ToString::to_string).collect()), "{limits}");
        }
        for rate in [
            "5",
            "5/d",
            "0/s",
            "-5/s",
            "+5/s",
            "1000001/s",
            "5/",
            "/s",
            " 5/s",
            "1.5/s",
            "5/sec",
            "99999999999999999999/s",
        ] {
            assert_eq!(
                read(&json!({"key": "k", "rate": rate})),
                Err([String::from("limits.rate")].into()),
                "{rate}"
            );
        }
        assert_eq!(read(&json!({"key": "k", "rate": 5})), Err([String::from("limits.rate")].into()));
    }
}
