//! The members of a submission by their kinds: texts, numbers, sizes, times, lists. Faults gather; each names its field.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::FieldError;
use crate::amount;
use crate::duration;
use crate::limits;

/// Walks the members of a submission and collects faults.
pub(super) struct Reader<'a> {
    pub(super) fields: &'a Map<String, Value>,
    pub(super) errors: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    pub(super) fn fault(&mut self, field: &str, detail: String, limit: Option<u64>) {
        self.errors.push(FieldError { field: field.chars().take(200).collect(), detail, limit });
    }

    /// A member that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|v| !v.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.fault(name, "must be text".to_string(), None);
                None
            }
        }
    }

    pub(super) fn payload(&mut self) -> Bytes {
        let plain = self.text("payload");
        match self.text("payload_base64") {
            None => plain.map(|t| Bytes::from(t.into_bytes())).unwrap_or_default(),
            Some(_) if plain.is_some() => {
                self.fault("payload_base64", "cannot be given together with payload".to_string(), None);
                Bytes::new()
            }
            Some(text) => match base64::engine::general_purpose::STANDARD.decode(text.as_bytes()) {
                Ok(bytes) => Bytes::from(bytes),
                Err(_) => {
                    self.fault("payload_base64", "must be base64 (RFC 4648, with padding)".to_string(), None);
                    Bytes::new()
                }
            },
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let texts: Option<Vec<String>> = value
            .as_array()
            .filter(|items| items.len() <= limits::JOB_LIST)
            .and_then(|items| items.iter().map(|i| i.as_str().map(ToString::to_string)).collect());
        match texts {
            Some(texts) if texts.iter().all(|t| !t.contains('\0')) => texts,
            _ => {
                let limit = limits::JOB_LIST as u64;
                self.fault(name, format!("must be a list of at most {limit} texts without NUL"), Some(limit));
                Vec::new()
            }
        }
    }

    pub(super) fn map(&mut self, name: &str, limit: usize) -> BTreeMap<String, String> {
        let Some(value) = self.get(name) else { return BTreeMap::new() };
        let Some(object) = value.as_object() else {
            self.fault(name, "must be an object of texts".to_string(), None);
            return BTreeMap::new();
        };
        if object.len() > limit {
            let detail = format!("has {} members, the limit is {limit}", object.len());
            self.fault(name, detail, Some(limit as u64));
            return BTreeMap::new();
        }
        let mut map = BTreeMap::new();
        for (key, value) in object {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => {
                    self.fault(&format!("{name}.{key}"), "must be text or a number".to_string(), None);
                    continue;
                }
            };
            if key.is_empty() || key.contains(['\0', '=']) || text.contains('\0') {
                self.fault(
                    &format!("{name}.{key}"),
                    "name and value must not hold NUL, the name no '='".to_string(),
                    None,
                );
            } else {
                map.insert(key.clone(), text);
            }
        }
        map
    }

    /// True or false; false when it is not there.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(name, "must be true or false".to_string(), None);
                false
            }
        }
    }

    pub(super) fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        match self.get(name)?.as_u64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.fault(name, format!("must be a whole number from {least} to {most}"), Some(most));
                None
            }
        }
    }

    /// `cpu` is cores with a fraction down to a thousandth: `0.5`, `"2"`.
    pub(super) fn cores(&mut self) -> u32 {
        let most = 1_000;
        let text = match self.get("cpu") {
            None => return 0,
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => String::new(),
        };
        match amount::parse_milli(&text, most) {
            Some(milli) => milli as u32,
            None => {
                let detail =
                    format!("must be cores from 0 to {most} with at most three decimals, such as 0.5");
                self.fault("cpu", detail, Some(most));
                0
            }
        }
    }

    pub(super) fn memory(&mut self) -> u64 {
        let text = match self.get("memory") {
            None => return 0,
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => String::new(),
        };
        if let Some(bytes) = parse_bytes(&text) {
            return bytes;
        }
        self.fault("memory", "must be bytes, with a unit if you like: 512MiB, 2G".to_string(), None);
        0
    }

    pub(super) fn duration(&mut self, field: &str, value: Option<&Value>) -> Option<u64> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => match duration::parse_ms(text) {
                Ok(0) => {
                    self.fault(field, "must be longer than nothing".to_string(), None);
                    None
                }
                Ok(ms) => Some(ms),
                Err(error) => {
                    self.fault(field, error.to_string(), Some(limits::DURATION_MS));
                    None
                }
            },
            Some(_) => {
                self.fault(field, duration::BadDuration::Malformed.to_string(), None);
                None
            }
        }
    }
}

/// `512`, `512KiB`, `2G`: bytes, with a unit of 1024 or (KB, MB …) of 1000.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[split..].trim_start() {
        "" | "B" => 1,
        "K" | "k" | "KiB" | "Ki" => 1 << 10,
        "M" | "m" | "MiB" | "Mi" => 1 << 20,
        "G" | "g" | "GiB" | "Gi" => 1 << 30,
        "T" | "TiB" | "Ti" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    text[..split].parse::<u64>().ok()?.checked_mul(unit)
}
