//! What the machine tells of itself, read from the kernel's files. What cannot be told is none.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// Share of the last ten seconds in which something waited for a resource, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Pressure {
    cpu: Option<f64>,
    memory: Option<f64>,
    io: Option<f64>,
}

/// The machine's pressure, below `root` (`/`).
pub(crate) fn pressure(root: &Path) -> Pressure {
    let of = |name: &str| some_avg10(&fs::read_to_string(root.join("proc/pressure").join(name)).ok()?);
    Pressure { cpu: of("cpu"), memory: of("memory"), io: of("io") }
}

/// `some avg10=0.12 avg60=…` among the lines.
fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let avg10 = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    avg10.parse().ok().filter(|percent: &f64| percent.is_finite())
}

/// The kernel and its version, such as `Linux 6.1.0`, below `root`.
pub(crate) fn kernel(root: &Path) -> String {
    let of = |name: &str| fs::read_to_string(root.join("proc/sys/kernel").join(name)).unwrap_or_default();
    format!("{} {}", of("ostype").trim(), of("osrelease").trim()).trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_and_kernel_are_read_and_what_is_missing_is_none() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!((pressure(root.path()), kernel(root.path())), (Pressure::default(), String::new()));
        put("proc/pressure/cpu", "some avg10=1.25 avg60=0.10 avg300=0.00 total=7\nfull avg10=9.00\n");
        put("proc/pressure/io", "full avg10=9.00\n");
        put("proc/sys/kernel/ostype", "Linux\n");
        put("proc/sys/kernel/osrelease", "6.1.0-x\n");
        assert_eq!(pressure(root.path()), Pressure { cpu: Some(1.25), memory: None, io: None });
        assert_eq!(kernel(root.path()), "Linux 6.1.0-x");
    }
}
