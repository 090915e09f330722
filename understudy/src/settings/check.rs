//! From tables to the settings of a node: what depends on the machine is filled in, what makes no sense is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use node::cluster_key::ClusterKey;
use node::news::{Kind, Share, share_all};
pub(crate) use node::settings::is_loopback;
use node::settings::{
    ClassCommand, DiskSettings, LabSettings, Policy, Retention, RunsJobs, Settings, Windows,
};
use protocol::recodex::CLASS;
use protocol::{amount, duration, limits, submit};

use super::Role;
use super::table::{Amount, Answer, ClassTable, DiskTable, LabTable, OneOrMany, RetentionTable, Table};
use crate::api::token;
use crate::exit::Failure;
use crate::nearest;

/// Classes every node has, and those that only need to be allowed.
const BUILT_IN: [&str; 6] = ["echo", "sleep", "burn", "hash", "sh", "python"];
/// Script classes.
const SCRIPTS: [&str; 2] = ["sh", "python"];
/// Most jobs at once on one node.
const SLOTS_MOST: u32 = 10_000;
/// Longest name of a node.
const NAME_BYTES: usize = 100;

/// Makes the settings.
pub(super) fn build(table: Table, role: Role) -> Result<Settings, Failure> {
    let Table {
        node,
        cluster,
        raft,
        disk,
        http,
        worker,
        class,
        master,
        queue,
        lab,
        recodex,
        share,
        logs,
        retention,
        chaos,
        test,
    } = table;
    let (listen_host, http_port) = host_and_port("node.listen", node.listen.as_deref().unwrap_or_default())?;
    let name = named(node.name)?;
    let advertise = advertised(node.advertise, &listen_host)?;
    let (voters, expect) = voters(cluster.voters.unwrap_or(3), cluster.expect.unwrap_or(1))?;
    let (heartbeat_ms, election_ms) =
        times(raft.heartbeat_ms.unwrap_or(100), raft.election_ms.unwrap_or(500))?;
    let replace_after_ms = replace_after(cluster.replace_after.as_deref(), election_ms)?;
    sheltered(Settings {
        name,
        data: node.data.unwrap_or_default(),
        recodex: recodex.map(|table| table.build(&listen_host)).transpose()?.flatten(),
        listen_host,
        http_port,
        advertise,
        founds: role == Role::Master,
        join: addresses(cluster.join.unwrap_or_default())?,
        expect,
        voters,
        replace_after_ms,
        broker_port: node.broker_port.unwrap_or(9990),
        link_port: node.link_port.unwrap_or(9991),
        clients_port: node.clients_port.unwrap_or(9998),
        workers_port: node.workers_port.unwrap_or(9999),
        lab: lab_settings(lab)?,
        pub_port: node.pub_port.unwrap_or(9997),
        share: share.kinds.map_or_else(|| Ok(share_all()), kinds)?,
        heartbeat_ms,
        election_ms,
        disk: disk_settings(disk)?,
        slots: slots(worker.slots)?,
        drain_deadline_ms: drain_deadline(worker.drain_deadline.as_deref())?,
        headers: headers(worker.headers)?,
        resources: resources(worker.resources)?,
        allow: allow(worker.allow.unwrap_or_default())?,
        classes: class.into_iter().map(|(name, class)| one_class(name, class)).collect::<Result<_, _>>()?,
        runs_jobs: runs_jobs(master.runs_jobs.as_deref().unwrap_or("auto"))?,
        policy: policy(queue.policy.as_deref().unwrap_or("single"))?,
        cluster_key: cluster.key_file.as_deref().map(cluster_key).transpose()?,
        token: http.token_file.as_deref().map(|file| token("http.token_file", file)).transpose()?,
        insecure: http.insecure.unwrap_or(false),
        chaos: chaos.enabled.unwrap_or(false),
        allowed_hosts: http.allowed_hosts.unwrap_or_default(),
        logger: logs.logger.map(logger).transpose()?,
        logdb: logs.store.map(log_store).transpose()?,
        retention: kept(&retention)?,
        ended_jobs: test.ended_jobs.unwrap_or(limits::ENDED_JOBS),
        snapshot_bytes: test.snapshot_bytes.unwrap_or(node::SNAPSHOT_BYTES),
        hold_dispatch: test.hold_dispatch.unwrap_or(false),
    })
}

/// What the node is called: as the host, where nobody says otherwise.
fn named(told: Option<String>) -> Result<String, Failure> {
    let name = told.map_or_else(host_name, Ok)?;
    check_name(&name)?;
    Ok(name)
}

/// Silence after which a voter is replaced, where nobody says otherwise.
const REPLACE_AFTER_MS: u64 = 10_000;

