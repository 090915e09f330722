//! The hands of one start: they carry out what the minds want and turn what the outside says into inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cast::{Cast, Input, Output};
use consensus::{Peer, Writer};
use protocol::{AttemptRef, Boot, Load, Member, NodeId, Outcome};
use tokio::runtime::Handle;

use crate::admit::{self, Arrival};
use crate::again::Again;
use crate::archive::{Archive, Filing, shelf};
use crate::broker::{Broker, Lead};
use crate::bulk::Shelves;
use crate::clock::wall_ms;
use crate::disk::{Closing, Disk, Folder, Identity, Snapshots, Told as DiskTold};
use crate::error::StageError;
use crate::inbox::{DiskState, Slots};
use crate::lab::{self, Lab};
use crate::letters::Letters;
use crate::link::{Link, LinkTold, Serving};
use crate::narrate::Narrator;
use crate::news::News;
use crate::opening::{cast_settings, myself, open_link, open_runner, watch_load};
use crate::recodex::Recodex;
use crate::replies::Replies;
use crate::runner::Runner;
use crate::settings::Settings;
use crate::shows::Shows;
use crate::snapshots::{self, Keeper, Served, SnapshotTold};
use crate::stage::Stage;

mod asking;
mod hosting;
mod owing;

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
    snapshots: Keeper,
    slots: Slots,
    shows: Shows,
    lab: Lab,
    /// None: no settings for it.
    recodex: Option<Recodex>,
    /// Classes nobody names at the lab's ports, as of the newest roster.
    closed_classes: Arc<BTreeSet<String>>,
    again: Again,
    replies: Replies,
    last_ticket: u64,
    /// The disk is nearly full, and that was said.
    disk_low: bool,
    /// Addresses heard from the peers themselves: newer than the ledger's until the ledger learns of a later start.
    hints: BTreeMap<NodeId, (Boot, String)>,
    joining: Option<tokio::task::JoinHandle<()>>,
    filing: Filing,
    owing: owing::Owing,
}

/// What is known before the hands do anything.
pub(crate) struct Known {
    /// Members that a newcomer heard of.
    pub(crate) members: Vec<Member>,
    /// Entries up to this index are no news.
    pub(crate) quiet_index: u64,
    /// Where history is kept.
    pub(crate) archive: Archive,
}

