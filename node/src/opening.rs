//! What a start needs before its hands can do anything: who this node is, what it offers, and its parts opened.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::{Boot, LAB_HEADER, Member, NodeId, Offer};
use tokio::runtime::Handle;

use crate::clock::tick_ms;
use crate::disk::Identity;
use crate::error::StageError;
use crate::inbox::Slots;
use crate::link::{Link, LinkIdentity, Serving};
use crate::probe::Probe;
use crate::runner::{Runner, RunnerSettings};
use crate::settings::{RecodexSettings, Settings};
use crate::stage::Stage;

/// How often the probe measures: once a report.
const PROBE_PERIOD: std::time::Duration = std::time::Duration::from_millis(protocol::limits::REPORT_MS);
/// Folder of running jobs, inside the data folder.
const SCRATCH_FOLDER: &str = "scratch";

pub(crate) fn myself(settings: &Settings, id: NodeId, boot: Boot) -> Member {
    let at = |port: u16| format!("{}:{port}", settings.advertise);
    Member {
        id,
        number: 0,
        boot,
        name: settings.name.clone(),
        http: at(settings.http_port),
        link: at(settings.link_port),
        broker: at(settings.broker_port),
    }
}

pub(crate) fn open_link(
    handle: &Handle,
    settings: &Settings,
    identity: Identity,
    me: &Member,
    slots: &Slots,
    serving: Serving,
) -> Result<Link, StageError> {
    let address = format!("{}:{}", settings.listen_host, settings.link_port);
    let identity = LinkIdentity {
        cluster: identity.cluster,
        node: identity.node,
        boot: me.boot,
        name: me.name.clone(),
        http: me.http.clone(),
        link: me.link.clone(),
        broker: me.broker.clone(),
        news: crate::news::address(settings),
    };
    Link::start(handle, &address, identity, slots.peers.clone(), serving, settings.cluster_key.clone())
        .map_err(|cause| StageError::Link { address, cause })
}

/// What this node can do itself, and what of it strangers may have done.
pub(crate) fn offer(settings: &Settings) -> Offer {
    let classes = Runner::classes(&runner_settings(settings));
    let is_open = |class: &&String| Runner::is_built_in(class) || settings.lab.allow.contains(*class);
    let open = classes.iter().filter(is_open).cloned().collect();
    let mut headers = settings.headers.clone();
    headers.insert(LAB_HEADER.to_string(), open);
    Offer {
        slots: settings.slots,
        classes,
        headers,
        resources: settings.resources.clone(),
        draining: false,
        attached: BTreeMap::new(),
        pools: BTreeMap::new(),
    }
}

pub(crate) fn runner_settings(settings: &Settings) -> RunnerSettings {
    RunnerSettings {
        allow: settings.allow.clone(),
        classes: settings.classes.clone(),
        scratch: settings.data.join(SCRATCH_FOLDER),
        keeper: std::env::current_exe().unwrap_or_else(|_| Path::new("/proc/self/exe").to_path_buf()),
    }
}

pub(crate) fn open_runner(
    stage: &Stage,
    handle: &Handle,
    settings: &Settings,
    slots: &Slots,
) -> Result<Runner, StageError> {
    let runner_settings = runner_settings(settings);
    let folder = runner_settings.scratch.display().to_string();
    let ended = slots.ended.clone();
    Runner::start(handle.clone(), runner_settings, stage.front.outputs.clone(), move |attempt, outcome| {
        // Never full (see its size); closed when this start is over, and then the result is forgotten with it.
        let _ = ended.try_send((attempt, outcome));
    })
    .map_err(|cause| StageError::Runner { folder, cause })
}

/// Measures on a thread of its own until this start is over.
pub(crate) fn watch_load(slots: &Slots, data: &Path) -> Result<(), StageError> {
    let (load, data) = (slots.load.clone(), data.to_path_buf());
    let measure = move || {
        let mut probe = Probe::new(Path::new("/"), &data);
        while load.send(probe.load()).is_ok() {
            std::thread::sleep(PROBE_PERIOD);
        }
    };
    std::thread::Builder::new()
        .name("probe".to_string())
        .spawn(measure)
        .map(drop)
        .map_err(|cause| StageError::Runner { folder: "the probe's thread".to_string(), cause })
}

/// How the minds of this start shall be.
pub(crate) fn cast_settings(
    me: Member,
    settings: &Settings,
    identity: Identity,
    boot: Boot,
) -> cast::Settings {
    let tick_ms = tick_ms(settings.heartbeat_ms);
    let ticks = |ms: u64| usize::try_from((ms / tick_ms).max(1)).unwrap_or(1);
    cast::Settings {
        member: me,
        founder: identity.founder,
        seed: identity.node.0 ^ boot.0,
        tick_ms,
        heartbeat_ticks: ticks(settings.heartbeat_ms),
        election_ticks: ticks(settings.election_ms).max(ticks(settings.heartbeat_ms) * 3),
        expect: settings.expect,
        voters: settings.voters,
        replace_after_ms: settings.replace_after_ms,
        offer: offer(settings),
        windows: settings.lab.windows.clone(),
        // None come where none are served.
        entry_full_bytes: master::limits::ENTRY_FULL_BYTES,
        guests_live_ms: settings.recodex.as_ref().map_or(u64::MAX, RecodexSettings::guests_live_ms),
        max_offers: settings.lab.max_offers,
        disk: settings.disk.bounds(),
        runs_jobs: match settings.runs_jobs {
            crate::settings::RunsJobs::Auto => master::RunsJobs::Auto,
            crate::settings::RunsJobs::Always => master::RunsJobs::Always,
            crate::settings::RunsJobs::Never => master::RunsJobs::Never,
        },
        policy: match settings.policy {
            crate::settings::Policy::Single => master::Policy::Single,
            crate::settings::Policy::Multi => master::Policy::Multi,
        },
        bounds: master::Bounds { ended_jobs: settings.ended_jobs, ..master::Bounds::default() },
        retention: settings.retention,
        hold_dispatch: settings.hold_dispatch,
        mutant: None,
    }
}
