//! What stands around every value: who says it, in which start, as which number, when.
//!
//! By these a listener knows what is new, whichever way and however often it comes.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    /// Its name.
    pub(crate) node: String,
    /// Its id, hexadecimal.
    pub(crate) id: String,
    /// Its start.
    pub(crate) boot: u64,
}

/// An agent's message.
#[derive(Serialize)]
pub(crate) struct Message<'a> {
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) value: &'a RawValue,
}

#[derive(Serialize)]
struct Body<'a, What> {
    node: &'a str,
    id: &'a str,
    boot: u64,
    number: u64,
    at: &'a str,
    #[serde(flatten)]
    what: &'a What,
}

/// The body: the envelope's fields, then those of `what`. None when `what` is no object.
pub(crate) fn body<What: Serialize>(speaker: &Speaker, number: u64, at: &str, what: &What) -> Option<String> {
    let Speaker { node, id, boot } = speaker;
    serde_json::to_string(&Body { node, id, boot: *boot, number, at, what }).ok()
}

/// A body as it came.
#[derive(Debug, Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(borrow)]
    pub(crate) node: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    pub(crate) boot: u64,
    pub(crate) number: u64,
    #[serde(borrow)]
    pub(crate) at: Cow<'a, str>,
    /// Of a message: what its agent said, also when that is `null`.
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Said<'a> {
    /// Reads a body; none when it is not the JSON of one.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Where in `text`, from which this was read, an agent's value stands.
    pub(crate) fn value(&self, text: &str) -> Option<Range<usize>> {
        let value = self.value?.get();
        let from = (value.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        text.get(from..from + value.len()).map(|_| from..from + value.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker() -> Speaker {
        Speaker { node: "n1".into(), id: "0a".into(), boot: 3 }
    }

    #[test]
    fn a_value_comes_back_as_the_very_text_it_was() {
        for text in ["21.50", "\"0 1 2000\"", "null", "{\"b\":1, \"a\":12345678901234567890123}"] {
            let value = RawValue::from_string(text.to_string()).unwrap();
            let what = Message { kind: "k", name: "n", value: &value };
            let body = body(&speaker(), 7, "2026-01-01T00:00:00.000Z", &what).unwrap();
            let said = Said::read(&body).unwrap();
            assert_eq!((said.node.as_ref(), said.id.as_ref(), said.boot, said.number), ("n1", "0a", 3, 7));
            assert_eq!(&body[said.value(&body).unwrap()], text);
        }
    }

    #[test]
    fn a_body_without_an_envelope_is_none() {
        for text in ["", "1", "{}", "{\"node\":\"n\"}", "[]", "{\"node\":1,\"id\":\"a\",\"boot\":1}"] {
            assert!(Said::read(text).is_none(), "{text}");
        }
        let without =
            "{\"node\":\"n\",\"id\":\"a\",\"boot\":1,\"number\":1,\"at\":\"x\",\"role\":\"worker\"}";
        assert!(Said::read(without).unwrap().value(without).is_none());
    }
}
