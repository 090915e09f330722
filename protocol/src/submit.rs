//! From a user's JSON to a [`JobSpec`]: every field checked, every fault named with its field and its limit, all at once.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::duration;
use crate::job::{IfUnsatisfiable, JobSpec};
use crate::limits;
use crate::more::More;

/// One fault of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Path of the field.
    pub field: String,
    /// What is wrong, in words.
    pub detail: String,
    /// The bound it broke, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Fields of the public surface that this version does not do yet; naming one is an error, never silence.
const NOT_YET: [&str; 13] = [
    "after",
    "at_most_once",
    "delay",
    "expires",
    "files",
    "limits",
    "outputs",
    "ref",
    "resources",
    "run_at",
    "webhook",
    "batch",
    "schedule",
];

/// A job with nothing but its class: all defaults.
#[must_use]
pub fn defaults(class: &str) -> JobSpec {
    JobSpec {
        class: class.to_string(),
        payload: Bytes::new(),
        args: Vec::new(),
        env: BTreeMap::new(),
        stdin: None,
        requires: BTreeMap::new(),
        cpu_milli: 0,
        memory_bytes: 0,
        priority: 4,
        submitter: String::new(),
        timeout_ms: None,
        max_attempts: 3,
        max_lost: 10,
        retry_base_ms: 1_000,
        retry_max_ms: 300_000,
        labels: BTreeMap::new(),
        if_unsatisfiable: IfUnsatisfiable::Wait,
        more: More::default(),
    }
}

/// Reads a submission that is JSON.
///
/// # Errors
/// Every fault found, each with its field.
pub fn parse(fields: &Map<String, Value>) -> Result<JobSpec, Vec<FieldError>> {
    let mut reader = Reader { fields, errors: Vec::new() };
    let spec = reader.spec();
    if reader.errors.is_empty() { Ok(spec) } else { Err(reader.errors) }
}

/// Makes a job of a body that is the payload itself.
///
/// # Errors
/// The class or the payload breaks a limit.
pub fn raw(class: &str, payload: Bytes) -> Result<JobSpec, Vec<FieldError>> {
    let mut errors = Vec::new();
    check_class(class, &mut errors);
    check_payload_size(payload.len(), &mut errors);
    if errors.is_empty() { Ok(JobSpec { payload, ..defaults(class) }) } else { Err(errors) }
}

/// SHA-256 of a request as parsed, before defaults: members sorted by name, query included.
#[must_use]
pub fn fingerprint(query: &str, body: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((query.len() as u64).to_be_bytes());
    hash.update(query.as_bytes());
    hash.update(body.to_string().as_bytes());
    hash.finalize().into()
}

/// Whether a text may be an idempotency key.
///
/// # Errors
/// It is empty, too long, or not printable ASCII.
pub fn check_key(key: &[u8]) -> Result<(), FieldError> {
    let detail = if key.is_empty() || key.len() > limits::KEY_BYTES {
        format!("must have 1 to {} characters, has {}", limits::KEY_BYTES, key.len())
    } else if key.iter().all(|b| (0x20..0x7f).contains(b)) {
        return Ok(());
    } else {
        "must be printable ASCII".to_string()
    };
    Err(FieldError { field: "Idempotency-Key".to_string(), detail, limit: Some(limits::KEY_BYTES as u64) })
}

fn check_class(class: &str, errors: &mut Vec<FieldError>) {
    if class.is_empty() || class.len() > limits::CLASS_BYTES {
        errors.push(FieldError {
            field: "class".to_string(),
            detail: format!("must have 1 to {} bytes, has {}", limits::CLASS_BYTES, class.len()),
            limit: Some(limits::CLASS_BYTES as u64),
        });
    } else if class.chars().any(char::is_control) {
        errors.push(FieldError {
            field: "class".to_string(),
            detail: "must not hold control characters".to_string(),
            limit: None,
        });
    }
}

fn check_payload_size(bytes: usize, errors: &mut Vec<FieldError>) {
    if bytes > limits::PAYLOAD_BYTES {
        errors.push(FieldError {
            field: "payload".to_string(),
            detail: format!("has {bytes} bytes, the limit is {}", limits::PAYLOAD_BYTES),
            limit: Some(limits::PAYLOAD_BYTES as u64),
        });
    }
}

/// Walks the members of a submission and collects faults.
struct Reader<'a> {
    fields: &'a Map<String, Value>,
    errors: Vec<FieldError>,
}

const KNOWN: [&str; 18] = [
    "class",
    "payload",
    "payload_base64",
    "requires",
    "cpu",
    "memory",
    "priority",
    "submitter",
    "timeout",
    "quiet_limit",
    "max_attempts",
    "max_lost",
    "retry",
    "labels",
    "env",
    "args",
    "stdin",
    "if_unsatisfiable",
];

