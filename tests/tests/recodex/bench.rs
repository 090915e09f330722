//! The benchmark works; what it measures is nobody's pass or failure.

use std::process::Stdio;
use std::time::Duration;

use tests::process::ended;
use tests::recodex::Backend;
use tests::understudy;

#[tokio::test(flavor = "multi_thread")]
async fn the_benchmark_counts_every_evaluation_of_both_brokers_and_prints_their_ratio() {
    let backend = Backend::start(3).await;
    let urls = |of: &dyn Fn(usize) -> String| backend.cluster.all().map(of).collect::<Vec<_>>().join(",");
    let mut command = understudy();
    command.args(["bench", "recodex", "--evaluations=300", "--outstanding=64", "--workers=12", "--rounds=2"]);
    command.arg(format!("--clients={}", urls(&|k| backend.clients(k))));
    command.arg(format!("--workers-at={}", urls(&|k| backend.workers(k))));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let ended = ended(child.expect("the program starts"), Duration::from_secs(120), "bench recodex");
    let text = ended.out;
    assert!(ended.status.success(), "{text}{}", ended.err);
    for broker in ["bare", "understudy"] {
        let line = text.lines().find(|line| line.contains(&format!("\"broker\":\"{broker}\"")));
        assert!(line.is_some_and(|line| line.contains("\"evaluations\":300")), "{text}");
    }
    for words in ["ratio: ", "cores", "majority"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    println!("{text}");
}
