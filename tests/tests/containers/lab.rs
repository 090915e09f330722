//! The lab's service from its compose file: any number of clients and workers, of any class, from inside and outside.

use serde_json::Value;
use tests::Lab;
use tests::containers::docker;
use tests::lab_containers::LabContainers;

/// Lines of the log that end like this.
fn count(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.contains(words) && line.ends_with("(class \"B\")>")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_clients_two_workers_a_broker_and_a_logger_start_from_the_labs_compose_file() {
    let Some(service) = LabContainers::laid_out() else { return };
    let service = service.with("WORK_MS", "100");
    service.up(&["--scale", "cli=4", "--scale", "wor=2"]);
    let printed = service.clients_succeed().await;
    assert_eq!(printed, vec!["resp: Done!\n".repeat(10); 4]);
    let lines = tests::eventually("the log has every reply", async || {
        let lines = service.log();
        (count(&lines, ": TO Client C_") == 40).then_some(lines)
    })
    .await;
    assert_eq!(count(&lines, ": FROM Client C_"), 40, "{lines:?}");
    assert_eq!(count(&lines, ": REGISTERING Worker W_"), 2, "{lines:?}");
    // The log is there when its container is another one.
    service.compose(&["rm", "--force", "--stop", "log"]);
    service.up(&["log"]);
    let again = tests::eventually("the log is there again", async || {
        let again = service.log();
        (again.len() >= lines.len()).then_some(again)
    })
    .await;
    assert_eq!(again[..lines.len()], lines[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_outside_needs_the_clients_address_and_reaches_nothing_else() {
    let Some(service) = LabContainers::laid_out() else { return };
    let service = service.with("WORK_MS", "100");
    service.up(&["--scale", "cli=0", "--scale", "wor=1"]);
    let lab = Lab::new();
    let words = ["B", "--requests", "3", "--identity", "C_outside"];
    let url = service.clients_url();
    let mut client = lab.example("client.py", &[&[url.as_str()], &words[..]].concat());
    assert_eq!(client.succeeds().await, vec!["resp: Done!"; 3]);
    let mut published = Vec::new();
    for name in ["bro", "bro2", "bro3", "log", "wor"] {
        for id in service.ids(name) {
            let told = docker(&["inspect", "--format", "{{json .HostConfig.PortBindings}}", &id]);
            let bindings: Value = serde_json::from_str(&told).expect("JSON");
            published.extend(bindings.as_object().into_iter().flat_map(|all| all.keys().cloned()));
        }
    }
    assert_eq!(published, ["9998/tcp"], "the only way in is the clients' port");
    // From another network the logger cannot be reached by its address either.
    let log = service.ids("log").remove(0);
    let address =
        docker(&["inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &log]);
    let reach = "import socket, sys; s = socket.socket(); s.settimeout(3)\n\
                 print(s.connect_ex((sys.argv[1], 9995)) == 0)";
    let from = |network: &str| {
        let image = "understudy-lab-client:test";
        docker(&["run", "--rm", "--network", network, image, "python3", "-c", reach, address.trim()])
    };
    assert_eq!(from(service.network()).trim(), "True", "who is inside reaches it");
    assert_eq!(from("bridge").trim(), "False", "who is outside does not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_clients_and_two_workers_of_each_class_start_although_no_file_names_a_class() {
    let Some(service) = LabContainers::laid_out() else { return };
    let mut service = service.with("WORK_MS", "100").with("REQUESTS", "4");
    service.up(&["--scale", "cli=0", "--scale", "wor=0"]);
    for class in ["A", "B", "a class of today"] {
        service.up_class(class, 3, 2);
    }
    let printed = service.clients_succeed().await;
    assert_eq!(printed, vec!["resp: Done!\n".repeat(4); 9]);
    assert_eq!(service.ids("wor").len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worcli_as_a_service_takes_a_class_to_a_second_cluster() {
    let Some(service) = LabContainers::laid_out() else { return };
    let service = service.with("REQUESTS", "2").with("DELAY", "1200").with("CHAIN_CLASS", "D");
    let mut service = service.with("WORK_MS", "1000");
    // No worker of the first cluster does D; each request is out for longer than the window of two seconds.
    service.compose(&[
        "--profile",
        "chain",
        "up",
        "-d",
        "--no-build",
        "--scale",
        "cli=0",
        "--scale",
        "wor=0",
    ]);
    service.up_class("D", 2, 0);
    assert_eq!(service.clients_succeed().await, vec!["resp: Done!\n".repeat(2); 2]);
    let far = docker(&["logs", &service.ids("far").remove(0)]);
    assert_eq!(far.matches(": TO Client ").count() + far.matches(",TO Client ").count(), 4, "{far}");
    assert_eq!(far.matches("TO Worker W_").count(), 4, "each of them was done once: {far}");
}
