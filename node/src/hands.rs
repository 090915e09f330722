//! The hands of one start: they carry out what the minds want and turn what the outside says into inputs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cast::{Cast, Input, Output};
use consensus::{Peer, Writer};
use protocol::{AttemptRef, Boot, LAB_HEADER, Member, NodeId, Offer, Outcome, Request, native};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::admit;
use crate::ask::{Ask, Told, View};
use crate::broker::{Broker, Lead};
use crate::clock::{tick_ms, wall_ms};
use crate::disk::{Disk, Folder, Identity, Told as DiskTold};
use crate::error::StageError;
use crate::inbox::{DiskState, Slots};
use crate::link::{Link, LinkIdentity, LinkTold};
use crate::narrate::Narrator;
use crate::probe::Probe;
use crate::runner::{Runner, RunnerSettings};
use crate::settings::Settings;
use crate::shows::Shows;
use crate::stage::Stage;

/// How often the probe measures: once a report.
const PROBE_PERIOD: std::time::Duration = std::time::Duration::from_millis(protocol::limits::REPORT_MS);
/// Folder of running jobs, inside the data folder.
const SCRATCH_FOLDER: &str = "scratch";

/// Sockets, disk, children and open questions of one start.
pub(crate) struct Hands {
    settings: Arc<Settings>,
    handle: Handle,
    identity: Identity,
    me: Member,
    log: logdb::Log,
    link: Link,
    broker: Broker,
    runner: Runner,
    disk: Option<Disk>,
    writer: Option<Writer>,
    slots: Slots,
    shows: Shows,
    replies: BTreeMap<u64, oneshot::Sender<Told>>,
    readers: BTreeMap<u64, oneshot::Sender<View>>,
    last_ticket: u64,
    /// Addresses heard from the peers themselves: newer than the ledger's until the ledger learns of a later start.
    hints: BTreeMap<NodeId, (Boot, String)>,
    joining: Option<tokio::task::JoinHandle<()>>,
}

impl Hands {
    pub(crate) fn open(
        stage: &Stage,
        handle: &Handle,
        identity: Identity,
        boot: Boot,
        slots: Slots,
        members: Vec<Member>,
    ) -> Result<Self, StageError> {
        let settings = Arc::clone(&stage.settings);
        let me = myself(&settings, identity.node, boot);
        let link = open_link(handle, &settings, identity, &me, &slots)?;
        let broker_in = slots.broker.clone();
        let broker = Broker::start(
            &format!("tcp://{}:{}", settings.listen_host, settings.broker_port),
            move |batch| {
                broker_in.try_send(batch).map_err(tokio::sync::mpsc::error::TrySendError::into_inner)
            },
        )?;
        let runner = open_runner(stage, handle, &settings, &slots)?;
        watch_load(&slots)?;
        let shows = Shows::new(stage.front.events.clone(), Narrator::new(identity.node, stage.log.clone()));
        let hints = members.into_iter().map(|member| (member.id, (member.boot, member.link))).collect();
        let hands = Self {
            settings,
            handle: handle.clone(),
            identity,
            me,
            log: stage.log.clone(),
            link,
            broker,
            runner,
            disk: None,
            writer: None,
            slots,
            shows,
            replies: BTreeMap::new(),
            readers: BTreeMap::new(),
            last_ticket: 0,
            hints,
            joining: None,
        };
        if identity.founder == identity.node {
            // Known before the ledger says so: the founder's first lines already bear it.
            hands.log.set_number(1);
        }
        hands.link.dial(hands.hinted());
        Ok(hands)
    }

    pub(crate) fn cast_settings(
        &self,
        settings: &Settings,
        identity: Identity,
        boot: Boot,
    ) -> cast::Settings {
        let tick_ms = tick_ms(settings.heartbeat_ms);
        let ticks = |ms: u64| usize::try_from((ms / tick_ms).max(1)).unwrap_or(1);
        cast::Settings {
            member: self.me.clone(),
            founder: identity.founder,
            seed: identity.node.0 ^ boot.0,
            tick_ms,
            heartbeat_ticks: ticks(settings.heartbeat_ms),
            election_ticks: ticks(settings.election_ms).max(ticks(settings.heartbeat_ms) * 3),
            expect: settings.expect,
            voters: settings.voters,
            offer: offer(settings),
            windows: settings.lab.windows.clone(),
            max_offers: settings.lab.max_offers,
            runs_jobs: match settings.runs_jobs {
                crate::settings::RunsJobs::Auto => master::RunsJobs::Auto,
                crate::settings::RunsJobs::Always => master::RunsJobs::Always,
                crate::settings::RunsJobs::Never => master::RunsJobs::Never,
            },
            hold_dispatch: settings.hold_dispatch,
            mutant: None,
        }
    }

