//! What is said on the broker link: who may be heard, and under which session an answer goes back.

use protocol::{Answer, Envelope, Forward, NodeId, Refusal, ToMaster, ToNode};

use crate::cast::{Cast, Following, Own};
use crate::mutant::Mutant;
use crate::{Lead, Output};

impl Cast {
    /// There is another leader (possibly this node itself), or none: a new session begins.
    pub(crate) fn follow(&mut self, leader: Option<(NodeId, u64)>) {
        if self.following.map(|f| (f.node, f.term)) == leader {
            return;
        }
        self.following = leader.map(|(node, term)| {
            self.last_session += 1;
            Following { node, term, session: self.last_session }
        });
        self.roster_is_new = false;
        self.name_leader();
        self.worker.follow(self.following.is_some());
        self.gateway.follow(self.following.map(|following| following.node));
    }

    /// Tells the body whom to speak to. Said again when the leader's address changed.
    pub(crate) fn name_leader(&mut self) {
        let me = self.me();
        let other = self.following.filter(|f| f.node != me);
        let lead = other.map(|f| Lead {
            node: f.node,
            address: self.ledger.member(f.node).map(|member| member.broker.clone()),
            session: f.session,
        });
        self.outputs.push(Output::Follow(lead));
    }

    pub(crate) fn say_to_leader(&mut self, body: ToMaster) {
        let Some(following) = self.following else { return };
        let envelope = Envelope {
            from: self.me(),
            boot: self.settings.member.boot,
            session: following.session,
            term: following.term,
            body,
        };
        if following.node == self.me() {
            self.own.push_back(Own::Master(envelope));
        } else {
            self.outputs.push(Output::ToMaster(envelope));
        }
    }

    /// What this node said to itself since the last round.
    pub(crate) fn hear_self(&mut self) {
        for _ in 0..self.own.len() {
            match self.own.pop_front() {
                Some(Own::Master(envelope)) => self.hear_node(envelope),
                Some(Own::Node(envelope)) => self.hear_leader(envelope),
                None => return,
            }
        }
    }

    /// A node speaks to this one as to the leader of a term. Only that term's leader listens; lower sessions are refused.
    pub(crate) fn hear_node(&mut self, envelope: Envelope<ToMaster>) {
        let (from, boot, session) = (envelope.from, envelope.boot, envelope.session);
        let leads = self.master.is_some() && self.consensus.term() == envelope.term;
        if !leads {
            if let ToMaster::Forward(Forward { number, .. }) = envelope.body {
                let body = ToNode::Forwarded { number, answer: Answer::Refused(Refusal::NotLeader) };
                self.say_to_node(from, session, envelope.term, body);
            }
            return;
        }
        let known = self.sessions.get(&from).copied();
        if known.is_some_and(|known| (boot, session) < known) {
            return;
        }
        if known != Some((boot, session)) {
            // What the master has said to the earlier session so far belongs to that one: an answer numbered there would keep
            // the worker from hearing those of the new session, whose numbers begin anew.
            self.drain_master();
            // A leader in doubt said it to nobody yet, and never will: as though it had been lost on the way.
            if let Some(master) = &mut self.master {
                master.unsay(from);
            }
            self.sessions.insert(from, (boot, session));
        }
        self.acknowledge_early(&envelope);
        if let Some(master) = &mut self.master {
            master.heard(&self.ledger, from, boot, session, envelope.body);
        }
    }

    /// Does nothing, except in the purposely broken build that acknowledges before a majority has the job.
    fn acknowledge_early(&mut self, envelope: &Envelope<ToMaster>) {
        if let ToMaster::Forward(Forward { number, request: protocol::Request::Submit { job, .. }, .. }) =
            &envelope.body
            && Mutant::acks_early(self.settings.mutant)
        {
            let answer = Answer::Accepted { job: *job, replayed: false };
            let body = ToNode::Forwarded { number: *number, answer };
            self.say_to_node(envelope.from, envelope.session, envelope.term, body);
        }
    }

    pub(crate) fn say_to_node(&mut self, to: NodeId, session: u64, term: u64, body: ToNode) {
        let envelope = Envelope { from: self.me(), boot: self.settings.member.boot, session, term, body };
        if to == self.me() {
            self.own.push_back(Own::Node(envelope));
        } else {
            self.outputs.push(Output::ToNode { to, envelope });
        }
    }

    /// This node's ledger is not what the others agree on: it must not go on, nor be believed.
    pub(crate) fn is_odd(&mut self, index: u64) {
        self.outputs.push(Output::Fatal(format!(
            "at index {index} this node's ledger differs from that of a majority: keep its folder for a look, and start it \
             with an empty one"
        )));
    }

    /// The leader speaks to this node: heard only from the leader this node follows, in this session and term.
    pub(crate) fn hear_leader(&mut self, envelope: Envelope<ToNode>) {
        let named = Following { node: envelope.from, term: envelope.term, session: envelope.session };
        let same = |ours: Following| Mutant::is_heard(self.settings.mutant, ours, named);
        if self.following.map(same) != Some(true) {
            return;
        }
        match envelope.body {
            ToNode::Forwarded { number, answer } => self.gateway.answered(number, answer),
            ToNode::Answered(mut answered) => {
                self.roster = std::mem::take(&mut answered.roster);
                self.roster_is_new = true;
                self.outputs.push(Output::Roster);
                self.worker.heard(ToNode::Answered(answered));
            }
            ToNode::Odd { index } => self.is_odd(index),
            body @ (ToNode::Dispatch(_) | ToNode::Settled { .. } | ToNode::Recall { .. }) => {
                self.worker.heard(body)
            }
        }
    }
}
