//! The main story: a job goes in anywhere, runs where there is room, and its result comes back.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::Value;
use tests::client::{id, job};
use tests::ports::Ports;
use tests::process::ended;
use tests::{Cluster, Ended, Plan, eventually, understudy, until};

/// The command of README, with another port.
fn curl(url: &str) -> Value {
    let body = r#"{"class":"python","payload":"print(6*7)"}"#;
    let address = format!("{url}/api/v1/jobs?wait=60s");
    let told = Command::new("curl")
        .args(["-s", "-X", "POST", &address, "-H", "content-type: application/json", "-d", body])
        .output()
        .expect("curl is installed");
    serde_json::from_slice(&told.stdout).expect("curl prints JSON")
}

#[tokio::test]
async fn the_same_curl_command_runs_python_on_every_node() {
    let cluster = Cluster::start(Plan::of(4)).await;
    for k in cluster.all() {
        let job = curl(&cluster.node(k).url());
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["output"], "42\n", "{job}");
    }
}

#[tokio::test]
async fn each_built_in_class_gives_its_output() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let client = cluster.client(1);
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (class, payload, output) in
        [("echo", "hello", "hello"), ("sleep", "37ms", "37ms"), ("burn", "0.1", "0.1"), ("hash", "abc", abc)]
    {
        let job = client.run(&job(class, payload)).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        assert_eq!(job["result"]["output"], output, "{job}");
    }
}

/// Runs a word of the command line against a node, with this on its standard input.
fn say(url: &str, words: &[&str], input: &str) -> Ended {
    let mut child = understudy()
        .args(words)
        .env("UNDERSTUDY_SERVER", url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it takes its input");
    ended(child, Duration::from_secs(90), &words.join(" "))
}

#[tokio::test]
async fn the_command_line_pipes_input_to_a_script_and_exits_with_its_code() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let url = cluster.node(2).url();
    let product = say(&url, &["run", "sh", "read a b; echo $((a*b))"], "6 7\n");
    assert_eq!((product.out.as_str(), product.status.code()), ("42\n", Some(0)), "{product:?}");
    let failed = say(&url, &["run", "sh", "exit 7"], "");
    assert_eq!(failed.status.code(), Some(7), "{failed:?}");
    let echoed = say(&url, &["run", "echo", "hello"], "");
    assert_eq!(echoed.out.trim_end(), "hello", "{echoed:?}");
    let submitted = say(&url, &["--json", "submit", "sleep", "0.1"], "");
    assert!(submitted.status.success(), "{submitted:?}");
    let submitted: Value = serde_json::from_str(&submitted.out).expect("--json prints JSON");
    assert_eq!(cluster.client(1).ended(id(&submitted)).await["state"], "succeeded");
}

#[tokio::test]
async fn the_command_line_shows_stops_and_resumes_nodes() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let url = cluster.node(1).url();
    let status = say(&url, &["--json", "status"], "");
    let status: Value = serde_json::from_str(&status.out).unwrap_or_else(|e| panic!("{e}: {status:?}"));
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3), "{status}");
    assert!(say(&url, &["status"], "").out.contains("worker2"));
    assert!(say(&url, &["health"], "").status.success());

    let leader = cluster.leader().await;
    let other = cluster.all().find(|k| *k != leader).expect("three nodes");
    let name = cluster.node(other).name.clone();
    let stopped = say(&cluster.node(leader).url(), &["stop", &name], "");
    assert!(stopped.status.success(), "{stopped:?}");
    let (code, _) = cluster.get(other, "/readyz").await.expect("a stopped node answers");
    assert_eq!(code, 503);
    assert!(!say(&cluster.node(other).url(), &["health"], "").status.success());
    let resumed = say(&cluster.node(leader).url(), &["resume", &name], "");
    assert!(resumed.status.success(), "{resumed:?}");
    eventually("the resumed node serves", async || cluster.status(other).await).await;
}

/// The messages of a node's own log that speak of this job, in order.
async fn lines(cluster: &Cluster, k: usize, job: &str) -> Vec<String> {
    let request = cluster.request(Method::GET, k, "/logging?format=jsonl&limit=10000");
    let text = request.send().await.expect("/logging answers").text().await.expect("text");
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = records.filter_map(|r| r["message"].as_str().map(ToString::to_string));
    messages.filter(|m| m.contains(job)).collect()
}