/// Never shorter than the longest election: a voter that only waited for one is not lost.
fn replace_after(told: Option<&str>, election_ms: u64) -> Result<u64, Failure> {
    let least_ms = 2 * election_ms;
    let Some(text) = told else { return Ok(REPLACE_AFTER_MS.max(least_ms)) };
    let ms = duration::parse_ms(text).map_err(|error| bad("cluster.replace_after", error))?;
    if ms < least_ms {
        let why = format!("must be at least {least_ms}ms (twice raft.election_ms), this is {text:?}");
        return Err(bad("cluster.replace_after", why));
    }
    Ok(ms)
}

/// The host others are told: the one listened on, unless that is none.
fn advertised(told: Option<String>, listen_host: &str) -> Result<String, Failure> {
    match told {
        Some(host) => Ok(host),
        None if is_any(listen_host) => host_name(),
        None => Ok(listen_host.to_string()),
    }
}

/// Settings that need no shelter, or have what they need, or the word that waives it.
fn sheltered(settings: Settings) -> Result<Settings, Failure> {
    if settings.recodex.is_some() && settings.classes.contains_key(CLASS) {
        let why = "is the class of evaluations where ReCodEx is served: call it otherwise";
        return Err(bad(&format!("class.{CLASS}"), why));
    }
    let missing = settings.missing_beyond_loopback();
    if !settings.insecure && !missing.is_empty() {
        let why = missing.join("; ");
        let (setting, host) = settings.beyond_loopback().unwrap_or(("node.listen", &settings.listen_host));
        return Err(bad(setting, format!("{host} is beyond loopback: {why}; --insecure allows it")));
    }
    Ok(settings)
}

/// Voters aimed at, and how many must have been there once.
fn voters(voters: usize, expect: usize) -> Result<(usize, usize), Failure> {
    if ![1, 3, 5].contains(&voters) {
        return Err(bad("cluster.voters", format!("must be 1, 3 or 5, this is {voters}")));
    }
    if !(1..=voters).contains(&expect) {
        let rule = format!("must be from 1 to the {voters} voters, this is {expect}");
        return Err(bad("cluster.expect", rule));
    }
    Ok((voters, expect))
}

fn cluster_key(file: &Path) -> Result<ClusterKey, Failure> {
    let named = |error| bad("cluster.key_file", format!("{}: {error}", file.display()));
    ClusterKey::read(file).map_err(named)
}

/// Longest time that a write may take until its disk counts as one that hangs.
const HANGS_MOST_MS: u64 = 60_000;

fn disk_settings(table: DiskTable) -> Result<DiskSettings, Failure> {
    let mut disk = DiskSettings::default();
    if let Some(text) = table.hangs {
        disk.hangs_ms = duration::parse_ms(&text).map_err(|error| bad("disk.hangs", error))?;
        if !(100..=HANGS_MOST_MS).contains(&disk.hangs_ms) {
            return Err(bad("disk.hangs", format!("must be from 100ms to 1m, this is {text:?}")));
        }
    }
    if let Some(text) = table.low {
        let low = submit::parse_bytes(&text);
        disk.low_bytes =
            low.ok_or_else(|| bad("disk.low", format!("must be like 512MiB, this is {text:?}")))?;
    }
    if let Some(percent) = table.low_percent {
        if percent > 90 {
            return Err(bad("disk.low_percent", format!("must be from 0 to 90, this is {percent}")));
        }
        disk.low_percent = percent;
    }
    Ok(disk)
}

/// Longest window of an attached worker.
const WINDOW_MOST_MS: u64 = 3_600_000;

fn lab_settings(table: LabTable) -> Result<LabSettings, Failure> {
    let window = |text: &str| {
        let ms = duration::parse_ms(text).map_err(|error| bad("lab.answer_timeout", error))?;
        let fits = (1..=WINDOW_MOST_MS).contains(&ms);
        fits.then_some(ms)
            .ok_or_else(|| bad("lab.answer_timeout", format!("must be from 1ms to 1h, this is {text:?}")))
    };
    let mut windows = Windows::default();
    match table.answer_timeout {
        None => {}
        Some(Answer::One(text)) => windows.default_ms = window(&text)?,
        Some(Answer::ByClass(texts)) => {
            for (class, text) in texts {
                match class.as_str() {
                    "default" => windows.default_ms = window(&text)?,
                    _ => drop(windows.by_class.insert(class, window(&text)?)),
                }
            }
        }
    }
    let max_offers = table.max_offers.unwrap_or(limits::MAX_OFFERS);
    if !(1..=100).contains(&max_offers) {
        return Err(bad("lab.max_offers", format!("must be from 1 to 100, this is {max_offers}")));
    }
    Ok(LabSettings { windows, max_offers, allow: table.allow.unwrap_or_default().into_iter().collect() })
}