impl<'a> Reader<'a> {
    fn spec(&mut self) -> JobSpec {
        self.refuse_unknown();
        let class = match self.text("class") {
            Some(class) => class,
            None if self.fields.contains_key("class") => return defaults(""),
            None => {
                self.fault("class", "is required".to_string(), None);
                return defaults("");
            }
        };
        check_class(&class, &mut self.errors);
        let mut spec = defaults(&class);
        spec.payload = self.payload();
        spec.stdin = self.text("stdin").map(|t| Bytes::from(t.into_bytes()));
        check_payload_size(spec.payload.len() + spec.stdin.as_ref().map_or(0, Bytes::len), &mut self.errors);
        spec.args = self.list("args");
        spec.env = self.map("env", limits::JOB_LIST);
        spec.requires = self.map("requires", limits::JOB_LIST);
        spec.labels = self.map("labels", limits::LABELS);
        self.check_headers(&spec);
        spec.cpu_milli = self.cores();
        spec.memory_bytes = self.memory();
        spec.priority = self.number("priority", 0, 9).map_or(spec.priority, |n| n as u8);
        spec.submitter = self.text("submitter").unwrap_or_default();
        if spec.submitter.len() > limits::SUBMITTER_BYTES {
            let limit = limits::SUBMITTER_BYTES as u64;
            self.fault(
                "submitter",
                format!("has {} bytes, the limit is {limit}", spec.submitter.len()),
                Some(limit),
            );
        }
        spec.timeout_ms = self.duration("timeout", self.fields.get("timeout"));
        spec.more.quiet_limit_ms = self.duration("quiet_limit", self.fields.get("quiet_limit"));
        let most = u64::from(limits::MAX_ATTEMPTS);
        spec.max_attempts = self.number("max_attempts", 1, most).map_or(spec.max_attempts, |n| n as u32);
        spec.max_lost = self.number("max_lost", 1, most).map_or(spec.max_lost, |n| n as u32);
        self.retry(&mut spec);
        spec.if_unsatisfiable = self.if_unsatisfiable();
        spec
    }

    fn refuse_unknown(&mut self) {
        for name in self.fields.keys() {
            if NOT_YET.contains(&name.as_str()) {
                self.fault(name, "is not supported by this version yet".to_string(), None);
            } else if !KNOWN.contains(&name.as_str()) {
                self.fault(name, unknown(name), None);
            }
        }
    }

    fn fault(&mut self, field: &str, detail: String, limit: Option<u64>) {
        self.errors.push(FieldError { field: field.chars().take(200).collect(), detail, limit });
    }