#[tokio::test]
async fn the_log_lines_of_one_job_tell_its_walk_across_nodes() {
    let cluster = Cluster::start(Plan::of(4)).await;
    let leader = cluster.leader().await;
    let gateway = cluster.all().find(|k| *k != leader).expect("four nodes");
    let client = cluster.client(gateway);
    let job = client.run(&job("sleep", "0.1")).await;
    let j = id(&job);
    let worker = cluster.numbered(job["attempts"][0]["node"].as_str().expect("a name"));
    let port = |k: usize| cluster.node(k).address.rsplit(':').next().unwrap_or_default().to_string();
    let expected = [
        (gateway, format!("Created payload: {j}")),
        (gateway, format!("Sent payload: {j} for execution to port: {}", port(leader))),
        (leader, format!("Received payload: {j}")),
        (leader, format!("Sent payload: {j} for execution to port: {}", port(worker))),
        (worker, format!("Received payload: {j}")),
        (worker, format!("Sent result: {j} for leader to port: {}", port(leader))),
        (leader, format!("Received result: {j}")),
        (leader, format!("Sent result: {j} for client to port: {}", port(gateway))),
    ];
    for k in [gateway, leader, worker] {
        let wanted: Vec<&String> = expected.iter().filter(|(of, _)| *of == k).map(|(_, line)| line).collect();
        let what = format!("node {k} tells {wanted:?}");
        eventually(&what, async || {
            let told = lines(&cluster, k, j).await;
            let mut rest = told.iter();
            wanted.iter().all(|line| rest.any(|told| told == *line)).then_some(())
        })
        .await;
    }
    let log = cluster.request(Method::GET, leader, "/logging").send().await.expect("an answer");
    assert!(log.headers()["content-type"].to_str().expect("text").starts_with("text/plain"));
    assert!(log.text().await.expect("text").contains("Is master container"));
}