/// Where the log store's HTTP is.
pub(super) fn log_store(url: String) -> Result<String, Failure> {
    let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    match rest {
        Some(address) => host_and_port("logs.store", address).map(|_| format!("http://{address}")),
        None => Err(bad("logs.store", format!("must be http://HOST:PORT, this is {url:?}"))),
    }
}

/// Where the log store takes lines.
pub(super) fn logger(endpoint: String) -> Result<String, Failure> {
    match endpoint.strip_prefix("tcp://") {
        Some(address) => host_and_port("logs.logger", address).map(|_| endpoint),
        None => Err(bad("logs.logger", format!("must be tcp://HOST:PORT, this is {endpoint:?}"))),
    }
}

pub(super) fn bad(setting: &str, detail: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("setting {setting}: {detail}"))
}

/// `HOST:PORT`, with brackets around an IPv6 address.
pub(crate) fn host_and_port(setting: &str, text: &str) -> Result<(String, u16), Failure> {
    let parts = text.rsplit_once(':').filter(|(host, _)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && !host.contains(['/', ' ', '@'])
    });
    let port = parts.and_then(|(_, port)| port.parse::<u16>().ok()).filter(|port| *port != 0);
    match (parts, port) {
        (Some((host, _)), Some(port)) => Ok((host.to_string(), port)),
        _ => Err(bad(setting, format!("must be HOST:PORT, this is {text:?}"))),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn is_any(host: &str) -> bool {
    address(host).is_some_and(|address| address.is_unspecified())
}

pub(crate) fn host_name() -> Result<String, Failure> {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    if name.is_empty() { Err(bad("node.name", "this host has no name: give one")) } else { Ok(name) }
}

pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(good) || name == "self" {
        let rule = format!("must be 1 to {NAME_BYTES} letters, digits, '-', '_' or '.', and not self");
        return Err(bad("node.name", format!("{rule}; this is {name:?}")));
    }
    Ok(())
}

fn times(heartbeat_ms: u64, election_ms: u64) -> Result<(u64, u64), Failure> {
    if !(10..=10_000).contains(&heartbeat_ms) {
        return Err(bad("raft.heartbeat_ms", format!("must be from 10 to 10000, this is {heartbeat_ms}")));
    }
    // Fewer than three heartbeats in an election timeout, and one lost message makes an election.
    if election_ms < heartbeat_ms * 3 || election_ms > 100_000 {
        let least = heartbeat_ms * 3;
        return Err(bad(
            "raft.election_ms",
            format!("must be from {least} (three heartbeats) to 100000, this is {election_ms}"),
        ));
    }
    Ok((heartbeat_ms, election_ms))
}

/// Twice the cores, at least 4, where nobody says otherwise.
/// Longest time that what runs on a node has when the node is told to end.
const DRAIN_MOST_MS: u64 = 24 * 3_600_000;

fn drain_deadline(told: Option<&str>) -> Result<u64, Failure> {
    let Some(text) = told else { return Ok(limits::DRAIN_DEADLINE_MS) };
    let ms = duration::parse_ms(text).map_err(|error| bad("worker.drain_deadline", error))?;
    if ms > DRAIN_MOST_MS {
        return Err(bad("worker.drain_deadline", format!("must be at most 24h, this is {text:?}")));
    }
    Ok(ms)
}

fn slots(told: Option<u32>) -> Result<u32, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = told.unwrap_or_else(|| u32::try_from(cores * 2).unwrap_or(SLOTS_MOST).clamp(4, SLOTS_MOST));
    if slots > SLOTS_MOST {
        return Err(bad("worker.slots", format!("must be at most {SLOTS_MOST}, this is {slots}")));
    }
    Ok(slots)
}

fn headers(told: BTreeMap<String, OneOrMany>) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let mut headers = BTreeMap::new();
    let mut bytes = 0;
    for (name, values) in told {
        let values: BTreeSet<String> = values.list().into_iter().collect();
        bytes += name.len() + values.iter().map(String::len).sum::<usize>();
        if name == protocol::LAB_HEADER {
            return Err(bad(
                "worker.headers",
                format!("{name:?} is a name of the cluster's own; see lab.allow"),
            ));
        }
        if name.is_empty() || bytes > limits::HEADERS_BYTES {
            let limit = limits::HEADERS_BYTES;
            return Err(bad(
                "worker.headers",
                format!("names must not be empty, all together at most {limit} bytes"),
            ));
        }
        headers.insert(name, values);
    }
    Ok(headers)
}