    /// Keeps the log's writer until the disk is started.
    pub(crate) fn keep_writer(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    pub(crate) fn start_disk(&mut self, folder: Folder) -> Result<(), StageError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let told = self.slots.disk.clone();
        let disk = Disk::start(folder, writer, move |said| {
            told.send_modify(|state: &mut DiskState| match said {
                DiskTold::Synced { number } => state.synced = number,
                DiskTold::Failed { text } => state.failed = Some(text),
            });
        })?;
        self.disk = Some(disk);
        Ok(())
    }

    /// Makes this start known through the addresses of `--join`, when the cluster cannot learn of it from the links.
    pub(crate) fn join_cluster(&mut self, cast: &Cast) {
        let mut addresses = self.settings.join.clone();
        addresses.extend(cast.ledger().members().filter(|m| m.id != self.me.id).map(|m| m.http.clone()));
        if addresses.is_empty() {
            return;
        }
        let (member, identity, settings) = (self.me.clone(), self.identity, Arc::clone(&self.settings));
        let told = self.slots.joined.clone();
        self.joining = Some(self.handle.spawn(async move {
            let joined = admit::join(&member, identity, &settings, &addresses).await;
            // The loop has ended: nobody needs to know.
            let _ = told.send(joined).await;
        }));
    }

    pub(crate) fn joined(&mut self, members: Vec<Member>) {
        for member in members {
            if member.id != self.me.id {
                self.hints.entry(member.id).or_insert((member.boot, member.link));
            }
        }
        self.link.dial(self.hinted());
    }

    fn hinted(&self) -> Vec<(NodeId, String)> {
        self.hints.iter().map(|(node, (_, address))| (*node, address.clone())).collect()
    }

    /// A ticket whose answer nobody waits for.
    pub(crate) fn nobodys_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Somebody asks over HTTP.
    pub(crate) fn asked(&mut self, ask: Ask, inputs: &mut Vec<Input>) {
        let ticket = self.nobodys_ticket();
        match ask {
            Ask::Request { request, reply } => {
                if let Request::Submit { job, .. } = &request {
                    self.shows.created(*job);
                }
                self.replies.insert(ticket, reply);
                inputs.push(Input::Ask { ticket, request });
            }
            Ask::View { linearizable, reply } => {
                self.readers.insert(ticket, reply);
                if linearizable {
                    inputs.push(Input::Read { ticket });
                } else {
                    self.shows.want_view(ticket);
                }
            }
        }
    }

    pub(crate) fn link_told(&mut self, told: LinkTold, inputs: &mut Vec<Input>) {
        match told {
            LinkTold::Message { message, .. } => inputs.push(Input::Peer(message)),
            LinkTold::Up { .. } => {}
            LinkTold::Closed { peer, refused } => inputs.push(Input::LinkClosed { peer, gone: refused }),
            LinkTold::Address { peer, boot, link, .. } => {
                let known = self.hints.get(&peer).map(|(boot, _)| *boot);
                if known.is_none_or(|known| known <= boot) {
                    self.hints.insert(peer, (boot, link));
                    self.shows.redial();
                }
            }
            LinkTold::Refused { peer, text } => {
                let line = format!("node {peer} refused the consensus link: {text}");
                self.log.record(logdb::Level::Warn, "link-refused", None, &line);
            }
        }
    }

    /// The runner says that an attempt is gone.
    pub(crate) fn ended(&self, attempt: AttemptRef, outcome: Outcome, inputs: &mut Vec<Input>) {
        self.shows.finished(attempt.job);
        inputs.push(Input::Ended { attempt, outcome });
    }

    /// `/stop` closes this start.
    pub(crate) fn stopped(&self) {
        self.shows.stopped();
    }

    /// This start follows a `/stop`.
    pub(crate) fn resumed(&self) {
        self.shows.resumed();
    }

    /// Carries out, in order, what one turn wants.
    pub(crate) fn carry_out(&mut self, cast: &mut Cast, outputs: Vec<Output>) -> Result<(), StageError> {
        let mut letters: BTreeMap<Peer, Vec<consensus::Message>> = BTreeMap::new();
        let mut writes = Vec::new();
        for output in outputs {
            match output {
                Output::Peer(message) => letters.entry(message.to()).or_default().push(message),
                Output::Write(write) => writes.push(write),
                Output::Follow(lead) => self.follow(lead),
                Output::ToMaster(envelope) => {
                    if self.broker.to_master(native::encode(&envelope)).is_err() {
                        cast.handle(Input::SessionLost, wall_ms());
                    }
                }
                Output::ToNode { to, envelope } => {
                    // A full queue loses what waits there; full lists and repeats make up for it.
                    let _ = self.broker.to_node(to, envelope.session, native::encode(&envelope));
                }
                Output::Run(dispatch) => {
                    self.shows.started(dispatch.attempt.job);
                    self.runner.run(&dispatch);
                }
                Output::Kill(attempt) => self.runner.kill(attempt),
                Output::Tell { ticket, told } => {
                    if let Some(reply) = self.replies.remove(&ticket) {
                        // The asker may have gone away meanwhile.
                        let _ = reply.send(told);
                    }
                }
                Output::ReadReady { ticket } => self.shows.want_view(ticket),
                Output::ReadLost { ticket } => drop(self.readers.remove(&ticket)),
                Output::NotAdmitted(refusal) => {
                    return Err(StageError::NotAdmitted(admission_words(&refusal)));
                }
                Output::Fatal(text) => return Err(StageError::Fatal(text)),
                shown => self.shows.show(cast, shown),
            }
        }
        self.post(cast, letters);
        self.write(writes)?;
        self.after_turn(cast);
        Ok(())
    }