    /// A member that is there and not null.
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|v| !v.is_null())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.fault(name, "must be text".to_string(), None);
                None
            }
        }
    }

    fn payload(&mut self) -> Bytes {
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

    fn list(&mut self, name: &str) -> Vec<String> {
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

    fn map(&mut self, name: &str, limit: usize) -> BTreeMap<String, String> {
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

    fn check_headers(&mut self, spec: &JobSpec) {
        let maps = [&spec.env, &spec.requires, &spec.labels];
        let pairs: usize = maps.iter().flat_map(|m| m.iter()).map(|(k, v)| k.len() + v.len()).sum();
        let bytes = pairs + spec.args.iter().map(String::len).sum::<usize>();
        if bytes > limits::HEADERS_BYTES {
            let limit = limits::HEADERS_BYTES as u64;
            let detail =
                format!("env, args, requires and labels together have {bytes} bytes, the limit is {limit}");
            self.fault("labels", detail, Some(limit));
        }
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        match self.get(name)?.as_u64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.fault(name, format!("must be a whole number from {least} to {most}"), Some(most));
                None
            }
        }
    }

    /// `cpu` is cores with a fraction down to a thousandth: `0.5`, `"2"`.
    fn cores(&mut self) -> u32 {
        let most_milli = 1_000_000;
        let text = match self.get("cpu") {
            None => return 0,
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => String::new(),
        };
        match duration::parse_seconds_or_duration_ms(&text) {
            Ok(milli) if milli <= most_milli && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                milli as u32
            }
            _ => {
                self.fault("cpu", "must be cores from 0 to 1000, such as 0.5".to_string(), Some(1000));
                0
            }
        }
    }

    fn memory(&mut self) -> u64 {
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

    fn duration(&mut self, field: &str, value: Option<&Value>) -> Option<u64> {
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

    /// `retry` takes its pauses; choosing by reason or exit code comes with a later version.
    fn retry(&mut self, spec: &mut JobSpec) {
        let Some(value) = self.get("retry").cloned() else { return };
        let Some(object) = value.as_object() else {
            self.fault("retry", "must be an object".to_string(), None);
            return;
        };
        for name in object.keys() {
            if name != "base" && name != "max" {
                self.fault(
                    &format!("retry.{name}"),
                    "is not supported by this version yet".to_string(),
                    None,
                );
            }
        }
        spec.retry_base_ms = self.duration("retry.base", object.get("base")).unwrap_or(spec.retry_base_ms);
        spec.retry_max_ms = self.duration("retry.max", object.get("max")).unwrap_or(spec.retry_max_ms);
    }

    fn if_unsatisfiable(&mut self) -> IfUnsatisfiable {
        match self.text("if_unsatisfiable").as_deref() {
            None | Some("wait") => IfUnsatisfiable::Wait,
            Some("fail") => IfUnsatisfiable::Fail,
            Some(_) => {
                self.fault("if_unsatisfiable", "must be wait or fail".to_string(), None);
                IfUnsatisfiable::Wait
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

fn unknown(name: &str) -> String {
    let near = KNOWN.iter().map(|known| (distance(name, known), known)).min();
    match near {
        Some((steps, known)) if steps <= 2 => format!("is no field of a job; did you mean {known}?"),
        _ => "is no field of a job".to_string(),
    }
}

/// Edits between two short names (Levenshtein), to name the nearest known one.
#[must_use]
pub fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<JobSpec, Vec<FieldError>> {
        let value: Value = serde_json::from_str(json).unwrap();
        parse(value.as_object().unwrap())
    }

    fn fields(json: &str) -> Vec<String> {
        read(json).unwrap_err().into_iter().map(|e| e.field).collect()
    }

    #[test]
    fn only_the_class_is_required() {
        let spec = read(r#"{"class":"echo"}"#).unwrap();
        assert_eq!(spec, defaults("echo"));
        assert_eq!(fields("{}"), ["class"]);
    }

    #[test]
    fn every_fault_is_named_with_its_field() {
        let bad = r#"{"class":"","payload":3,"prioritty":1,"priority":10,"timeout":"soon","env":{"a=b":"x"},"after":[]}"#;
        assert_eq!(fields(bad), ["after", "prioritty", "class", "payload", "env.a=b", "priority", "timeout"]);
        let errors = read(r#"{"class":"echo","prioritty":1}"#).unwrap_err();
        assert_eq!(errors[0].detail, "is no field of a job; did you mean priority?");
    }

    #[test]
    fn a_payload_over_the_limit_names_the_limit() {
        let errors = raw("echo", Bytes::from(alloc::vec![0; limits::PAYLOAD_BYTES + 1])).unwrap_err();
        assert_eq!((errors[0].field.as_str(), errors[0].limit), ("payload", Some(1_048_576)));
        assert!(raw("echo", Bytes::from(alloc::vec![0; limits::PAYLOAD_BYTES])).is_ok());
    }

    #[test]
    fn sizes_and_cores_read_as_people_write_them() {
        let spec = read(r#"{"class":"a","cpu":0.5,"memory":"512MiB","payload_base64":"aGk="}"#).unwrap();
        assert_eq!((spec.cpu_milli, spec.memory_bytes, &spec.payload[..]), (500, 512 << 20, &b"hi"[..]));
        assert_eq!(fields(r#"{"class":"a","cpu":"1ms","memory":"x"}"#), ["cpu", "memory"]);
    }

    #[test]
    fn a_quiet_limit_is_a_duration_and_none_by_default() {
        let asked = |text: &str| read(&format!(r#"{{"class":"sh","quiet_limit":{text}}}"#));
        assert_eq!(asked(r#""1m""#).unwrap().more.quiet_limit_ms, Some(60_000));
        assert_eq!(asked("null").unwrap(), defaults("sh"));
        for bad in [r#""0s""#, r#""soon""#, "5"] {
            assert_eq!(asked(bad).unwrap_err()[0].field, "quiet_limit");
        }
    }

    #[test]
    fn the_fingerprint_ignores_the_order_of_members_and_no_value() {
        let a: Value = serde_json::from_str(r#"{"class":"echo","payload":"x"}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"payload":"x","class":"echo"}"#).unwrap();
        let c: Value = serde_json::from_str(r#"{"payload":"y","class":"echo"}"#).unwrap();
        assert_eq!(fingerprint("", &a), fingerprint("", &b));
        assert_ne!(fingerprint("", &a), fingerprint("", &c));
        assert_ne!(fingerprint("", &a), fingerprint("wait=1s", &a));
    }

    #[test]
    fn a_key_is_1_to_255_printable_characters() {
        assert!(check_key(b"order-17").is_ok());
        for bad in [&b""[..], &[b'a'; 256][..], b"a\nb", "ä".as_bytes()] {
            assert!(check_key(bad).is_err());
        }
    }
}
