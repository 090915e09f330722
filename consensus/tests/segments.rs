//! The bytes of the log: what was synced comes back or is refused by name, what was torn is cut, nothing is made up.

#[cfg(test)]
mod segments {
    use consensus::{
        Base, Cut, Entry, HardState, Kind, Origin, Peer, Piece, Recovered, Write, Writer, recover,
        recover_until,
    };

    const ORIGIN: Origin = Origin { cluster: 0x1234_5678_9abc_def0_1122_3344_5566_7788, node: 7 };
    const SEGMENT: u64 = 1024;

    /// Files as a disk would hold them: created with zeros, pieces written into them.
    #[derive(Clone, Default)]
    struct Disk {
        files: Vec<(u64, Vec<u8>)>,
    }

    impl Disk {
        fn put(&mut self, piece: &Piece) {
            if let Some(size) = piece.create {
                self.files.retain(|(number, _)| *number != piece.segment);
                self.files.push((piece.segment, vec![0; size as usize]));
            }
            let offset = piece.offset as usize;
            self.file(piece.segment)[offset..offset + piece.bytes.len()].copy_from_slice(&piece.bytes);
        }

        fn file(&mut self, number: u64) -> &mut Vec<u8> {
            &mut self.files.iter_mut().find(|(n, _)| *n == number).expect("the file exists").1
        }

        fn recover(&self) -> Recovered {
            recover(Some(ORIGIN), &self.files).expect("the log is whole")
        }
    }

    fn founded() -> Base {
        Base::founded(Peer(3))
    }

    fn entry(index: u64, term: u64, size: usize) -> Entry {
        let data = vec![index as u8 | 1; size].into();
        Entry { term, index, kind: Kind::Normal, data }
    }

    fn write(number: u64, index: u64, term: u64, size: usize) -> Write {
        let hard = HardState { term, vote: Some(Peer(3)), commit: index - 1 };
        Write { number, hard: Some(hard), entries: vec![entry(index, term, size)], base: None }
    }

    /// A log of `count` synced batches of one entry each (indices from 2), and the piece of each batch.
    fn log(count: u64, size: usize) -> (Disk, Writer, Vec<Piece>) {
        let mut writer = Writer::new(ORIGIN, SEGMENT);
        let (mut disk, mut all) = (Disk::default(), Vec::new());
        for number in 0..count {
            let pieces = writer.batch(&[write(number + 1, number + 2, 4, size)]);
            assert_eq!(pieces.len(), 1);
            pieces.iter().for_each(|piece| disk.put(piece));
            writer.synced();
            all.extend(pieces);
        }
        (disk, writer, all)
    }

    /// Where the batch itself begins: behind the segment's header when the piece opens one.
    fn batch_at(piece: &Piece) -> usize {
        if piece.create.is_some() { 88 } else { 0 }
    }

    #[test]
    fn a_log_over_several_segments_comes_back_whole() {
        let (disk, _, _) = log(40, 100);
        assert!(disk.files.len() > 4, "several segments were needed");
        let back = disk.recover();
        assert_eq!(back.entries, (2..42).map(|index| entry(index, 4, 100)).collect::<Vec<_>>());
        assert_eq!(back.hard, Some(HardState { term: 4, vote: Some(Peer(3)), commit: 40 }));
        assert_eq!((back.cut, back.origin), (None, ORIGIN));
    }

    #[test]
    fn writes_that_wait_together_are_one_batch() {
        let mut writer = Writer::new(ORIGIN, SEGMENT);
        let pieces = writer.batch(&[write(1, 2, 1, 10), write(2, 3, 1, 10), write(5, 4, 2, 10)]);
        let [piece] = pieces.as_slice() else { panic!("one write to the disk, not {}", pieces.len()) };
        let mut disk = Disk::default();
        disk.put(piece);
        assert_eq!(disk.recover().entries.len(), 3);
        assert!(writer.batch(&[]).is_empty());
    }

    #[test]
    fn a_batch_is_the_same_in_memory_that_was_used_before_and_stays_in_it() {
        let (mut fresh, mut again) = (Writer::new(ORIGIN, SEGMENT), Writer::new(ORIGIN, SEGMENT));
        let mut room = vec![0xAA; 4_000];
        for number in 0..40 {
            let write = write(number + 1, number + 2, 4, 100 + number as usize * 7);
            let place = room.as_ptr();
            let piece = again.batch_in(room, std::slice::from_ref(&write)).remove(0);
            assert_eq!(piece, fresh.batch(&[write]).remove(0));
            assert_eq!(piece.bytes.as_ptr(), place, "batch {number}");
            room = piece.bytes;
            again.synced();
            fresh.synced();
        }
    }

