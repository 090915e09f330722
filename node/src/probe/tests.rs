use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Probe;

/// A root folder with these files.
fn root(files: &[(&str, &str)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, text) in files {
        write(root.path(), path, text);
    }
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What the probe makes of `spent_us` more in `file` a quarter of a second later, unsmoothed.
fn used_after(probe: &mut Probe, at: Instant, used_us: u64) -> u32 {
    let source = probe.last.clone().unwrap().source;
    probe.shown_milli = 0;
    probe.measure(at, used_us, source, 64_000);
    probe.shown_milli * 2
}

#[test]
fn a_v2_container_is_measured_by_its_quota_and_limit() {
    let root = root(&[
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/cpu.stat", "usage_usec 7000000\nuser_usec 1\nsystem_usec 1\n"),
        ("sys/fs/cgroup/memory.max", "134217728\n"),
        ("sys/fs/cgroup/memory.current", "50000000\n"),
        ("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 20000000\n"),
    ]);
    let mut probe = Probe::new(root.path(), root.path());
    let load = probe.load();
    assert_eq!((load.cpu_total_milli, load.cpu_used_milli), (500, 0));
    assert_eq!((load.memory_total_bytes, load.memory_used_bytes), (134_217_728, 30_000_000));
    let first = probe.last.clone().unwrap();
    assert_eq!(first.used_us, 7_000_000);
    let later = first.at + Duration::from_millis(250);
    assert_eq!(used_after(&mut probe, later, 7_000_000 + 100_000), 400);
}

#[test]
fn a_v1_container_is_measured_by_its_quota_and_limit_though_its_path_is_named_from_outside() {
    let root = root(&[
        ("proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "25000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "9000000000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n"),
    ]);
    let mut probe = Probe::new(root.path(), root.path());
    let load = probe.load();
    assert_eq!(load.cpu_total_milli, 250);
    assert_eq!((load.memory_total_bytes, load.memory_used_bytes), (268_435_456, 1_000_000));
    assert_eq!(probe.last.unwrap().used_us, 9_000_000);
}

#[test]
fn the_tightest_limit_above_the_process_counts_with_the_use_of_its_level() {
    let root = root(&[
        ("proc/self/cgroup", "0::/pod/app\n"),
        ("sys/fs/cgroup/pod/app/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
        ("sys/fs/cgroup/pod/cpu.max", "20000 100000\n"),
        ("sys/fs/cgroup/pod/cpu.stat", "usage_usec 42\n"),
        ("sys/fs/cgroup/pod/memory.max", "67108864\n"),
        ("sys/fs/cgroup/pod/memory.current", "5\n"),
    ]);
    let mut probe = Probe::new(root.path(), root.path());
    let load = probe.load();
    assert_eq!((load.cpu_total_milli, probe.last.unwrap().used_us), (200, 42));
    assert_eq!((load.memory_total_bytes, load.memory_used_bytes), (67_108_864, 5));
}

#[test]
fn without_limits_the_node_and_its_children_are_measured_over_the_machine() {
    let me = std::process::id();
    let stat = |pid: u32, parent: u32, own: u32, ended: u32| {
        format!("{pid} (a b) S {parent} 1 1 0 -1 0 0 0 0 0 {own} 0 {ended} 0 20 0 1 0 77 0 0\n")
    };
    let root = root(&[
        ("proc/self/cgroup", "4:memory:/\n3:cpu:/\n0::/\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"),
        (&format!("proc/{me}/stat"), &stat(me, 1, 100, 50)),
        (&format!("proc/{me}/task/{me}/children"), "900001 "),
        (&format!("proc/{me}/task/17/children"), "900002"),
        ("proc/900001/stat", &stat(900_001, me, 7, 0)),
        ("proc/900001/task/900001/children", "900003 "),
        ("proc/900003/stat", &stat(900_003, 900_001, 30, 1)),
    ]);
    let mut probe = Probe::new(root.path(), root.path());
    let load = probe.load();
    let cores = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    assert_eq!(load.cpu_total_milli, cores * 1_000);
    let mut system = sysinfo::System::new().unwrap();
    system.refresh_memory();
    assert_eq!(load.memory_total_bytes, system.total_memory());
    assert!(load.memory_used_bytes > 0 && load.memory_used_bytes < load.memory_total_bytes);
    assert_eq!(probe.last.unwrap().used_us, (100 + 50 + 7 + 30 + 1) * 10_000);
}

#[test]
fn a_use_that_seems_to_fall_is_doubted_for_a_while_and_makes_no_peak() {
    let root = root(&[]);
    let mut probe = Probe::new(root.path(), root.path());
    probe.load();
    let mut at = probe.last.clone().unwrap().at;
    let mut next = |probe: &mut Probe, used_us| {
        at += Duration::from_millis(250);
        used_after(probe, at, used_us)
    };
    assert_eq!(next(&mut probe, 1_000_000), 4_000);
    assert_eq!(next(&mut probe, 200_000), 0);
    assert_eq!(next(&mut probe, 1_050_000), 200);
    for _ in 0..=super::DIPS_DOUBTED {
        assert_eq!(next(&mut probe, 500_000), 0);
    }
    assert_eq!(next(&mut probe, 550_000), 200);
}

#[test]
fn a_burning_child_is_seen_and_a_look_is_cheap() {
    // An empty `sys`: whatever cgroup the tests run in, the node's own processes are measured.
    let root = TempDir::new().unwrap();
    std::os::unix::fs::symlink("/proc", root.path().join("proc")).unwrap();
    let mut probe = Probe::new(root.path(), root.path());
    let mut burner = Command::new("sh");
    let mut burner = burner.args(["-c", "while :; do :; done"]).stdin(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    let mut fastest = Duration::MAX;
    while probe.load().cpu_used_milli < 200 {
        assert!(Instant::now() < end, "the child was never seen");
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        probe.load();
        fastest = fastest.min(start.elapsed());
    }
    burner.kill().unwrap();
    burner.wait().unwrap();
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
}

#[test]
fn pressure_is_the_cgroups_else_the_machines_else_none() {
    let some = |percent: &str| {
        format!("some avg10={percent} avg60=99.00 avg300=0.00 total=7\nfull avg10=98.00 avg60=0.00\n")
    };
    let root = root(&[("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/cpu.max", "max 100000\n")]);
    let mut probe = Probe::new(root.path(), root.path());
    let mut told = || {
        let load = probe.load();
        (load.cpu_pressure_permille, load.memory_pressure_permille)
    };
    assert_eq!(told(), (0, 0));
    write(root.path(), "proc/pressure/cpu", &some("12.39"));
    write(root.path(), "proc/pressure/memory", &some("0.05"));
    assert_eq!(told(), (123, 0));
    write(root.path(), "sys/fs/cgroup/a/cpu.pressure", &some("100.00"));
    write(root.path(), "sys/fs/cgroup/a/memory.pressure", "no such form\n");
    assert_eq!(told(), (1_000, 0), "what cannot be read is not there");
    write(root.path(), "sys/fs/cgroup/a/memory.pressure", &some("7.50"));
    assert_eq!(told(), (1_000, 75));
}
