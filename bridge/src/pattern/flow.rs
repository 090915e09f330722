//! What is under way: how much at once, and in which order answers leave. No sockets in here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Tasks from their coming until their answers have left.
pub(super) struct Flow {
    /// At once, those included whose asker has gone.
    limit: usize,
    /// Answers leave in the order of the questions, else in the order they come.
    is_ordered: bool,
    next: u64,
    /// Answered or not, by their order of coming.
    open: BTreeMap<u64, Option<Vec<u8>>>,
    /// Those whose asker has gone.
    orphans: BTreeSet<u64>,
    /// Answers that can leave.
    ready: VecDeque<Vec<u8>>,
}

impl Flow {
    pub(super) fn new(limit: usize, is_ordered: bool) -> Self {
        Self {
            limit,
            is_ordered,
            next: 0,
            open: BTreeMap::new(),
            orphans: BTreeSet::new(),
            ready: VecDeque::new(),
        }
    }

    /// Tasks that have no answer that left, with those nobody waits for.
    fn taken(&self) -> usize {
        self.open.len() + self.ready.len() + self.orphans.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken() < self.limit
    }

    /// Answers somebody waits for.
    pub(super) fn owed(&self) -> usize {
        self.open.len() + self.ready.len()
    }

    /// A task came; its number.
    pub(super) fn admit(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, None);
        number
    }

    /// Its answer is there.
    pub(super) fn done(&mut self, number: u64, answer: Vec<u8>) {
        if self.orphans.remove(&number) {
            return;
        }
        if !self.is_ordered {
            self.ready.extend(self.open.remove(&number).map(|_| answer));
            return;
        }
        if let Some(place) = self.open.get_mut(&number) {
            *place = Some(answer);
        }
        while let Some(first) = self.open.first_entry().filter(|first| first.get().is_some()) {
            self.ready.extend(first.remove());
        }
    }

    /// The answer that leaves next.
    pub(super) fn front(&self) -> Option<&[u8]> {
        self.ready.front().map(Vec::as_slice)
    }

    /// It has left.
    pub(super) fn sent(&mut self) {
        self.ready.pop_front();
    }

    /// Whoever asked has gone: nobody else may read the answers.
    pub(super) fn forget(&mut self) {
        self.ready.clear();
        let open = std::mem::take(&mut self.open);
        self.orphans
            .extend(open.into_iter().filter(|(_, answer)| answer.is_none()).map(|(number, _)| number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(flow: &mut Flow) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(answer) = flow.front() {
            all.push(String::from_utf8(answer.to_vec()).unwrap());
            flow.sent();
        }
        all
    }

    #[test]
    fn confirmations_leave_as_they_come_and_answers_as_they_were_asked() {
        for (is_ordered, first, then) in [(false, &["b"][..], &["a", "c"][..]), (true, &[], &["a", "b", "c"])]
        {
            let mut flow = Flow::new(8, is_ordered);
            let numbers: Vec<u64> = (0..3).map(|_| flow.admit()).collect();
            flow.done(numbers[1], b"b".to_vec());
            assert_eq!(drained(&mut flow), first);
            flow.done(numbers[0], b"a".to_vec());
            flow.done(numbers[2], b"c".to_vec());
            assert_eq!(drained(&mut flow), then);
            assert_eq!(flow.owed(), 0);
        }
    }

    #[test]
    fn a_task_takes_its_room_until_its_answer_has_left() {
        let mut flow = Flow::new(2, false);
        let (a, b) = (flow.admit(), flow.admit());
        assert!(!flow.has_room());
        flow.done(a, b"a".to_vec());
        assert!(!flow.has_room(), "nobody took the answer yet");
        flow.sent();
        assert!(flow.has_room());
        flow.done(b, b"b".to_vec());
        assert_eq!(flow.owed(), 1);
    }

    #[test]
    fn one_task_has_one_answer() {
        let mut flow = Flow::new(2, false);
        let a = flow.admit();
        flow.done(a, b"a".to_vec());
        flow.done(a, b"again".to_vec());
        assert_eq!(drained(&mut flow), ["a"]);
    }

    #[test]
    fn answers_to_one_who_left_meet_nobody_and_free_their_room_when_they_come() {
        let mut flow = Flow::new(3, true);
        let numbers: Vec<u64> = (0..3).map(|_| flow.admit()).collect();
        flow.done(numbers[0], b"left waiting".to_vec());
        flow.done(numbers[2], b"waits for the second".to_vec());
        flow.forget();
        assert_eq!((flow.front(), flow.owed()), (None, 0));
        assert!(flow.has_room(), "two of the three have ended");
        let new = flow.admit();
        flow.admit();
        assert!(!flow.has_room(), "the one that still runs counts");
        flow.done(numbers[1], b"of before".to_vec());
        assert!(flow.has_room());
        flow.done(new, b"new".to_vec());
        assert_eq!(drained(&mut flow), ["new"]);
    }
}
