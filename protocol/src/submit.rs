//! From a user's JSON to a [`JobSpec`]: every field checked, every fault named with its field and its limit, all at once.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::job::{IfUnsatisfiable, JobSpec};
use crate::limits;
use crate::more::More;
use reader::Reader;

mod files;
mod placing;
mod reader;
mod retry;
mod share;
#[cfg(test)]
mod tests;

pub use files::is_file_name;
pub use placing::{check_resource, resource_range};
pub use reader::parse_bytes;

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
const NOT_YET: [&str; 8] = ["after", "delay", "expires", "ref", "run_at", "webhook", "batch", "schedule"];

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

/// Makes a job of a body that is the payload itself. It is kept as it is: it should be no part of a larger buffer.
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

const KNOWN: [&str; 23] = [
    "class",
    "payload",
    "payload_base64",
    "requires",
    "cpu",
    "memory",
    "resources",
    "priority",
    "submitter",
    "timeout",
    "quiet_limit",
    "max_attempts",
    "max_lost",
    "retry",
    "at_most_once",
    "labels",
    "env",
    "args",
    "stdin",
    "if_unsatisfiable",
    "limits",
    "files",
    "outputs",
];

impl Reader<'_> {
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
        spec.more.files = self.files();
        spec.more.outputs = self.outputs();
        let files: usize = spec.more.files.values().map(Bytes::len).sum();
        let stdin = spec.stdin.as_ref().map_or(0, Bytes::len);
        check_payload_size(spec.payload.len() + stdin + files, &mut self.errors);
        spec.args = self.list("args");
        spec.env = self.map("env", limits::JOB_LIST);
        spec.requires = self.requires();
        spec.labels = self.map("labels", limits::LABELS);
        self.check_headers(&spec);
        spec.cpu_milli = self.cores();
        spec.memory_bytes = self.memory();
        spec.more.resources = self.resources();
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
        self.tries(&mut spec);
        spec.if_unsatisfiable = self.if_unsatisfiable();
        spec.more.limits = self.share();
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
