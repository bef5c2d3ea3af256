use proptest::prelude::*;

use super::*;

const NONCE: u32 = 0x1234_5678;

fn file(payloads: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        assert!(append(&mut bytes, NONCE, kind::RECORD, payload));
    }
    bytes
}

fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Damage) {
    let mut frames = Frames::new(bytes, NONCE);
    let mut payloads = Vec::new();
    while let Some((kind, payload)) = frames.next().unwrap() {
        assert_eq!(kind, kind::RECORD);
        payloads.push(payload);
    }
    (payloads, frames.damage)
}

#[test]
fn prologues() {
    let good: [u8; PROLOGUE] = prologue(NONCE).try_into().unwrap();
    assert_eq!(read_prologue(&good), Ok(NONCE));
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good;
        bytes[at..at + value.len()].copy_from_slice(value);
        let sum = checksum(0, &bytes[..20]);
        bytes[20..].copy_from_slice(&sum.to_le_bytes());
        read_prologue(&bytes)
    };
    assert_eq!(with(0, b"X"), Err(PrologueError::NotARecording));
    assert_eq!(with(8, &7u16.to_le_bytes()), Err(PrologueError::Format(7)));
    assert_eq!(with(10, &9u16.to_le_bytes()), Err(PrologueError::Contract(9)));
    assert_eq!(with(12, &BYTE_ORDER.swap_bytes().to_ne_bytes()), Err(PrologueError::ByteOrder));
    let mut flipped = good;
    flipped[17] ^= 1;
    assert_eq!(read_prologue(&flipped), Err(PrologueError::NotARecording));
}

#[test]
fn damage_costs_what_is_damaged() {
    let bytes = file(&[b"one", b"two", b"three"]);
    let second = 20 + 3;
    let mut payload_damaged = bytes.clone();
    payload_damaged[second + 17] ^= 1;
    let (payloads, damage) = read(&payload_damaged);
    assert_eq!(payloads, [b"one".to_vec(), b"three".to_vec()]);
    assert_eq!(damage, Damage { places: 1, bytes: 23, torn_bytes: 0 });
    for at in second..second + 16 {
        let mut header_damaged = bytes.clone();
        header_damaged[at] ^= 0x40;
        let (payloads, damage) = read(&header_damaged);
        assert_eq!(payloads, [b"one".to_vec(), b"three".to_vec()], "byte {at}");
        assert_eq!(damage, Damage { places: 1, bytes: 23, torn_bytes: 0 }, "byte {at}");
    }
}

#[test]
fn a_frame_in_a_payload_is_not_found_there() {
    let mut forged = Vec::new();
    append(&mut forged, 0, kind::RECORD, b"forged");
    let bytes = file(&[&forged, b"last"]);
    let mut damaged = bytes.clone();
    damaged[8] ^= 1;
    assert_eq!(read(&damaged).0, [b"last".to_vec()]);
}

#[test]
fn payloads_have_a_limit() {
    let mut out = Vec::new();
    assert!(!append(&mut out, NONCE, kind::RECORD, &vec![0; MAX_PAYLOAD + 1]));
    assert!(out.is_empty());
    assert!(append(&mut out, NONCE, kind::RECORD, &vec![7; MAX_PAYLOAD]));
    assert_eq!(read(&out).0, [vec![7; MAX_PAYLOAD]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_anywhere_all_before_is_there(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        keep in any::<prop::sample::Index>(),
    ) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut bytes = file(&slices);
        bytes.truncate(keep.index(bytes.len() + 1));
        let mut end = 0;
        let whole = payloads.iter().take_while(|payload| { end += payload.len() + 20; end <= bytes.len() }).count();
        let (found, damage) = read(&bytes);
        prop_assert_eq!(&found[..], &payloads[..whole]);
        let used: usize = payloads[..whole].iter().map(|payload| payload.len() + 20).sum();
        prop_assert_eq!(damage, Damage { places: 0, bytes: 0, torn_bytes: (bytes.len() - used) as u64 });
    }

    #[test]
    fn any_bytes_end_and_every_byte_is_accounted(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..4),
    ) {
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut file = file(&slices);
        file.extend(&bytes);
        let total = file.len() as u64;
        let mut reader = Frames::new(&file[..], NONCE);
        let mut sound = 0;
        while let Some((_, payload)) = reader.next().unwrap() {
            sound += payload.len() as u64 + 20;
        }
        prop_assert_eq!(total, sound + reader.damage.bytes + reader.damage.torn_bytes);
    }

    #[test]
    fn flipped_bits_lose_no_frame_that_they_do_not_touch(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..10),
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let slices: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut bytes = file(&slices);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut end = 0;
        let hit = payloads.iter().position(|payload| { end += payload.len() + 20; at < end }).unwrap();
        let mut expected = payloads.clone();
        expected.remove(hit);
        let (found, damage) = read(&bytes);
        prop_assert_eq!(found, expected);
        prop_assert!(damage.places + damage.torn_bytes > 0);
    }
}