    #[test]
    fn a_write_larger_than_a_segment_gets_its_own() {
        let (mut disk, mut writer, _) = log(2, 50);
        let big = writer.batch(&[write(3, 4, 4, 5000)]);
        assert!(big[0].create.unwrap() > 5000);
        disk.put(&big[0]);
        writer.synced();
        disk.put(&writer.batch(&[write(4, 5, 4, 50)])[0]);
        assert_eq!(disk.recover().entries.len(), 4);
    }

    #[test]
    fn a_later_entry_replaces_all_from_its_index_on() {
        let (mut disk, mut writer, _) = log(6, 20);
        let other = Write { number: 9, entries: vec![entry(7, 5, 30)], ..Write::default() };
        disk.put(&writer.batch(&[other])[0]);
        let back = disk.recover();
        assert_eq!(back.entries.last(), Some(&entry(7, 5, 30)));
        assert_eq!(back.entries.len(), 6);
    }

    #[test]
    fn the_last_batch_may_be_torn_at_every_length() {
        let (disk, writer, _) = log(9, 60);
        let last = &writer.clone().batch(&[write(10, 11, 4, 60)])[0];
        assert!(last.create.is_none(), "the last batch is in the middle of a segment here");
        for length in 0..last.bytes.len() {
            let mut torn = disk.clone();
            torn.put(&Piece { bytes: last.bytes[..length].to_vec(), ..last.clone() });
            let back = torn.recover();
            let whole = last.bytes[length..].iter().all(|byte| *byte == 0);
            assert_eq!(back.entries.len(), if whole { 10 } else { 9 }, "torn at {length}");
            if !whole {
                let bytes = last.bytes[..length].iter().rposition(|byte| *byte != 0).map(|at| at as u64 + 1);
                let cut = bytes.map(|bytes| Cut { segment: last.segment, offset: last.offset, bytes });
                assert_eq!(back.cut, cut, "torn at {length}");
            }
        }
    }

    #[test]
    fn a_torn_first_batch_of_a_new_segment_is_cut_at_every_length() {
        let (disk, writer, _) = log(8, 60);
        let last = &writer.clone().batch(&[write(9, 10, 4, 900)])[0];
        assert!(last.create.is_some());
        for length in 0..last.bytes.len() - 8 {
            let mut torn = disk.clone();
            torn.put(&Piece { bytes: last.bytes[..length].to_vec(), ..last.clone() });
            let mut back = torn.recover();
            assert_eq!(back.entries.len(), 8, "torn at {length}");
            back.writer.set_segment_bytes(SEGMENT);
            // And it goes on from there.
            for piece in back.writer.batch(&[write(1, 10, 6, 40)]) {
                torn.put(&piece);
            }
            assert_eq!(torn.recover().entries.last(), Some(&entry(10, 6, 40)), "torn at {length}");
        }
    }

    #[test]
    fn a_flipped_byte_in_any_earlier_synced_batch_is_refused_where_it_is() {
        let (disk, _, pieces) = log(20, 60);
        assert!(disk.files.len() > 2);
        for piece in &pieces[..pieces.len() - 1] {
            let used = piece.bytes.len() - piece.bytes.iter().rev().take_while(|byte| **byte == 0).count();
            let header_end = batch_at(piece);
            for place in header_end..used {
                let mut bad = disk.clone();
                bad.file(piece.segment)[piece.offset as usize + place] ^= 0x10;
                let corrupt = recover(Some(ORIGIN), &bad.files).expect_err("damage must be refused");
                let expected = (piece.segment, piece.offset + header_end as u64);
                assert_eq!((corrupt.segment, corrupt.offset), expected, "{corrupt}");
            }
        }
    }

