//! A log whose beginning is in a snapshot: segments go when they may, and what is missing is noticed.

#[cfg(test)]
mod compaction {
    use std::collections::BTreeMap;

    use consensus::{
        Base, Config, Consensus, Entry, HardState, Kind, Origin, Peer, Piece, Recovered, Restored, Step,
        Write, Writer, recover, recover_after,
    };

    const ORIGIN: Origin = Origin { cluster: 0x1234_5678_9abc_def0_1122_3344_5566_7788, node: 7 };
    const SEGMENT: u64 = 1024;

    type Files = BTreeMap<u64, Vec<u8>>;

    fn put(files: &mut Files, piece: &Piece) {
        if let Some(size) = piece.create {
            files.insert(piece.segment, vec![0; size as usize]);
        }
        let at = piece.offset as usize;
        files.get_mut(&piece.segment).expect("it exists")[at..at + piece.bytes.len()]
            .copy_from_slice(&piece.bytes);
    }

    fn entry(index: u64) -> Entry {
        Entry { term: 4, index, kind: Kind::Normal, data: vec![index as u8 | 1; 60].into() }
    }

    fn write(index: u64) -> Write {
        let hard = HardState { term: 4, vote: Some(Peer(3)), commit: index - 1 };
        Write { number: index, hard: Some(hard), entries: vec![entry(index)], base: None }
    }

    fn append(files: &mut Files, writer: &mut Writer, writes: &[Write]) -> Vec<Piece> {
        let pieces = writer.batch(writes);
        pieces.iter().for_each(|piece| put(files, piece));
        writer.synced();
        pieces
    }

    /// A log of the entries 2 to `last`.
    fn log(last: u64) -> (Files, Writer) {
        let (mut files, mut writer) = (Files::new(), Writer::new(ORIGIN, SEGMENT));
        for index in 2..=last {
            append(&mut files, &mut writer, &[write(index)]);
        }
        (files, writer)
    }

    /// Where a snapshot of everything up to `index` stands: made as a node makes it.
    fn base(index: u64) -> Base {
        base_of(index, entry)
    }

    fn base_of(index: u64, entry: fn(u64) -> Entry) -> Base {
        let config = Config { id: Peer(7), seed: 1, heartbeat_ticks: 2, election_ticks: 10, mutant: None };
        let restored = Restored {
            base: Base::founded(Peer(3)),
            hard: Some(HardState { term: entry(index).term, vote: None, commit: index }),
            entries: (2..=index).map(entry).collect(),
        };
        let mut mind = Consensus::open(config, restored).expect("it opens");
        let applied = mind.turn().steps.iter().filter(|step| matches!(step, Step::Apply(_))).count();
        assert_eq!(applied as u64, index - 1);
        mind.begin_snapshot()
    }

    fn read(files: &Files, base: &Base) -> Result<Recovered, consensus::Corrupt> {
        let files: Vec<_> = files.iter().map(|(number, bytes)| (*number, bytes.clone())).collect();
        recover_after(Some(ORIGIN), base, &files)
    }

    fn forget(files: &mut Files, writer: &mut Writer, upto: u64) -> Vec<u64> {
        let gone = writer.forget(upto);
        gone.iter().for_each(|segment| assert!(files.remove(segment).is_some()));
        gone
    }

    #[test]
    fn segments_wholly_in_the_snapshot_go_and_the_rest_comes_back_with_the_vote() {
        let (mut files, mut writer) = log(60);
        let whole = files.len();
        let gone = forget(&mut files, &mut writer, 40);
        assert!(gone.len() >= 3 && gone == (1..=gone.len() as u64).collect::<Vec<_>>(), "{gone:?}");
        assert!(whole - gone.len() >= 2);
        let back = read(&files, &base(40)).expect("it goes on from the snapshot");
        let first = back.entries.first().expect("entries").index;
        assert!(first <= 41, "{first}");
        assert_eq!(back.entries, (first..=60).map(entry).collect::<Vec<_>>());
        assert_eq!(back.hard, Some(HardState { term: 4, vote: Some(Peer(3)), commit: 59 }));
        // A later start still knows what may go, and goes on writing.
        let mut writer = back.writer;
        writer.set_segment_bytes(SEGMENT);
        append(&mut files, &mut writer, &[write(61)]);
        let more = forget(&mut files, &mut writer, 55);
        assert_eq!(more.first().copied(), Some(gone.len() as u64 + 1));
        assert_eq!(read(&files, &base(55)).unwrap().entries.last(), Some(&entry(61)));
    }

