//! How often a job is tried: `max_attempts`, `max_lost`, `retry`, `at_most_once`.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use serde_json::Value;

use super::Reader;
use crate::job::{JobSpec, Reason};
use crate::limits;
use crate::more::RetryRule;

/// What `retry` takes.
const MEMBERS: [&str; 4] = ["base", "max", "on", "not_exit_codes"];
/// Codes a program can fail with.
const EXIT_CODES: core::ops::RangeInclusive<i64> = 1..=255;

impl Reader<'_> {
    pub(super) fn tries(&mut self, spec: &mut JobSpec) {
        let most = u64::from(limits::MAX_ATTEMPTS);
        let attempts = self.number("max_attempts", 1, most);
        let lost = self.number("max_lost", 1, most);
        spec.max_attempts = attempts.map_or(spec.max_attempts, |n| n as u32);
        spec.max_lost = lost.map_or(spec.max_lost, |n| n as u32);
        self.retry(spec);
        spec.more.at_most_once = self.flag("at_most_once");
        if spec.more.at_most_once {
            for (field, given) in [("max_attempts", attempts), ("max_lost", lost)] {
                if given.is_some_and(|given| given > 1) {
                    self.fault(field, "must be 1, or not be given, with at_most_once".to_string(), Some(1));
                }
            }
            (spec.max_attempts, spec.max_lost) = (1, 1);
        }
    }

    fn retry(&mut self, spec: &mut JobSpec) {
        let Some(value) = self.get("retry") else { return };
        let Some(object) = value.as_object() else {
            self.fault("retry", "must be an object".to_string(), None);
            return;
        };
        for name in object.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
            let detail = format!("is no member of retry; it takes {}", MEMBERS.join(", "));
            self.fault(&format!("retry.{name}"), detail, None);
        }
        let (base_ms, max_ms) =
            (self.duration("retry.base", object.get("base")), self.duration("retry.max", object.get("max")));
        if let (Some(base_ms), Some(max_ms)) = (base_ms, max_ms)
            && base_ms > max_ms
        {
            self.fault("retry.base", "must not be longer than retry.max".to_string(), Some(max_ms));
        }
        spec.retry_base_ms = base_ms.unwrap_or(spec.retry_base_ms);
        spec.retry_max_ms = max_ms.unwrap_or(spec.retry_max_ms);
        let rule = RetryRule {
            on: self.reasons(object.get("on")),
            not_exit_codes: self.exit_codes(object.get("not_exit_codes")),
        };
        // Who asks for what is usual asks for nothing.
        spec.more.retry = Some(rule).filter(|rule| *rule != RetryRule::usual());
    }

    /// Each once, in one order: what means the same is written the same.
    fn reasons(&mut self, value: Option<&Value>) -> Vec<Reason> {
        let field = "retry.on";
        let usual = RetryRule::usual().on;
        let Some(items) = self.items(field, value) else { return usual };
        let mut reasons = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let known = RetryRule::REASONS.into_iter().find(|reason| item.as_str() == Some(reason.word()));
            match known {
                Some(reason) => reasons.push(reason),
                None => {
                    let words = RetryRule::REASONS.map(Reason::word).join(", ");
                    self.fault(&format!("{field}[{place}]"), format!("must be one of {words}"), None);
                }
            }
        }
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }

    fn exit_codes(&mut self, value: Option<&Value>) -> Vec<i32> {
        let field = "retry.not_exit_codes";
        let items = self.items(field, value).unwrap_or_default();
        let mut codes = Vec::new();
        for (place, item) in items.iter().enumerate() {
            match item.as_i64().filter(|code| EXIT_CODES.contains(code)) {
                Some(code) => codes.push(code as i32),
                None => {
                    let (least, most) = (*EXIT_CODES.start(), *EXIT_CODES.end());
                    let detail = format!("must be a whole number from {least} to {most}");
                    self.fault(&format!("{field}[{place}]"), detail, Some(most.unsigned_abs()));
                }
            }
        }
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// The members of a list that is given.
    fn items(&mut self, field: &str, value: Option<&Value>) -> Option<Vec<Value>> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) if items.len() <= limits::JOB_LIST => Some(items.clone()),
            Some(_) => {
                let limit = limits::JOB_LIST as u64;
                self.fault(field, format!("must be a list of at most {limit}"), Some(limit));
                None
            }
        }
    }
}
