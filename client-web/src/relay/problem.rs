//! Errors the relay itself has to tell; everything else is the answer of a node, as it came.

pub(super) use logdb::door::{Kind, Problem};

/// Nobody took it.
pub(super) fn no_node() -> Problem {
    Problem::new(Kind::NoQuorum, "no node answers; repeating is safe")
}

/// It was handed to a node that did not say what became of it. `key` repeats it.
pub(super) fn outcome_unknown(id: Option<String>, key: Option<&str>) -> Problem {
    let detail = match key {
        Some(key) => format!(
            "the request may have been carried out: repeat it with the Idempotency-Key {key}, or ask for the id if there is one"
        ),
        None => "the request may have been carried out: look before repeating it".to_string(),
    };
    Problem::new(Kind::OutcomeUnknown, detail).about(id)
}