/// Countable things, in thousandths of one.
fn resources(told: BTreeMap<String, Amount>) -> Result<BTreeMap<String, u64>, Failure> {
    if told.len() > limits::RESOURCES {
        return Err(bad(
            "worker.resources",
            format!("has {}, the limit is {}", told.len(), limits::RESOURCES),
        ));
    }
    let one = |(name, number): (String, Amount)| {
        let setting = format!("worker.resources.{name}");
        submit::check_resource(&name).map_err(|why| bad(&setting, why))?;
        let milli = amount::parse_milli(&number.text(), limits::RESOURCE_MOST);
        let why = || format!("{}, this is {:?}", submit::resource_range(), number.text());
        Ok((name, milli.ok_or_else(|| bad(&setting, why()))?))
    };
    told.into_iter().map(one).collect()
}

fn allow(told: Vec<String>) -> Result<BTreeSet<String>, Failure> {
    let told = told.into_iter().filter(|class| !class.is_empty());
    told.map(|class| match SCRIPTS.contains(&class.as_str()) {
        true => Ok(class),
        false => Err(bad(
            "worker.allow",
            format!("{class:?} is no script class: {}", nearest::hint(&class, SCRIPTS)),
        )),
    })
    .collect()
}

/// Kinds of information to share; none at all is a wish, too.
fn kinds(told: Vec<String>) -> Result<Share, Failure> {
    let told = told.into_iter().filter(|word| !word.is_empty());
    told.map(|word| {
        let words = Kind::ALL.map(Kind::word);
        let hint = || format!("{word:?} is no kind of information: {}", nearest::hint(&word, words));
        Kind::named(&word).ok_or_else(|| bad("share.kinds", hint()))
    })
    .collect()
}

fn one_class(name: String, class: ClassTable) -> Result<(String, ClassCommand), Failure> {
    let setting = format!("class.{name}");
    if name.is_empty() || name.len() > limits::CLASS_BYTES || BUILT_IN.contains(&name.as_str()) {
        let most = limits::CLASS_BYTES;
        return Err(bad(
            &setting,
            format!("must have 1 to {most} bytes and not be one of {}", BUILT_IN.join(", ")),
        ));
    }
    if class.command.first().is_none_or(String::is_empty) {
        return Err(bad(&format!("{setting}.command"), "must name a program"));
    }
    let timeout = class.timeout.as_deref().map(duration::parse_ms).transpose();
    let timeout_ms = timeout.map_err(|error| bad(&format!("{setting}.timeout"), error))?;
    let memory_bytes = match class.memory.as_deref() {
        None => None,
        Some(text) => Some(submit::parse_bytes(text).ok_or_else(|| {
            bad(
                &format!("{setting}.memory"),
                format!("must be bytes, with a unit if you like: 512MiB; this is {text:?}"),
            )
        })?),
    };
    Ok((name, ClassCommand { command: class.command, env: class.env, timeout_ms, memory_bytes }))
}

fn addresses(join: Vec<String>) -> Result<Vec<String>, Failure> {
    for address in &join {
        host_and_port("cluster.join", address)?;
    }
    Ok(join)
}

fn kept(table: &RetentionTable) -> Result<Retention, Failure> {
    let day_ms = 24 * 3_600_000;
    let keep_ms = table.days.map_or(limits::KEEP_MS, |days| days.saturating_mul(day_ms));
    let keep_bytes = match table.bytes.as_deref() {
        None => limits::KEEP_BYTES,
        Some(text) => submit::parse_bytes(text).ok_or_else(|| {
            bad("retention.bytes", format!("must be bytes, with a unit if you like: 16GiB; this is {text:?}"))
        })?,
    };
    for (field, number) in [("retention.days", table.days), ("retention.count", table.count)] {
        if number == Some(0) {
            return Err(bad(field, "must be at least 1"));
        }
    }
    Ok(Retention { keep_ms, keep_jobs: table.count.unwrap_or(limits::KEEP_JOBS), keep_bytes })
}

fn runs_jobs(text: &str) -> Result<RunsJobs, Failure> {
    match text {
        "auto" => Ok(RunsJobs::Auto),
        "always" => Ok(RunsJobs::Always),
        "never" => Ok(RunsJobs::Never),
        _ => Err(bad("master.runs_jobs", format!("must be auto, always or never, this is {text:?}"))),
    }
}

fn policy(text: &str) -> Result<Policy, Failure> {
    match text {
        "single" => Ok(Policy::Single),
        "multi" => Ok(Policy::Multi),
        _ => Err(bad("queue.policy", format!("must be single or multi, this is {text:?}"))),
    }
}
