//! Files that come with a job, and those that it leaves as its result.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use base64::Engine as _;
use bytes::Bytes;

use super::reader::Reader;
use crate::limits::{FILE_NAME_BYTES, JOB_FILES};

/// Whether this names a file below the folder of an attempt, and nothing else: words joined by `/`, none of them empty, `.` or
/// `..`, without control characters.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let is_word = |word: &str| !matches!(word, "" | "." | "..");
    name.len() <= FILE_NAME_BYTES && !name.chars().any(char::is_control) && name.split('/').all(is_word)
}

/// What is said of a name that is none.
fn no_name() -> String {
    format!(
        "must be named by at most {FILE_NAME_BYTES} bytes: a path below its folder, without a / in front, .., or control characters"
    )
}

impl Reader<'_> {
    /// `files`: the files laid into the folder before the program starts.
    pub(super) fn files(&mut self) -> BTreeMap<String, Bytes> {
        let Some(value) = self.get("files") else { return BTreeMap::new() };
        let Some(object) = value.as_object().filter(|object| object.len() <= JOB_FILES) else {
            let limit = JOB_FILES as u64;
            let detail = format!("must be an object of at most {limit} names with base64");
            self.fault("files", detail, Some(limit));
            return BTreeMap::new();
        };
        let mut files = BTreeMap::new();
        for (name, value) in object {
            let field = format!("files.{name}");
            let text = value.as_str().unwrap_or("?");
            match base64::engine::general_purpose::STANDARD.decode(text.as_bytes()) {
                _ if !is_file_name(name) => self.fault(&field, no_name(), Some(FILE_NAME_BYTES as u64)),
                Ok(bytes) => drop(files.insert(name.clone(), Bytes::from(bytes))),
                Err(_) => self.fault(&field, "must be base64 (RFC 4648, with padding)".to_string(), None),
            }
        }
        // One cannot be a file and the folder of another.
        let folder_of = |name: &String| files.keys().any(|other| is_below(other, name));
        if let Some(name) = files.keys().find(|name| folder_of(name)).cloned() {
            self.fault(&format!("files.{name}"), "is also the folder of another one".to_string(), None);
        }
        files
    }

    /// `outputs`: the names of the files that belong to the result.
    pub(super) fn outputs(&mut self) -> Vec<String> {
        let names: Option<Vec<String>> = match self.get("outputs") {
            None => return Vec::new(),
            Some(value) => value
                .as_array()
                .filter(|items| items.len() <= JOB_FILES)
                .and_then(|items| items.iter().map(|item| item.as_str().map(ToString::to_string)).collect()),
        };
        let Some(mut names) = names else {
            let limit = JOB_FILES as u64;
            self.fault("outputs", format!("must be a list of at most {limit} names"), Some(limit));
            return Vec::new();
        };
        for (place, name) in names.iter().enumerate() {
            if !is_file_name(name) {
                self.fault(&format!("outputs[{place}]"), no_name(), Some(FILE_NAME_BYTES as u64));
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

fn is_below(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
