//! What is read, and what is refused.

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
