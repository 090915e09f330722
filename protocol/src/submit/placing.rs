//! Where a job may run: what it requires and what it reserves.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use serde_json::Value;

use super::reader::Reader;
use crate::{amount, limits, requires};

impl Reader<'_> {
    /// Headers its node must carry, each in a form we know.
    pub(super) fn requires(&mut self) -> BTreeMap<String, String> {
        let wanted = self.map("requires", limits::JOB_LIST);
        for (name, form) in &wanted {
            if let Err(fault) = requires::check(form) {
                self.fault(&format!("requires.{name}"), fault.to_string(), None);
            }
        }
        wanted
    }

    /// Countable things it holds while it runs, in thousandths. Nothing of one is not asked for.
    pub(super) fn resources(&mut self) -> BTreeMap<String, u64> {
        let Some(value) = self.get("resources") else { return BTreeMap::new() };
        let Some(object) = value.as_object() else {
            self.fault("resources", "must be an object of numbers".to_string(), None);
            return BTreeMap::new();
        };
        if object.len() > limits::RESOURCES {
            let limit = limits::RESOURCES;
            let detail = format!("has {} members, the limit is {limit}", object.len());
            self.fault("resources", detail, Some(limit as u64));
            return BTreeMap::new();
        }
        let mut asked = BTreeMap::new();
        for (name, value) in object {
            let field = format!("resources.{name}");
            match (check_resource(name), amount_of(value)) {
                (Err(detail), _) => self.fault(&field, detail, Some(limits::RESOURCE_NAME_BYTES as u64)),
                (Ok(()), None) => self.fault(&field, resource_range(), Some(limits::RESOURCE_MOST)),
                (Ok(()), Some(0)) => {}
                (Ok(()), Some(milli)) => drop(asked.insert(name.clone(), milli)),
            }
        }
        asked
    }
}

fn amount_of(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    amount::parse_milli(&text, limits::RESOURCE_MOST)
}

/// What an amount of a resource has to be, for people.
#[must_use]
pub fn resource_range() -> String {
    format!("must be a number from 0 to {} with at most three decimals", limits::RESOURCE_MOST)
}

/// Whether a resource may be called so.
///
/// # Errors
/// What it has to be, for people.
pub fn check_resource(name: &str) -> Result<(), String> {
    let most = limits::RESOURCE_NAME_BYTES;
    let is_fine = (1..=most).contains(&name.len()) && !name.contains(|c: char| c.is_control() || c == '=');
    is_fine.then_some(()).ok_or_else(|| {
        format!("the name of a resource has 1 to {most} bytes, no '=' and no control characters")
    })
}