    /// Found by simulation: a leader that was cut off had filled segments with entries that the next leader's replaced, from
    /// before the first one that was kept on. It took its own log for damaged.
    #[test]
    fn a_log_whose_first_kept_entries_were_replaced_from_before_them_is_whole() {
        fn agreed(index: u64) -> Entry {
            Entry { term: if index < 30 { 4 } else { 5 }, ..entry(index) }
        }
        let (mut files, mut writer) = log(20);
        let hard = |term, commit| Some(HardState { term, vote: Some(Peer(3)), commit });
        for index in 21..=60 {
            let write = Write { number: index, hard: hard(4, 20), entries: vec![entry(index)], base: None };
            append(&mut files, &mut writer, &[write]);
        }
        for index in 30..=90 {
            let commit = index - 1;
            let write = Write {
                number: 100 + index,
                hard: hard(5, commit),
                entries: vec![agreed(index)],
                base: None,
            };
            append(&mut files, &mut writer, &[write]);
        }
        let mut replaced_from_before = 0;
        for upto in 21..=89 {
            let (mut files, mut writer) = (files.clone(), writer.clone());
            let gone = forget(&mut files, &mut writer, upto);
            let back = read(&files, &base_of(upto, agreed)).expect("it is whole");
            let first = back.entries.first().expect("entries").index;
            assert!(first <= upto + 1, "{first} behind {upto}");
            assert_eq!(back.entries, (first..=90).map(agreed).collect::<Vec<_>>());
            replaced_from_before += u32::from(!gone.is_empty() && first == 30);
        }
        assert!(replaced_from_before > 0, "none of these logs was such a one");
    }

    #[test]
    fn nothing_goes_that_is_not_in_the_snapshot_or_holds_the_vote_or_is_not_synced() {
        let (_, mut writer) = log(60);
        assert_eq!(writer.forget(1), Vec::<u64>::new());
        let unsynced = writer.batch(&[write(61)]);
        assert_eq!((writer.forget(60).len(), unsynced.len()), (0, 1));
        writer.synced();
        let all = writer.forget(u64::MAX);
        // The one that is written to stays whatever the snapshot holds.
        assert_eq!(all.last().copied(), Some(unsynced[0].segment - 1));
    }

    #[test]
    fn a_missing_segment_is_noticed_wherever_it_was() {
        let (mut files, mut writer) = log(60);
        forget(&mut files, &mut writer, 30);
        let base = base(30);
        assert!(read(&files, &base).is_ok());
        let numbers: Vec<u64> = files.keys().copied().collect();
        for missing in &numbers[..numbers.len() - 1] {
            let mut files = files.clone();
            files.remove(missing);
            let corrupt = read(&files, &base).expect_err("a hole must be refused");
            assert!(corrupt.to_string().contains("missing"), "{missing}: {corrupt}");
        }
        // Without a snapshot the whole log is asked for.
        let corrupt = read(&files, &Base::founded(Peer(3))).expect_err("its beginning is gone");
        assert_eq!((corrupt.segment, corrupt.offset), (1, 0));
    }

    #[test]
    fn a_damaged_header_of_the_first_segment_kept_is_refused_where_it_is() {
        let (mut files, mut writer) = log(60);
        forget(&mut files, &mut writer, 30);
        let first = *files.keys().next().unwrap();
        for place in 0..80 {
            let mut files = files.clone();
            files.get_mut(&first).unwrap()[place] ^= 4;
            let corrupt = read(&files, &base(30)).expect_err("damage must be refused");
            assert_eq!((corrupt.segment, corrupt.offset), (first, 0), "{corrupt}");
        }
    }

    /// A recycled file whose zeros never reached the disk: what it held before is of another segment and never counts.
    #[test]
    fn what_a_recycled_file_held_before_never_comes_back() {
        let (mut files, mut writer) = log(60);
        let old: Vec<Vec<u8>> = files.values().take(3).cloned().collect();
        forget(&mut files, &mut writer, 40);
        let mut recycled = 0;
        for index in 61..=90 {
            for piece in writer.batch(&[write(index)]) {
                put(&mut files, &piece);
                if piece.create.is_some() {
                    // Its old bytes are all still there behind what is written now.
                    let file = files.get_mut(&piece.segment).unwrap();
                    let mut stale = old[recycled % old.len()].clone();
                    stale[..piece.bytes.len()].copy_from_slice(&piece.bytes);
                    *file = stale;
                    recycled += 1;
                }
            }
            writer.synced();
            let back = read(&files, &base(40)).expect("stale bytes are harmless");
            assert_eq!(back.entries.last(), Some(&entry(index)));
        }
        assert!(recycled >= 2);
        // And a torn batch on top of them is cut as on zeros, at every length.
        let mut torn = writer.clone();
        let piece = torn.batch(&[write(91)]).remove(0);
        for length in 0..piece.bytes.len() - 8 {
            let mut files = files.clone();
            put(&mut files, &Piece { bytes: piece.bytes[..length].to_vec(), ..piece.clone() });
            let back = read(&files, &base(40)).expect("a torn tail is cut");
            assert_eq!(back.entries.last(), Some(&entry(90)), "torn at {length}");
        }
    }

