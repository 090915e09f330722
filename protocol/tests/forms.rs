//! What an earlier version wrote is read for ever: entries of the log as bytes.

use std::sync::Arc;

use bytes::Bytes;
use protocol::recodex::{self, Order};
use protocol::{
    AttemptRef, Batch, Boot, Chosen, Command, Entry, IfUnsatisfiable, JobId, JobSpec, More, NodeId, Origin,
    Outcome, Reason, native, submit,
};

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim();
    (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()).collect()
}

fn pairs(name: &str) -> std::collections::BTreeMap<String, String> {
    [(name.to_owned(), format!("{name} value"))].into()
}

/// A job with something in every field that the first version had.
fn first() -> JobSpec {
    JobSpec {
        payload: Bytes::from_static(b"payload"),
        args: vec!["one".to_owned(), "two".to_owned()],
        env: pairs("env"),
        stdin: Some(Bytes::from_static(b"stdin")),
        requires: pairs("requires"),
        cpu_milli: 500,
        memory_bytes: 1 << 28,
        priority: 9,
        submitter: "anna".to_owned(),
        timeout_ms: Some(90_000),
        max_attempts: 5,
        max_lost: 7,
        retry_base_ms: 2_000,
        retry_max_ms: 60_000,
        labels: pairs("label"),
        if_unsatisfiable: IfUnsatisfiable::Fail,
        more: More { retry_of: Some(JobId(7)), ..More::default() },
        ..submit::defaults("sh")
    }
}

fn entry(specs: Vec<JobSpec>) -> Entry {
    let origin = Origin { gateway: NodeId(3), boot: Boot(2), number: 9, floor: 4 };
    let submits = specs.iter().enumerate().map(|(place, spec)| Command::Submit {
        job: JobId(100 + place as u128),
        spec: Arc::new(spec.clone()),
        key: Some("key".to_owned()),
        fingerprint: [7; 32],
        origin,
    });
    let batch = Batch {
        first: JobId(200),
        specs: specs.iter().cloned().map(Arc::new).collect(),
        key: None,
        fingerprint: [8; 32],
    };
    let commands = submits.chain([Command::SubmitAll { batch: Arc::new(batch), origin }]).collect();
    Entry { clock_ms: 5, wall_ms: 1_700_000_000_000, term: 2, commands }
}

#[test]
fn an_entry_written_by_the_first_version_reads_back_and_is_written_alike() {
    let expected = entry(vec![first(), submit::defaults("echo")]);
    let given = bytes(include_str!("fixtures/entry-1.hex"));
    assert_eq!(native::decode::<Entry>(&given), Ok(expected.clone()));
    assert_eq!(native::encode(&expected), given);
}

/// The same with wishes of the second version.
fn second() -> JobSpec {
    let asked = first();
    JobSpec { more: More { quiet_limit_ms: Some(60_000), ..asked.more.clone() }, ..asked }
}

#[test]
fn an_entry_with_a_quiet_limit_reads_back_and_is_written_alike() {
    let quiet = More { quiet_limit_ms: Some(1), ..More::default() };
    let expected = entry(vec![second(), JobSpec { more: quiet, ..submit::defaults("echo") }]);
    let hex: String = native::encode(&expected).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("fixtures/entry-2.hex").trim(), "what is in logs is there for ever");
    assert_eq!(native::decode::<Entry>(&bytes(&hex)), Ok(expected));
}

#[test]
fn what_gives_and_ends_attempts_now_has_a_form_that_stays() {
    let (job, attempt, node) = (JobId(100), 1, NodeId(3));
    let why = Chosen::Least { of: 3, score: 300 };
    let outcome = Arc::new(Outcome::failure(Reason::Exit, "x".to_owned()));
    let commands = vec![
        Command::AssignWhy { job, attempt, node, boot: Boot(2), why },
        Command::FinishByRule { job, attempt, node, outcome },
    ];
    let expected = Entry { clock_ms: 5, wall_ms: 7, term: 2, commands };
    let given = bytes(
        "05070202 0b64010302 0103ac02 0c640103 0100 00000000 0000 010178 0000".replace(' ', "").as_str(),
    );
    assert_eq!(native::encode(&expected), given, "what is in logs is there for ever");
    assert_eq!(native::decode::<Entry>(&given), Ok(expected));
}

#[test]
fn an_evaluation_and_every_order_of_recodex_have_a_form_that_stays() {
    let headers = vec![("env".to_owned(), "c".to_owned()), ("hwgroup".to_owned(), "a|b".to_owned())];
    let frames = [Bytes::from_static(b"http://f/a.zip"), Bytes::from_static(b"http://f/r.zip")];
    let evaluation = recodex::job("job1".to_owned(), headers, &frames, true, 3);
    let (attempt, origin) = (
        AttemptRef { job: JobId(100), attempt: 1 },
        Origin { gateway: NodeId(3), boot: Boot(2), number: 9, floor: 4 },
    );
    let orders = [
        Order::Freeze { frozen: true },
        Order::Adopt { attempt, node: NodeId(3), boot: Boot(2) },
        Order::Withdraw { number: 8, job: JobId(100) },
        Order::Notify { text: "x".to_owned() },
        Order::Delivered { number: 5 },
    ];
    let mut expected = entry(vec![evaluation]);
    expected.commands.extend(orders.map(|order| Command::Recodex { order, origin }));
    let hex: String = native::encode(&expected).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("fixtures/entry-3.hex").trim(), "what is in logs is there for ever");
    assert_eq!(native::decode::<Entry>(&bytes(&hex)), Ok(expected));
}