#[tokio::test]
async fn the_form_submits_a_job_without_any_script_and_the_page_lists_it() {
    let cluster = Cluster::start(Plan::of(1)).await;
    let page = |path: &str| cluster.request(Method::GET, 1, path).header("Accept", "text/html").send();
    let answer = page("/").await.expect("a page");
    // What a browser brings back by itself.
    let cookie = answer.headers().get("set-cookie").and_then(|c| c.to_str().ok()).unwrap_or_default();
    let cookie = cookie.split(';').next().unwrap_or_default().to_string();
    let form = answer.text().await.expect("text");
    for hook in [r#"id="class""#, r#"id="payload""#, "Submit job"] {
        assert!(form.contains(hook), "the page has {hook}");
    }
    let hidden: String = form
        .split("<input type=\"hidden\"")
        .skip(1)
        .filter_map(|tag| Some((tag.split("name=\"").nth(1)?, tag.split("value=\"").nth(1)?)))
        .filter_map(|(name, value)| Some((name.split('"').next()?, value.split('"').next()?)))
        .map(|(name, value)| format!("&{name}={value}"))
        .collect();
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let submit = client
        .post(format!("{}/submit", cluster.node(1).url()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Cookie", cookie)
        .body(format!("class=echo&payload=%3Cb%3Ebold%3C%2Fb%3E{hidden}"));
    let answer = submit.send().await.expect("an answer");
    assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap_or_default());
    let jobs = cluster.get(1, "/api/v1/jobs").await.expect("a list").1;
    let j = id(&jobs["items"][0]).to_string();
    assert_eq!(cluster.client(1).ended(&j).await["result"]["output"], "<b>bold</b>");
    let list = page("/").await.expect("a page").text().await.expect("text");
    assert!(list.contains(&format!(r#"data-job-id="{j}""#)), "the page lists the job");
    assert!(list.contains(r#"data-state="succeeded""#), "with its state");
    assert!(!list.contains("<b>bold"), "text of jobs is only text");
}

/// `understudy up` as a child process; dropped: killed.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn one_command_starts_a_cluster_runs_a_job_and_ends_with_all_its_children() {
    let ports = Ports::take();
    let folder = tempfile::TempDir::with_prefix("understudy-up-").expect("a folder");
    let out = folder.path().join("out");
    let file = std::fs::File::create(&out).expect("a file");
    let child = understudy()
        .args(["up", "--port", &ports.base().to_string(), "--dir"])
        .arg(folder.path().join("cluster"))
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a handle"))
        .stderr(file)
        .spawn()
        .expect("the program starts");
    let mut up = Up(child);
    let master = format!("http://127.0.0.1:{}", ports.base() + 1);
    let said = || std::fs::read_to_string(&out).unwrap_or_default();
    let http = tests::client::http();
    until("up has run its job", Duration::from_secs(90), async || {
        assert!(up.0.try_wait().expect("a child").is_none(), "up ended: {}", said());
        let (_, jobs) = tests::client::answer(http.get(format!("{master}/api/v1/jobs"))).await.ok()?;
        let first = &jobs["items"][0];
        let output = first["result"]["output"].as_str().filter(|o| !o.is_empty())?.trim().to_string();
        (first["class"] == "echo" && first["state"] == "succeeded" && said().contains(&output)).then_some(())
    })
    .await;
    for port in [1, 3, 4, 5].map(|n| ports.base() + n) {
        assert!(said().contains(&port.to_string()), "the address with port {port} is printed: {}", said());
        let job = curl(&format!("http://127.0.0.1:{port}"));
        assert_eq!(job["result"]["output"], "42\n", "{job}");
    }
    let pid = Pid::from_raw(i32::try_from(up.0.id()).expect("a process number"));
    kill(pid, Signal::SIGINT).expect("Ctrl-C");
    until("up has ended", Duration::from_secs(60), async || up.0.try_wait().expect("a child")).await;
    let alive = http.get(format!("{master}/livez")).send().await;
    assert!(alive.is_err(), "no node is left behind");
}

#[tokio::test]
async fn the_load_of_each_worker_is_told_when_one_is_chosen() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let leader = cluster.leader().await;
    eventually("loads of both workers are in the master's log", async || {
        cluster.client(leader).run(&job("echo", "look")).await;
        let request = cluster.request(Method::GET, leader, "/logging?format=jsonl&limit=10000");
        let text = request.send().await.ok()?.text().await.ok()?;
        let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let told = |name: &str, words: &str| {
            let of =
                |r: &&Value| r["node"] == name && r["message"].as_str().is_some_and(|m| m.starts_with(words));
            records.iter().any(|r| of(&r))
        };
        let workers = cluster.all().filter(|k| *k != leader).map(|k| cluster.node(k).name.clone());
        let all = workers
            .into_iter()
            .all(|name| told(&name, "The CPU usage is: ") && told(&name, "RAM memory /%/ used: "));
        all.then_some(())
    })
    .await;
}

/// Reads server-sent events until one of kind `job` about `job` is in this state; all such events before it, too.
async fn job_events(mut stream: reqwest::Response, job: &str, state: &str) -> Vec<(String, Value)> {
    let (mut text, mut told) = (String::new(), Vec::new());
    loop {
        let chunk = stream.chunk().await.expect("the stream goes on").expect("it has no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((event, rest)) = text.split_once("\n\n").map(|(e, r)| (e.to_string(), r.to_string())) {
            text = rest;
            let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
            let data: Value = field("data:").and_then(|d| serde_json::from_str(d).ok()).unwrap_or_default();
            if field("event:") == Some("job") && data["id"] == job {
                told.push((field("id:").unwrap_or_default().to_string(), data.clone()));
                if data["state"] == state {
                    return told;
                }
            }
        }
    }
}

#[tokio::test]
async fn events_tell_a_jobs_life_on_any_node_and_go_on_at_another() {
    let cluster = Cluster::start(Plan::of(3)).await;
    let listen = |k: usize, path: &str| cluster.request(Method::GET, k, path).send();
    let live = listen(2, "/api/v1/events?kinds=job").await.expect("a stream");
    let submitted = cluster.client(1).submit(&job("sleep", "0.2")).await;
    let told = job_events(live, id(&submitted), "succeeded").await;
    let states: Vec<&str> = told.iter().filter_map(|(_, job)| job["state"].as_str()).collect();
    assert_eq!(states.last(), Some(&"succeeded"), "{states:?}");
    assert!(states.contains(&"running"), "{states:?}");
    // Another node goes on behind the first of them, under the same revisions. Steps it did not see may come as one.
    let (first, _) = told.first().expect("some events");
    let again = listen(3, &format!("/api/v1/events?kinds=job&since={first}")).await.expect("a stream");
    let replayed = job_events(again, id(&submitted), "succeeded").await;
    assert_eq!(replayed.last(), told.last());
    let known = |revision: &String| told[1..].iter().any(|(told, _)| told == revision);
    assert!(replayed.iter().all(|(revision, _)| known(revision)), "{replayed:?} and {told:?}");
}