impl Hands {
    pub(crate) fn open(
        stage: &Stage,
        handle: &Handle,
        identity: Identity,
        boot: Boot,
        slots: Slots,
        known: Known,
    ) -> Result<Self, StageError> {
        let Known { members, quiet_index, archive } = known;
        let settings = Arc::clone(&stage.settings);
        let me = myself(&settings, identity.node, boot);
        let (files, served) = (Snapshots::of(&settings.data, identity), Arc::<Served>::default());
        let shelves = Shelves {
            snapshots: Some(snapshots::shelf(files.clone(), Arc::clone(&served))),
            archive: Some(shelf(archive.clone())),
        };
        let (log, told) = (stage.log.clone(), slots.snapshots.clone());
        let snapshots = Keeper::new(handle, files, log, told, settings.snapshot_bytes, served);
        let broker_in = slots.broker.clone();
        let broker = Broker::start(
            &format!("tcp://{}:{}", settings.listen_host, settings.broker_port),
            move |batch| {
                broker_in.try_send(batch).map_err(tokio::sync::mpsc::error::TrySendError::into_inner)
            },
            stage.front.broker.clone(),
        )?;
        let serving = Serving { bulk: Arc::new(shelves), keys: broker.keys(), elsewhere: handle.clone() };
        // Its messages are carried on the thread of the owner loop, which makes and hears them: no other has to be woken for each.
        let link = open_link(&Handle::current(), &settings, identity, &me, &slots, serving)?;
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
        let recodex = hosting::open(stage, handle, &slots)?;
        let filing = Filing::new(archive, stage.front.history.clone(), handle, link.bulk());
        let owing = owing::Owing::open(handle, &settings, &stage.log, stage.front.asks.clone());
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
            snapshots,
            slots,
            shows,
            lab,
            recodex,
            closed_classes: Arc::new(BTreeSet::new()),
            again: Again::new(),
            replies: Replies::default(),
            last_ticket: 0,
            disk_low: false,
            hints,
            joining: None,
            filing,
            owing,
        };
        if identity.founder == identity.node {
            // Known before the ledger says so: the founder's first lines already bear it.
            hands.log.set_number(1);
        }
        hands.link.dial(hands.hinted());
        Ok(hands)
    }

    pub(crate) fn cast_settings(&self, identity: Identity, boot: Boot) -> cast::Settings {
        cast_settings(self.me.clone(), &self.settings, identity, boot)
    }

    /// The ledger as the disk left it.
    pub(crate) fn begin_history(&mut self, ledger: &master::Ledger) {
        self.filing.begin(ledger);
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
        let (told, log, former) =
            (self.slots.joined.clone(), self.log.clone(), cast.ledger().former().to_vec());
        self.joining = Some(self.handle.spawn(async move {
            let arrival = Arrival { member, identity, former, settings: &settings, log: &log };
            let joined = admit::join(arrival, &addresses).await;
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
                self.look_whether_recovered(peer);
            }
            LinkTold::Stranger { text } => self.log.record(
                logdb::Level::Warn,
                "link-refused",
                None,
                format!("refused on the consensus link: {text}"),
            ),
        }
    }

    /// A member does not know this node any more: the cluster may have been recovered without it, which is the end of this node.
    fn look_whether_recovered(&self, peer: NodeId) {
        let member = self.shows.members().iter().find(|member| member.id == peer);
        let Some(address) = member.map(|member| member.http.clone()) else { return };
        let (identity, settings) = (self.identity, Arc::clone(&self.settings));
        let told = self.slots.joined.clone();
        drop(self.handle.spawn(async move {
            if let Some(recovered) = admit::recovered_at(identity, &settings, &address).await {
                // The loop has ended: nobody needs to know.
                let _ = told.send(Err(recovered)).await;
            }
        }));
    }

    /// A thread or task of snapshots says something.
    pub(crate) fn snapshot_told(&mut self, told: SnapshotTold, inputs: &mut Vec<Input>) {
        self.snapshots.told(told, self.disk.as_ref(), inputs);
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

    /// A turn begins: whether somebody watches all jobs.
    pub(crate) fn jobs_watched(&mut self) -> bool {
        self.shows.turn(self.news.jobs_wanted())
    }

    /// Carries out, in order, what one turn wants.
    pub(crate) fn carry_out(&mut self, cast: &mut Cast, outputs: Vec<Output>) -> Result<(), StageError> {
        let mut messages: BTreeMap<Peer, Vec<consensus::Message>> = BTreeMap::new();
        let mut letters = Letters::default();
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
                    if letters.for_master(&self.broker, &envelope).is_err() {
                        cast.handle(Input::SessionLost, wall_ms());
                    }
                }
                Output::ToNode { to, envelope } => letters.for_node(&self.broker, to, &envelope),
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
                Output::HandGuest { .. } | Output::GuestGone { .. } | Output::TooManyGuests { .. } => {
                    self.with_guest(output);
                }
                Output::Tell { ticket, told } => {
                    if !self.lab.answered(ticket, &told) && !self.told_guests(ticket, &told) {
                        self.replies.decided(ticket, told, cast.ledger(), self.shows.members());
                    }
                }
                Output::Fetch { from, base } => self.snapshots.fetch(self.link.bulk(), from, base),
                Output::Retired(ledger) => drop(self.handle.spawn_blocking(move || drop(ledger))),
                Output::ReadReady { ticket } if self.again.confirmed(ticket) => {}
                Output::ReadReady { ticket } => self.shows.want_view(ticket),
                Output::ReadLost { ticket } => {
                    self.again.lost(ticket);
                    drop(self.replies.reader(ticket));
                }
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
        self.snapshots.turned(cast, self.filing.durable_upto());
        self.after_turn(cast);
        Ok(())
    }

    fn show(&mut self, cast: &Cast, output: Output) {
        match &output {
            Output::Fact { fact, job } => {
                self.filing.hear(fact, job.as_ref());
                self.tell_monitor(fact, cast);
                if let Some(job) = job {
                    self.lab.changed(job);
                    self.replies.changed(job, self.shows.members());
                }
            }
            Output::Roster => self.closed_classes = lab::closed_classes(cast),
            Output::Restored { index, .. } => {
                self.snapshots.restored(*index);
                self.lab.look_again(cast.ledger());
                self.replies.look_again(cast.ledger(), self.shows.members());
            }
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

    fn after_turn(&mut self, cast: &mut Cast) {
        // Before anybody gets a view: what is in no ledger any more is to be found in the archive.
        if let Some(burdened) = self.filing.file(cast.ledger()) {
            cast.handle(Input::Burdened(burdened), wall_ms());
        }
        self.ask_undecided(cast);
        let cast = &*cast;
        self.owing.turned(cast.ledger(), cast.is_master());
        self.news.turned(cast, self.shows.leader(), self.shows.members());
        let wanted = self.shows.views_wanted();
        self.replies.show(wanted, || self.shows.view(cast, self.identity));
        self.replies.turned(cast);
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
            self.filing.knows(peers.keys().copied().collect());
            self.link.dial(peers.into_iter().collect());
        }
        if let Some(member) = cast.ledger().member(self.me.id)
            && member.boot == self.me.boot
            && !cast.may_be_forgotten()
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
        drop(self.recodex.take());
        self.news.close();
        self.replies.clear();
        self.runner.kill_all();
        self.filing.close().await;
        match self.disk.take() {
            Some(disk) => disk.close(),
            None => unreachable!("the loop starts with the disk and ends with it"),
        }
    }
}