    #[test]
    fn a_damaged_segment_header_is_refused_when_batches_count_on_it() {
        let (disk, _, pieces) = log(20, 60);
        let last = disk.files.len() as u64;
        assert!(pieces.iter().filter(|piece| piece.segment == last).count() > 1);
        for segment in 1..=last {
            for place in 0..80 {
                let mut bad = disk.clone();
                bad.file(segment)[place] ^= 0x04;
                let corrupt = recover(Some(ORIGIN), &bad.files).expect_err("damage must be refused");
                assert_eq!((corrupt.segment, corrupt.offset), (segment, 0), "{corrupt}");
            }
        }
    }

    #[test]
    fn a_wiped_batch_before_a_synced_one_is_refused() {
        let (disk, _, pieces) = log(6, 60);
        let mut bad = disk.clone();
        let (from, length) = (pieces[3].offset as usize, pieces[3].bytes.len());
        bad.file(pieces[3].segment)[from..from + length].fill(0);
        let corrupt = recover(Some(ORIGIN), &bad.files).expect_err("a hole must be refused");
        assert_eq!((corrupt.segment, corrupt.offset), (pieces[3].segment, pieces[3].offset));
    }

    #[test]
    fn a_missing_or_shortened_file_is_refused() {
        let (disk, _, _) = log(30, 60);
        let middle = disk.files.len() as u64 / 2;
        let mut missing = disk.clone();
        missing.files.retain(|(number, _)| *number != middle);
        let corrupt = recover(Some(ORIGIN), &missing.files).expect_err("a hole must be refused");
        assert_eq!((corrupt.segment, corrupt.offset), (middle, 0));

        for number in 1..=disk.files.len() as u64 {
            let mut short = disk.clone();
            short.file(number).truncate(600);
            let corrupt = recover(Some(ORIGIN), &short.files).expect_err("a short file must be refused");
            assert_eq!((corrupt.segment, corrupt.offset), (number, 600));
        }
    }

    #[test]
    fn another_cluster_or_node_is_refused() {
        let (disk, _, _) = log(3, 60);
        for origin in [Origin { cluster: 1, ..ORIGIN }, Origin { node: 8, ..ORIGIN }] {
            let corrupt = recover(Some(origin), &disk.files).expect_err("it is not ours");
            assert_eq!((corrupt.segment, corrupt.offset), (1, 0));
            assert!(corrupt.to_string().contains("another cluster or node"), "{corrupt}");
        }
        assert_eq!(recover(None, &disk.files).unwrap().origin, ORIGIN);
        assert!(recover(None, &[]).is_err());
    }

    #[test]
    fn no_file_and_spare_files_are_a_fresh_log() {
        let back = recover(Some(ORIGIN), &[]).unwrap();
        assert_eq!((back.entries.len(), back.hard, back.cut), (0, None, None));
        let spare = recover(Some(ORIGIN), &[(1, vec![0; 1024]), (2, vec![])]).unwrap();
        assert_eq!((spare.entries.len(), spare.cut), (0, None));
    }

    /// Two batches were under way when the node stopped; only the second reached the disk. After the cut, nothing of it may
    /// come back, whatever is written in its place.
    #[test]
    fn what_was_cut_never_comes_back() {
        let (mut disk, mut writer, _) = log(5, 60);
        let lost = writer.batch(&[write(6, 7, 4, 60)]).remove(0);
        let leftover = writer.batch(&[write(7, 8, 4, 60)]).remove(0);
        disk.put(&leftover);
        let mut back = disk.recover();
        assert_eq!(back.entries.len(), 5);
        assert!(back.cut.is_some());
        // The new batch ends exactly where the leftover begins, but without its overwriting zeros (a torn write).
        let mut again = back.writer.batch(&[write(1, 7, 4, 60)]).remove(0);
        assert_eq!(again.offset, lost.offset);
        assert!(
            again.bytes.len() + 8 > lost.bytes.len() + leftover.bytes.len(),
            "the leftover is overwritten with zeros (its padding is zeros already)"
        );
        again.bytes.truncate(lost.bytes.len());
        disk.put(&again);
        let last = disk.recover();
        assert_eq!(last.entries.len(), 6, "the leftover is of an older generation");
        assert_eq!(last.entries[5], entry(7, 4, 60));
    }

