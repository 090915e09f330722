//! The hands of one start: they carry out what the minds want and turn what the outside says into inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use cast::{Cast, Input, Output};
use consensus::{Peer, Writer};
use protocol::{AttemptRef, Boot, Load, Member, NodeId, Outcome, Request};
use tokio::runtime::Handle;

use crate::admit;
use crate::ask::Ask;
use crate::broker::{Broker, Lead};
use crate::bulk::Shelves;
use crate::clock::{tick_ms, wall_ms};
use crate::disk::{Closing, Disk, Folder, Identity, Told as DiskTold};
use crate::error::StageError;
use crate::inbox::{DiskState, Slots};
use crate::lab::{self, Lab, LabTold};
use crate::letters::Letters;
use crate::link::{Link, LinkTold, Serving};
use crate::narrate::Narrator;
use crate::news::News;
use crate::opening::{myself, offer, open_link, open_runner, watch_load};
use crate::replies::Replies;
use crate::runner::Runner;
use crate::settings::Settings;
use crate::shows::Shows;
use crate::stage::Stage;

/// How often requests from the lab's ports that nobody could decide are asked again.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

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
    news: News,
    disk: Option<Disk>,
    writer: Option<Writer>,
    slots: Slots,
    shows: Shows,
    lab: Lab,
    /// Classes nobody names at the lab's ports, as of the newest roster.
    closed_classes: Arc<BTreeSet<String>>,
    since_asked_again: Instant,
    replies: Replies,
    last_ticket: u64,
    /// The disk is nearly full, and that was said.
    disk_low: bool,
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
        quiet_index: u64,
    ) -> Result<Self, StageError> {
        let settings = Arc::clone(&stage.settings);
        let me = myself(&settings, identity.node, boot);
        let broker_in = slots.broker.clone();
        let broker = Broker::start(
            &format!("tcp://{}:{}", settings.listen_host, settings.broker_port),
            move |batch| {
                broker_in.try_send(batch).map_err(tokio::sync::mpsc::error::TrySendError::into_inner)
            },
            stage.front.broker.clone(),
        )?;
        let serving = Serving { bulk: Arc::new(Shelves::default()), keys: broker.keys() };
        let link = open_link(handle, &settings, identity, &me, &slots, serving)?;
        let runner = open_runner(stage, handle, &settings, &slots)?;
        watch_load(&slots, &settings.data)?;
        let load = slots.load.subscribe();
        let news = News::open(handle, &stage.front, &settings, identity, me.clone(), load, quiet_index)?;
        let shows = Shows::new(stage.front.events.clone(), Narrator::new(identity.node, stage.log.clone()));
        let hints = members.into_iter().map(|member| (member.id, (member.boot, member.link))).collect();
        let lab = Lab::open(
            handle,
            &settings,
            &settings.data,
            &stage.log,
            stage.front.lab.clone(),
            slots.lab.clone(),
        )?;
        let hands = Self {
            settings,
            handle: handle.clone(),
            identity,
            me,
            log: stage.log.clone(),
            link,
            broker,
            runner,
            news,
            disk: None,
            writer: None,
            slots,
            shows,
            lab,
            closed_classes: Arc::new(BTreeSet::new()),
            since_asked_again: Instant::now(),
            replies: Replies::default(),
            last_ticket: 0,
            disk_low: false,
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
            replace_after_ms: settings.replace_after_ms,
            offer: offer(settings),
            windows: settings.lab.windows.clone(),
            max_offers: settings.lab.max_offers,
            disk: settings.disk.bounds(),
            runs_jobs: match settings.runs_jobs {
                crate::settings::RunsJobs::Auto => master::RunsJobs::Auto,
                crate::settings::RunsJobs::Always => master::RunsJobs::Always,
                crate::settings::RunsJobs::Never => master::RunsJobs::Never,
            },
            bounds: master::Bounds { ended_jobs: settings.ended_jobs, ..master::Bounds::default() },
            retention: settings.retention,
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

    /// The probe measured. That the disk is nearly full, or no longer, is said once.
    pub(crate) fn loaded(&mut self, load: Load, inputs: &mut Vec<Input>) {
        let low = self.settings.disk.bounds().are_broken_by(&load);
        if std::mem::replace(&mut self.disk_low, low) != low {
            let (free, total) = (load.disk_free_bytes >> 20, load.disk_total_bytes >> 20);
            let of = format!("{free} MiB of {total} MiB are free in {}", self.settings.data.display());
            let (level, line) = if low {
                let line = format!(
                    "Disk is nearly full: {of}. The lead goes to another node; when a majority is short, new jobs are refused"
                );
                (logdb::Level::Warn, line)
            } else {
                (logdb::Level::Info, format!("Disk has room again: {of}"))
            };
            self.log.record(level, "disk-low", None, &line);
        }
        inputs.push(Input::Load(load));
    }

    /// The oldest write that is not durable yet.
    pub(crate) fn disk_waits_for(&self) -> Option<u64> {
        self.disk.as_ref().and_then(Disk::waits_for)
    }

    /// Makes this start known through the addresses of `--join`, when the cluster cannot learn of it from the links.
    pub(crate) fn join_cluster(&mut self, cast: &Cast) {
        let mut addresses = self.settings.join.clone();
        addresses.extend(cast.ledger().members().filter(|m| m.id != self.me.id).map(|m| m.http.clone()));
        if addresses.is_empty() {
            return;
        }
        let (member, identity, settings) = (self.me.clone(), self.identity, Arc::clone(&self.settings));
        let (told, log) = (self.slots.joined.clone(), self.log.clone());
        self.joining = Some(self.handle.spawn(async move {
            let joined = admit::join(&member, identity, &settings, &addresses, &log).await;
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
    pub(crate) fn asked(&mut self, ask: Ask, cast: &Cast, inputs: &mut Vec<Input>) {
        let ticket = self.nobodys_ticket();
        match ask {
            Ask::Request { request, reply } => {
                match &request {
                    Request::Submit { job, .. } => self.shows.created(*job),
                    Request::SubmitAll(batch) => self.shows.created_all(batch),
                    _ => {}
                }
                self.replies.asked(ticket, reply);
                inputs.push(Input::Ask { ticket, request });
            }
            Ask::Digest { index, reply } => self.replies.compares(index, reply),
            Ask::Ended { job, reply } => self.replies.awaits(job, reply, cast.ledger(), self.shows.members()),
            Ask::View { linearizable, reply } => {
                self.replies.reads(ticket, reply);
                if linearizable {
                    inputs.push(Input::Read { ticket });
                } else {
                    self.shows.want_view(ticket);
                }
            }
        }
    }

    /// Programs at the lab's ports said something.
    pub(crate) fn lab_told(&mut self, batch: Vec<LabTold>, cast: &Cast, inputs: &mut Vec<Input>) {
        if self.closed_classes.is_empty() {
            self.closed_classes = lab::closed_classes(cast);
        }
        let closed = Arc::clone(&self.closed_classes);
        for told in batch {
            let last_ticket = &mut self.last_ticket;
            let ticket = || {
                *last_ticket += 1;
                *last_ticket
            };
            if let Some(job) = self.lab.told(told, &closed, ticket, inputs) {
                self.shows.created(job);
            }
        }
    }

    /// What is looked at each second: who waits in vain, and requests from the lab's ports that nobody could decide, which are
    /// asked again.
    pub(crate) fn ask_again(&mut self, cast: &mut Cast, wall_ms: u64) {
        if self.since_asked_again.elapsed() < ASK_AGAIN {
            return;
        }
        self.since_asked_again = Instant::now();
        self.replies.sweep();
        let last_ticket = &mut self.last_ticket;
        let again = self.lab.ask_again(|| {
            *last_ticket += 1;
            *last_ticket
        });
        for (ticket, request) in again {
            cast.handle(Input::Ask { ticket, request }, wall_ms);
        }
    }

    pub(crate) fn link_told(&mut self, told: LinkTold, inputs: &mut Vec<Input>) {
        match told {
            LinkTold::Message { message, .. } => inputs.push(Input::Peer(message)),
            LinkTold::Up { .. } => {}
            LinkTold::Closed { peer, refused } => inputs.push(Input::LinkClosed { peer, gone: refused }),
            LinkTold::Address { peer, boot, link, news, .. } => {
                self.news.heard_of(peer, boot, news);
                let known = self.hints.get(&peer).map(|(boot, _)| *boot);
                if known.is_none_or(|known| known <= boot) {
                    self.hints.insert(peer, (boot, link));
                    self.shows.redial();
                }
            }
            LinkTold::Refused { peer, text } => {
                let line = format!("no consensus link with node {peer} {text}");
                self.log.record(logdb::Level::Warn, "link-refused", None, &line);
            }
            LinkTold::Stranger { text } => self.log.record(
                logdb::Level::Warn,
                "link-refused",
                None,
                &format!("refused on the consensus link: {text}"),
            ),
        }
    }

    /// What an attempt brings that needs no time at all; none for others.
    pub(crate) fn at_once(&self, dispatch: &protocol::Dispatch) -> Option<Outcome> {
        let outcome = Runner::at_once(dispatch)?;
        self.shows.started(dispatch.attempt.job);
        self.shows.finished(dispatch.attempt.job);
        Some(outcome)
    }

    /// The runner says that an attempt is gone.
    pub(crate) fn ended(&self, attempt: AttemptRef, outcome: Outcome, inputs: &mut Vec<Input>) {
        self.shows.finished(attempt.job);
        inputs.push(Input::Ended { attempt, outcome });
    }

    /// `/stop` closes this start.
    pub(crate) fn stopped(&self) {
        self.news.last_word();
        self.shows.stopped();
    }

    /// The process ends, and so many attempts with it.
    pub(crate) fn left(&self, running: usize) {
        self.shows.left(running);
    }

    /// This start follows a `/stop`.
    pub(crate) fn resumed(&self) {
        self.shows.resumed();
    }

    /// Carries out, in order, what one turn wants.
    pub(crate) fn carry_out(&mut self, cast: &mut Cast, outputs: Vec<Output>) -> Result<(), StageError> {
        let mut messages: BTreeMap<Peer, Vec<consensus::Message>> = BTreeMap::new();
        let mut letters = Letters::default();
        self.shows.turn(self.news.jobs_wanted());
        let mut writes = Vec::new();
        for output in outputs {
            match output {
                Output::Peer(message) => messages.entry(message.to()).or_default().push(message),
                Output::Write(write) => writes.push(write),
                Output::Follow(lead) => {
                    // It was for the one before, who is left by the next line: a link without room for it loses nothing.
                    let _ = letters.post_to_master(&self.broker);
                    self.follow(lead);
                }
                Output::ToMaster(envelope) => {
                    if letters.to_master(&self.broker, &envelope).is_err() {
                        cast.handle(Input::SessionLost, wall_ms());
                    }
                }
                Output::ToNode { to, envelope } => letters.to_node(&self.broker, to, &envelope),
                Output::Run(dispatch) => {
                    self.shows.started(dispatch.attempt.job);
                    self.runner.run(&dispatch);
                }
                Output::Kill(attempt) => self.runner.kill(attempt),
                Output::Hand { worker, dispatch } => {
                    self.shows.started(dispatch.attempt.job);
                    self.lab.hand(worker, &dispatch);
                }
                Output::Late { worker, attempt } => self.lab.late(worker, attempt),
                Output::TooManyAttached { worker } => self.lab.too_many(worker),
                Output::Tell { ticket, told } => {
                    if !self.lab.answered(ticket, &told) {
                        self.replies.decided(ticket, told, cast.ledger(), self.shows.members());
                    }
                }
                Output::ReadReady { ticket } => self.shows.want_view(ticket),
                Output::ReadLost { ticket } => drop(self.replies.reader(ticket)),
                Output::NotAdmitted(refusal) => {
                    return Err(StageError::NotAdmitted(admit::words(&refusal)));
                }
                Output::Fatal(text) => return Err(StageError::Fatal(text)),
                shown => self.show(cast, shown),
            }
        }
        self.post(cast, messages);
        if letters.post(&self.broker).is_err() {
            cast.handle(Input::SessionLost, wall_ms());
        }
        self.write(writes)?;
        self.after_turn(cast);
        Ok(())
    }

    fn show(&mut self, cast: &Cast, output: Output) {
        match &output {
            Output::Fact { job: Some(job), .. } => {
                self.lab.changed(job);
                self.replies.changed(job, self.shows.members());
            }
            Output::Roster => self.closed_classes = lab::closed_classes(cast),
            _ => {}
        }
        self.shows.show(cast, output);
    }

    fn post(&mut self, cast: &mut Cast, messages: BTreeMap<Peer, Vec<consensus::Message>>) {
        for (peer, messages) in messages {
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
        self.news.turned(cast, self.shows.leader(), self.shows.members());
        let wanted = self.shows.views_wanted();
        self.replies.show(wanted, || self.shows.view(cast, self.identity));
        self.replies.compare(cast);
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
        self.link.open_session(lead.as_ref().map(|lead| (lead.node, lead.session)));
        self.broker.follow(lead);
    }

    /// Closes everything, silent first, and gives the folder back.
    pub(crate) async fn close(mut self) -> Closing {
        if let Some(joining) = self.joining.take() {
            joining.abort();
        }
        self.link.close().await;
        self.broker.close();
        self.lab.close();
        self.news.close();
        self.replies.clear();
        self.runner.kill_all();
        match self.disk.take() {
            Some(disk) => disk.close(),
            None => unreachable!("the loop starts with the disk and ends with it"),
        }
    }
}