    fn post(&mut self, cast: &mut Cast, letters: BTreeMap<Peer, Vec<consensus::Message>>) {
        for (peer, messages) in letters {
            let to = NodeId(peer.0);
            if !self.link.send(to, messages) {
                cast.handle(Input::LinkClosed { peer: to, gone: false }, wall_ms());
            }
        }
    }

    fn write(&mut self, writes: Vec<consensus::Write>) -> Result<(), StageError> {
        match &self.disk {
            Some(disk) if !writes.is_empty() => {
                disk.write(writes).map_err(|full| StageError::DiskFailed(full.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn after_turn(&mut self, cast: &Cast) {
        for ticket in self.shows.views_wanted() {
            if let Some(reader) = self.readers.remove(&ticket) {
                // The reader may have gone away meanwhile.
                let _ = reader.send(self.shows.view(cast, self.identity));
            }
        }
        if self.shows.redial_wanted() {
            let taken_in = cast.ledger().member(self.me.id).is_some_and(|member| member.boot == self.me.boot);
            // A newcomer's own ledger names nobody but the founder yet, and another may lead: whoever it heard of may be needed.
            let mut peers: BTreeMap<NodeId, String> =
                if taken_in { BTreeMap::new() } else { self.hinted().into_iter().collect() };
            for (node, address) in cast.peers() {
                let of_ledger = cast.ledger().member(node).map(|member| member.boot);
                let hint =
                    self.hints.get(&node).filter(|(boot, _)| of_ledger.is_none_or(|known| known <= *boot));
                if let Some(address) = hint.map(|(_, address)| address.clone()).or(address) {
                    peers.insert(node, address);
                }
            }
            self.link.dial(peers.into_iter().collect());
        }
        if let Some(member) = cast.ledger().member(self.me.id)
            && member.boot == self.me.boot
            && let Some(joining) = self.joining.take()
        {
            joining.abort();
            self.log.set_number(member.number);
        }
    }

    fn follow(&self, lead: Option<cast::Lead>) {
        let lead = lead.and_then(|lead| {
            lead.address.map(|address| Lead { node: lead.node, address, session: lead.session })
        });
        self.broker.follow(lead);
    }

    /// Closes everything, silent first, and gives the folder back.
    pub(crate) async fn close(mut self) -> Folder {
        if let Some(joining) = self.joining.take() {
            joining.abort();
        }
        self.link.close().await;
        self.broker.close();
        self.replies.clear();
        self.readers.clear();
        self.runner.kill_all();
        match self.disk.take() {
            Some(disk) => disk.close(),
            None => unreachable!("the loop starts with the disk and ends with it"),
        }
    }
}

fn admission_words(refusal: &protocol::Refusal) -> String {
    match refusal {
        protocol::Refusal::NameTaken { name } => {
            format!("the name {name} is borne by another live node or a voter; choose another --name")
        }
        other => format!("refused: {other:?}"),
    }
}

fn myself(settings: &Settings, id: NodeId, boot: Boot) -> Member {
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

fn open_link(
    handle: &Handle,
    settings: &Settings,
    identity: Identity,
    me: &Member,
    slots: &Slots,
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
    };
    Link::start(handle, &address, identity, slots.peers.clone())
        .map_err(|cause| StageError::Link { address, cause })
}

/// What this node can do itself, and what of it strangers may have done.
fn offer(settings: &Settings) -> Offer {
    let classes = Runner::classes(&runner_settings(settings));
    let is_open = |class: &&String| Runner::is_built_in(class) || settings.lab.allow.contains(*class);
    let open = classes.iter().filter(is_open).cloned().collect();
    let mut headers = settings.headers.clone();
    headers.insert(LAB_HEADER.to_string(), open);
    Offer { slots: settings.slots, classes, headers, draining: false, attached: BTreeMap::new() }
}

fn runner_settings(settings: &Settings) -> RunnerSettings {
    RunnerSettings {
        allow: settings.allow.clone(),
        classes: settings.classes.clone(),
        scratch: settings.data.join(SCRATCH_FOLDER),
        keeper: std::env::current_exe().unwrap_or_else(|_| Path::new("/proc/self/exe").to_path_buf()),
    }
}

fn open_runner(
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
fn watch_load(slots: &Slots) -> Result<(), StageError> {
    let load = slots.load.clone();
    let measure = move || {
        let mut probe = Probe::new(Path::new("/"));
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