    /// After a failed sync the segment is left alone, and a fresh one goes on from the last synced end.
    #[test]
    fn a_segment_given_up_is_passed_over() {
        for reached_the_disk in [true, false] {
            for rolled_over in [true, false] {
                let (mut disk, mut writer, _) = log(5, 60);
                let failed = vec![write(6, 7, 4, if rolled_over { 900 } else { 60 })];
                let piece = writer.batch(&failed).remove(0);
                assert_eq!(piece.create.is_some(), rolled_over);
                if reached_the_disk || rolled_over {
                    disk.put(&Piece {
                        bytes: piece.bytes[..if reached_the_disk { piece.bytes.len() } else { 3 }].to_vec(),
                        ..piece
                    });
                }
                writer.renew();
                let fresh = writer.batch(&failed).remove(0);
                assert!(fresh.create.is_some());
                disk.put(&fresh);
                writer.synced();
                disk.put(&writer.batch(&[write(7, 8, 4, 60)])[0]);
                let back = disk.recover();
                assert_eq!(back.entries.len(), 7);
            }
        }
    }

    /// The same process reads again after a failed sync: what it had not synced is left out, however good it looks.
    #[test]
    fn what_a_process_had_not_synced_is_left_out_when_it_reads_again() {
        for rolled_over in [true, false] {
            let (mut disk, mut writer, _) = log(5, 60);
            let end = writer.durable_end();
            let failed = writer.batch(&[write(6, 7, 4, if rolled_over { 900 } else { 60 })]).remove(0);
            assert_eq!(failed.create.is_some(), rolled_over);
            disk.put(&failed);
            assert_eq!(disk.recover().entries.len(), 6, "the cache shows it");
            for round in 0..3 {
                let mut back =
                    recover_until(Some(ORIGIN), &founded(), &disk.files, end).expect("the log is whole");
                assert_eq!(back.entries.len(), 5, "round {round}");
                back.writer.set_segment_bytes(SEGMENT);
                let fresh = back.writer.batch(&[write(1, 7, 5 + round, 60)]).remove(0);
                assert!(fresh.create.is_some(), "the segment that failed is never used again");
                assert!(round > 0 || rolled_over || fresh.segment > failed.segment);
                disk.put(&fresh);
            }
            let after = disk.recover();
            assert_eq!(after.entries.len(), 6);
            assert_eq!(after.entries[5], entry(7, 7, 60), "the newest start's");
        }
    }

    #[test]
    fn a_log_shorter_than_what_the_process_had_synced_is_refused() {
        let (mut disk, writer, pieces) = log(5, 60);
        let at = pieces[4].offset as usize;
        disk.file(pieces[4].segment)[at..].fill(0);
        assert_eq!(disk.recover().entries.len(), 4, "a start cannot know better");
        let corrupt = recover_until(Some(ORIGIN), &founded(), &disk.files, writer.durable_end());
        let corrupt = corrupt.expect_err("this process knows better");
        assert_eq!((corrupt.segment, corrupt.offset), (pieces[4].segment, pieces[4].offset), "{corrupt}");
    }

    #[test]
    fn a_log_that_contradicts_itself_is_refused() {
        let (mut disk, mut writer, _) = log(3, 60);
        let hard = Some(HardState { term: 4, vote: None, commit: 99 });
        disk.put(&writer.batch(&[Write { number: 1, hard, ..Write::default() }])[0]);
        let corrupt = recover(Some(ORIGIN), &disk.files).expect_err("the end is missing");
        assert!(corrupt.to_string().contains("committed"), "{corrupt}");

        let (mut disk, mut writer, _) = log(3, 60);
        disk.put(&writer.batch(&[write(1, 9, 4, 10)])[0]);
        assert!(recover(Some(ORIGIN), &disk.files).is_err(), "a hole between entries");

        let (mut disk, mut writer, _) = log(5, 60);
        disk.put(&writer.batch(&[Write { number: 1, entries: vec![entry(3, 9, 1)], ..Write::default() }])[0]);
        assert!(recover(Some(ORIGIN), &disk.files).is_err(), "a committed entry replaced");
    }

    #[test]
    fn recovering_again_and_again_changes_nothing() {
        let (mut disk, _, _) = log(4, 60);
        for round in 0..5_u64 {
            let mut back = disk.recover();
            assert_eq!(back.entries.len() as u64, 4 + round);
            back.writer.set_segment_bytes(SEGMENT);
            for piece in back.writer.batch(&[write(1, 6 + round, 4, 200)]) {
                disk.put(&piece);
            }
        }
    }
}
