//! From a task to the payload of its job.

use crate::limits;

/// Text with `{}` where the task goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What stands around the tasks; one part more than there are tasks.
    parts: Vec<String>,
}

/// It is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The task goes nowhere.
    #[error("template {text:?}: has no {{}}, so every task would be the same job")]
    NoPlace {
        /// What was given.
        text: String,
    },
    /// It is longer than any may be.
    #[error("template: at most {} bytes, this has {bytes}", limits::TEMPLATE_BYTES)]
    Long {
        /// How many it has.
        bytes: usize,
    },
}

impl Template {
    /// Reads one; each `{}` stands for the task.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn read(text: &str) -> Result<Self, TemplateError> {
        if text.len() > limits::TEMPLATE_BYTES {
            return Err(TemplateError::Long { bytes: text.len() });
        }
        let parts: Vec<String> = text.split("{}").map(String::from).collect();
        if parts.len() < 2 {
            return Err(TemplateError::NoPlace { text: text.to_string() });
        }
        Ok(Self { parts })
    }

    /// The payload; none when it is larger than any may be.
    pub(super) fn fill(&self, task: &[u8]) -> Option<Vec<u8>> {
        let text: usize = self.parts.iter().map(String::len).sum();
        let bytes = task.len().saturating_mul(self.parts.len() - 1).saturating_add(text);
        let parts: Vec<&[u8]> = self.parts.iter().map(String::as_bytes).collect();
        (bytes <= protocol::limits::PAYLOAD_BYTES).then(|| parts.join(task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_stands_wherever_the_braces_stood() {
        let fill = |template: &str, task: &[u8]| Template::read(template).unwrap().fill(task);
        assert_eq!(fill("{}ms", b"37"), Some(b"37ms".to_vec()));
        assert_eq!(fill("{}", b"\xff{}"), Some(b"\xff{}".to_vec()), "bytes stay as they are");
        assert_eq!(fill("{} and {}", b"x"), Some(b"x and x".to_vec()));
        assert_eq!(fill("{}ms", b""), Some(b"ms".to_vec()));
    }

    #[test]
    fn what_is_too_large_or_leads_nowhere_is_refused() {
        let limit = protocol::limits::PAYLOAD_BYTES;
        let template = Template::read("{}{}").unwrap();
        assert!(template.fill(&vec![b'x'; limit / 2]).is_some());
        assert_eq!(template.fill(&vec![b'x'; limit / 2 + 1]), None);
        assert_eq!(Template::read("ms"), Err(TemplateError::NoPlace { text: "ms".into() }));
        assert!(Template::read(&"{}".repeat(limits::TEMPLATE_BYTES)).is_err());
    }
}