    #[test]
    fn a_snapshot_in_place_of_the_log_counts_from_its_record_on() {
        let (mut files, mut writer) = log(10);
        let place = base(50);
        let hard = Some(HardState { term: 4, vote: None, commit: 50 });
        let reset = Write { number: 1, base: Some(place.clone()), hard, entries: vec![] };
        append(&mut files, &mut writer, &[reset]);
        append(&mut files, &mut writer, &[Write { number: 2, entries: vec![entry(51)], ..Write::default() }]);
        let back = read(&files, &place).expect("it goes on from the snapshot");
        assert_eq!(back.entries, [entry(51)]);
        // Only that one will do.
        let corrupt = read(&files, &base(30)).expect_err("entries 31 to 50 are nowhere");
        assert!(corrupt.to_string().contains("missing"), "{corrupt}");
    }

    /// The node ended after the fetched snapshot was safe and before the log said so.
    #[test]
    fn a_snapshot_that_the_log_does_not_know_of_yet_takes_its_place_at_the_next_start() {
        let (mut files, _) = log(10);
        let place = base(50);
        for _ in 0..2 {
            let back = read(&files, &place).expect("the snapshot is ahead of the log");
            assert_eq!((back.entries.len(), back.hard.map(|hard| hard.commit)), (0, Some(9)));
        }
        let mut writer = read(&files, &place).unwrap().writer;
        writer.set_segment_bytes(SEGMENT);
        // A write that failed is brought again, and the place with it.
        let failed = Write { number: 1, entries: vec![entry(51)], ..Write::default() };
        writer.batch(std::slice::from_ref(&failed));
        writer.renew();
        append(&mut files, &mut writer, &[failed]);
        append(&mut files, &mut writer, &[Write { number: 2, entries: vec![entry(52)], ..Write::default() }]);
        let back = read(&files, &place).expect("it goes on from the snapshot");
        assert_eq!(back.entries, [entry(51), entry(52)]);
    }

    #[test]
    fn another_entry_at_the_place_of_the_snapshot_gives_way_unless_it_is_committed() {
        let (mut files, mut writer) = log(10);
        let own = |index| Entry { term: 5, ..entry(index) };
        let hard = |commit| Some(HardState { term: 5, vote: None, commit });
        let stray = Write { number: 1, hard: hard(10), entries: vec![own(11), own(12)], base: None };
        append(&mut files, &mut writer, &[stray]);
        let place = base(12);
        assert_eq!(read(&files, &place).unwrap().entries, []);
        append(&mut files, &mut writer, &[Write { number: 2, hard: hard(12), ..Write::default() }]);
        assert!(read(&files, &place).unwrap_err().to_string().contains("committed"));
    }

    /// Files as the program of format 1 wrote them.
    #[test]
    fn a_log_of_format_1_is_read_and_goes_on_in_the_present_format() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log-1");
        let mut files = Files::new();
        for number in 1..=3 {
            files.insert(number, std::fs::read(folder.join(format!("{number:010}.seg"))).expect("a fixture"));
        }
        let given: Vec<_> = files.clone().into_iter().collect();
        let mut back = recover(Some(ORIGIN), &given).expect("format 1 is read");
        assert_eq!(
            back.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(),
            (2..=25).collect::<Vec<_>>()
        );
        assert_eq!(back.entries[5].kind, Kind::Members);
        assert!(back.entries.iter().all(|entry| entry.term == 1 + (entry.index - 2) / 8));
        assert_eq!(back.hard, Some(HardState { term: 3, vote: Some(Peer(3)), commit: 24 }));
        back.writer.set_segment_bytes(SEGMENT);
        // Its last segment is left as it is, and is needed for the vote until another one holds that.
        assert!(back.writer.forget(25).iter().all(|segment| *segment < 3));
        let pieces =
            append(&mut files, &mut back.writer, &[Write { entries: vec![entry(26)], ..Write::default() }]);
        assert_eq!(pieces[0].create, Some(SEGMENT));
        assert_eq!(pieces[0].bytes[8], 2, "the present format");
        let again: Vec<_> = files.into_iter().collect();
        let again = recover(Some(ORIGIN), &again).expect("both formats side by side");
        assert_eq!((again.entries.len(), again.hard), (25, back.hard));
    }
}
