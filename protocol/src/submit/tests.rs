//! What is read, and what is refused.

use super::*;
use crate::job::Reason;
use crate::more::RetryRule;

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
fn retries_are_chosen_by_reason_and_exit_code_and_the_usual_rule_is_written_as_none() {
    let asked = |retry: &str| read(&format!(r#"{{"class":"sh","retry":{retry}}}"#));
    let rule = asked(r#"{"on":["memory","exit","exit"],"not_exit_codes":[255,1]}"#).unwrap().more.retry;
    let expected =
        RetryRule { on: alloc::vec![Reason::Exit, Reason::Memory], not_exit_codes: [1, 255].into() };
    assert_eq!(rule, Some(expected));
    assert_eq!(asked(r#"{"on":["timeout","exit"],"not_exit_codes":[]}"#).unwrap(), defaults("sh"));
    assert_eq!(asked(r#"{"on":[]}"#).unwrap().more.retry.map(|rule| rule.on), Some(Vec::new()));
    let pauses = asked(r#"{"base":"2s","max":"1m"}"#).unwrap();
    assert_eq!((pauses.retry_base_ms, pauses.retry_max_ms, pauses.more.retry), (2_000, 60_000, None));
}

#[test]
fn every_fault_of_a_retry_names_its_place() {
    let bad = |retry: &str| fields(&format!(r#"{{"class":"sh","retry":{retry}}}"#));
    assert_eq!(bad(r#"{"on":["exit","sometimes"]}"#), ["retry.on[1]"]);
    assert_eq!(bad(r#"{"on":["lost",5]}"#), ["retry.on[0]", "retry.on[1]"]);
    assert_eq!(bad(r#"{"on":"exit"}"#), ["retry.on"]);
    for code in ["0", "256", "-1", "1.5", "\"1\"", "99999999999999999999"] {
        assert_eq!(bad(&format!(r#"{{"not_exit_codes":[7,{code}]}}"#)), ["retry.not_exit_codes[1]"]);
    }
    let many = alloc::vec!["1"; limits::JOB_LIST + 1].join(",");
    assert_eq!(bad(&format!(r#"{{"not_exit_codes":[{many}]}}"#)), ["retry.not_exit_codes"]);
    assert_eq!(bad(r#"{"base":"soon","max":5}"#), ["retry.base", "retry.max"]);
    assert_eq!(bad(r#"{"base":"-1s"}"#), ["retry.base"]);
    assert_eq!(bad(r#"{"base":"0s"}"#), ["retry.base"]);
    assert_eq!(bad(r#"{"base":"2m","max":"1m"}"#), ["retry.base"]);
    assert_eq!(bad(r#"{"pause":"1s"}"#), ["retry.pause"]);
    assert_eq!(bad("3"), ["retry"]);
}

#[test]
fn at_most_once_goes_with_one_attempt_alone() {
    let once = read(r#"{"class":"sh","at_most_once":true}"#).unwrap();
    assert!(once.more.at_most_once && (once.max_attempts, once.max_lost) == (1, 1));
    assert_eq!(read(r#"{"class":"sh","at_most_once":true,"max_attempts":1}"#).unwrap(), once);
    assert_eq!(read(r#"{"class":"sh","at_most_once":false}"#).unwrap(), defaults("sh"));
    assert_eq!(fields(r#"{"class":"sh","at_most_once":true,"max_attempts":2}"#), ["max_attempts"]);
    assert_eq!(fields(r#"{"class":"sh","at_most_once":true,"max_lost":3}"#), ["max_lost"]);
    assert_eq!(fields(r#"{"class":"sh","at_most_once":1}"#), ["at_most_once"]);
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

#[test]
fn what_is_required_is_in_a_known_form_or_named() {
    let spec =
        read(r#"{"class":"a","requires":{"env":"c|python","threads":8,"gpu":"*","ram":">=16"}}"#).unwrap();
    assert_eq!(spec.requires["threads"], "8");
    let bad = r#"{"class":"a","requires":{"a":">=x","b":"x||y","c":"","d":"<3","e":["x"],"f":"x|*"}}"#;
    let named: Vec<String> = ["e", "a", "b", "c", "d", "f"].map(|name| format!("requires.{name}")).into();
    assert_eq!(fields(bad), named);
}

#[test]
fn resources_are_numbers_down_to_thousandths() {
    let spec = read(r#"{"class":"a","resources":{"gpu":2,"licence":"0.5","disk":1.125,"none":0}}"#).unwrap();
    let asked = [("gpu", 2_000), ("licence", 500), ("disk", 1_125)];
    assert_eq!(spec.more.resources, asked.map(|(name, milli)| (name.to_string(), milli)).into());
    for bad in ["-1", "1000000.001", "1e300", "0.0001", "\"2GB\"", "null", "true", "\"\"", "[1]"] {
        let errors = read(&format!(r#"{{"class":"a","resources":{{"gpu":{bad}}}}}"#)).unwrap_err();
        assert_eq!((errors[0].field.as_str(), errors[0].limit), ("resources.gpu", Some(1_000_000)), "{bad}");
    }
    assert_eq!(fields(r#"{"class":"a","resources":[1]}"#), ["resources"]);
    assert_eq!(fields(r#"{"class":"a","resources":{"":1,"a=b":1}}"#), ["resources.", "resources.a=b"]);
    let many: Vec<String> = (0..33).map(|n| format!("\"r{n}\":1")).collect();
    assert_eq!(fields(&format!(r#"{{"class":"a","resources":{{{}}}}}"#, many.join(","))), ["resources"]);
}

#[test]
fn files_are_named_below_their_folder_and_count_with_the_payload() {
    let spec =
        read(r#"{"class":"sh","files":{"in/a.txt":"aGk=","b":""},"outputs":["out","a/b","out"]}"#).unwrap();
    assert_eq!(spec.more.files["in/a.txt"], "hi");
    assert_eq!((spec.more.files.len(), spec.more.outputs), (2, ["a/b", "out"].map(String::from).to_vec()));
    for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a/", "a\\u0000b", "a\\nb"] {
        let asked = format!(r#"{{"class":"sh","files":{{"{bad}":"aGk="}},"outputs":["{bad}"]}}"#);
        let found: Vec<String> = read(&asked).unwrap_err().into_iter().map(|e| e.field).collect();
        assert_eq!((found.len(), found[1].as_str()), (2, "outputs[0]"), "{bad}: {found:?}");
    }
    assert_eq!(fields(r#"{"class":"sh","files":{"a":"no base64"}}"#), ["files.a"]);
    assert_eq!(fields(r#"{"class":"sh","files":{"a":3}}"#), ["files.a"]);
    assert_eq!(fields(r#"{"class":"sh","files":[],"outputs":"a"}"#), ["files", "outputs"]);
    assert_eq!(fields(r#"{"class":"sh","files":{"a":"","a/b":""}}"#), ["files.a"]);
    let long = alloc::vec!["AAAA"; limits::PAYLOAD_BYTES / 3].concat();
    let errors = read(&format!(r#"{{"class":"sh","payload":"four","files":{{"a":"{long}"}}}}"#)).unwrap_err();
    assert_eq!((errors[0].field.as_str(), errors[0].limit), ("payload", Some(1_048_576)));
    let many: Vec<String> = (0..=limits::JOB_FILES).map(|n| format!(r#""f{n}""#)).collect();
    assert_eq!(fields(&format!(r#"{{"class":"sh","outputs":[{}]}}"#, many.join(","))), ["outputs"]);
}
