//! Messages of a lying peer.

use super::chance::Chance;
use consensus::{Entry, Message};

/// The message's fields in their order on the wire.
#[derive(serde::Serialize, serde::Deserialize)]
struct Fields {
    kind: u8,
    ends: [u64; 2],
    numbers: [u64; 5],
    reject: bool,
    hint: u64,
    context: bytes::Bytes,
    entries: Vec<Entry>,
    base: Option<Base>,
}

/// A base's fields in their order on the wire.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Base {
    numbers: [u64; 2],
    members: [Vec<u64>; 4],
    auto_leave: bool,
}

/// The same message with one or two fields changed to something near or absurd.
pub(crate) fn forge(bytes: &[u8], chance: &mut Chance) -> Message {
    let mut fields: Fields = postcard::from_bytes(bytes).unwrap();
    for _ in 0..=chance.below(2) {
        let number = match chance.below(4) {
            0 => chance.below(4),
            1 => u64::MAX - chance.below(3),
            _ => chance.below(60),
        };
        match chance.below(15) {
            0 => fields.kind = chance.below(12) as u8,
            1 => fields.ends[chance.below(2) as usize] = number,
            2..7 => fields.numbers[chance.below(5) as usize] = number,
            7 => fields.reject = !fields.reject,
            8 => fields.hint = number,
            9 => fields.context = vec![7; chance.below(100) as usize].into(),
            10 => fields.entries.clear(),
            11 => {
                let base = fields.base.get_or_insert_default();
                base.numbers[chance.below(2) as usize] = number;
                base.members[chance.below(4) as usize].push(chance.below(5));
                base.auto_leave = chance.percent(20);
            }
            12 => {
                // One that makes sense in itself.
                fields.kind = 11;
                fields.entries.clear();
                let members = [vec![1, 2, 3], vec![], vec![], vec![]];
                let numbers = [2 + chance.below(60), chance.below(4)];
                fields.base = Some(Base { numbers, members, auto_leave: false });
            }
            13 => fields.base = None,
            _ => {
                let data = vec![chance.below(256) as u8; chance.below(20) as usize].into();
                let kind =
                    if chance.percent(50) { consensus::Kind::Normal } else { consensus::Kind::Members };
                let index = fields.numbers[2].wrapping_add(1);
                fields.entries.push(Entry { term: number, index, kind, data });
            }
        }
    }
    postcard::from_bytes(&postcard::to_allocvec(&fields).unwrap()).unwrap()
}
