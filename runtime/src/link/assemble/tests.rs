//! Random frames in random cuts, random bytes, and the descriptors that ride along.

use super::*;
use crate::link::frame::{FRAME_CAP, Kind};
use proptest::prelude::*;
use std::fs::File;

/// A frame to send.
#[derive(Debug, Clone)]
struct Sent {
    header: Header,
    trace: Option<[u8; TRACE_CONTEXT]>,
    body: Vec<u8>,
}

/// The trace context is sent and skipped, so what arrived has none.
impl PartialEq for Sent {
    fn eq(&self, other: &Sent) -> bool {
        self.header == other.header && self.body == other.body
    }
}

impl Sent {
    fn new(call: u64, body: Vec<u8>) -> Sent {
        Sent { header: Header { length: body.len() as u64, ..Header::new(Kind::Tell, call) }, trace: None, body }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.encode().to_vec();
        bytes.extend(self.trace.iter().flatten());
        bytes.extend(&self.body);
        bytes
    }
}

impl From<Frame<'_>> for Sent {
    fn from(frame: Frame<'_>) -> Sent {
        frame.intact().unwrap();
        Sent { header: frame.header, trace: None, body: frame.body.as_slice().to_vec() }
    }
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

/// Appends bytes as a reader does, in reads of at most `cut` bytes, taking frames between them.
fn read(assembler: &mut Assembler, mut bytes: &[u8], cut: usize, got: &mut Vec<Sent>) -> Result<(), FrameError> {
    while !bytes.is_empty() {
        let (space, room) = assembler.space();
        assert!(room > 0 && space.capacity() - space.len() >= room);
        let (now, later) = bytes.split_at(room.min(cut).min(bytes.len()));
        space.extend_from_slice(now);
        bytes = later;
        drain(assembler, got)?;
    }
    Ok(())
}

fn drain(assembler: &mut Assembler, got: &mut Vec<Sent>) -> Result<(), FrameError> {
    loop {
        let ready = assembler.has_frame();
        match assembler.next()? {
            Some(frame) => {
                assert!(ready || matches!(frame.body, Body::Owned(_)));
                got.push(frame.into());
            }
            None => {
                assert!(!ready);
                return Ok(());
            }
        }
    }
}

fn frames() -> impl Strategy<Value = Vec<Sent>> {
    let length = prop_oneof![6 => 0usize..200, 2 => 0usize..70_000, 1 => 65_400usize..65_600];
    let frame = (length, any::<u64>(), any::<Option<[u8; 16]>>(), proptest::option::of(0..u32::MAX), 0u16..3);
    let frame = frame.prop_map(|(length, call, trace, time_left, descriptors)| {
        let mut sent = Sent::new(call, (0..length).map(|byte| byte as u8 ^ call as u8).collect());
        sent.header.descriptors = descriptors;
        sent.header.time_left = time_left;
        sent.trace = trace.map(|half| std::array::from_fn(|byte| half[byte % 16]));
        if trace.is_some() {
            sent.header.flags = Flags::TRACE;
        }
        sent
    });
    proptest::collection::vec(frame, 0..12)
}

proptest! {
    #[test]
    fn cuts_make_no_difference(frames in frames(), cuts in proptest::collection::vec(1usize..9000, 1..8)) {
        let mut assembler = Assembler::new(FRAME_CAP);
        let mut got = Vec::new();
        let mut cuts = cuts.iter().cycle();
        let mut plain = Vec::new();
        for frame in &frames {
            // A frame with descriptors begins its own message; frames without may share one.
            if frame.header.descriptors > 0 {
                read(&mut assembler, &std::mem::take(&mut plain), *cuts.next().unwrap(), &mut got).unwrap();
                for _ in 0..frame.header.descriptors {
                    assembler.attach(null());
                }
            }
            plain.extend(frame.bytes());
        }
        read(&mut assembler, &plain, *cuts.next().unwrap(), &mut got).unwrap();
        prop_assert_eq!(got, frames);
        prop_assert!(assembler.is_empty());
        prop_assert_eq!(assembler.end(), Ok(()));
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        headers in proptest::collection::vec((any::<u64>(), 0u32..64, 0u8..41, 0u8..4), 0..4),
        cut in 1usize..4000,
        cap in prop_oneof![Just(FRAME_CAP), Just(u64::MAX), 0u64..1000],
    ) {
        // Mostly sensible headers with lengths of every size, so that the lengths are looked at.
        let mut stream = Vec::new();
        for (length, shift, kind, flags) in headers {
            let header = Header::new(Kind::try_from(kind).unwrap_or(Kind::Tell), length);
            let flags = Flags::from_bits(flags).unwrap();
            stream.extend(Header { length: length >> shift, flags, ..header }.encode());
            stream.extend(&bytes[..bytes.len().min(kind.into())]);
        }
        stream.extend(bytes);
        let mut assembler = Assembler::new(cap);
        let result = read(&mut assembler, &stream, cut, &mut Vec::new());
        let held = assembler.window.capacity() + assembler.large.as_ref().map_or(0, |large| large.body.capacity());
        prop_assert!(held <= WINDOW + FIRST_BODY + 2 * stream.len());
        if let Err(error) = result {
            prop_assert_eq!(assembler.next().unwrap_err(), error.clone());
            prop_assert_eq!(assembler.end(), Err(error));
        }
    }
}

#[test]
fn small_frames_are_lent_and_large_ones_handed_over() {
    let mut assembler = Assembler::new(FRAME_CAP);
    for (length, large) in [(0, false), (100, false), (WINDOW - HEADER, false), (WINDOW - HEADER + 1, true)] {
        let sent = Sent::new(1, vec![7; length]);
        let bytes = sent.bytes();
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            assert!(assembler.next().unwrap().is_none());
            let (space, room) = assembler.space();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            space.extend_from_slice(now);
            bytes = later;
        }
        let frame = assembler.next().unwrap().unwrap();
        assert_eq!(matches!(frame.body, Body::Owned(_)), large, "{length}");
        assert_eq!(Sent::from(frame), sent);
        assert!(assembler.window.capacity() <= WINDOW);
    }
}

#[test]
fn an_idle_link_has_a_small_window_and_a_busy_one_grows() {
    let mut assembler = Assembler::new(FRAME_CAP);
    let frame = Sent::new(0, vec![0; 76]).bytes();
    for _ in 0..1000 {
        read(&mut assembler, &frame, 100, &mut Vec::new()).unwrap();
    }
    assert_eq!(assembler.window.capacity(), FIRST_WINDOW);
    read(&mut assembler, &frame.repeat(5000), usize::MAX, &mut Vec::new()).unwrap();
    assert_eq!(assembler.window.capacity(), WINDOW);
}

#[test]
fn memory_follows_what_arrives() {
    let mut assembler = Assembler::new(u64::MAX);
    let header = Header { length: u64::MAX, flags: Flags::TRACE, ..Header::new(Kind::Tell, 0) };
    read(&mut assembler, &header.encode(), 5, &mut Vec::new()).unwrap();
    assert!(assembler.large.is_none() && !assembler.is_empty());
    read(&mut assembler, &[0; TRACE_CONTEXT], 5, &mut Vec::new()).unwrap();
    assert_eq!(assembler.large.as_ref().unwrap().body.capacity(), FIRST_BODY);
    let chunk = vec![0; 3 * FIRST_BODY];
    read(&mut assembler, &chunk, usize::MAX, &mut Vec::new()).unwrap();
    assert_eq!(assembler.large.as_ref().unwrap().body.capacity(), 4 * FIRST_BODY);
    assert_eq!(assembler.end(), Err(FrameError::Truncated));
}

#[test]
fn a_large_body_is_never_given_more_than_its_length() {
    let length = 3 * FIRST_BODY + 12_345;
    let sent = Sent::new(9, vec![3; length]);
    let mut assembler = Assembler::new(FRAME_CAP);
    let mut stream = sent.bytes();
    stream.extend(Sent::new(10, vec![1]).bytes());
    let mut got = Vec::new();
    read(&mut assembler, &stream, usize::MAX, &mut got).unwrap();
    assert_eq!(got, [sent.clone(), Sent::new(10, vec![1])]);

    let header = sent.header.encode();
    read(&mut assembler, &header, usize::MAX, &mut Vec::new()).unwrap();
    let mut left = length;
    while left > 0 {
        let (space, room) = assembler.space();
        assert!(room <= left && space.capacity() <= length);
        space.resize(space.len() + room, 0);
        left -= room;
    }
    assert!(assembler.has_frame());
    assert_eq!(assembler.next().unwrap().unwrap().body.as_slice().len(), length);
}

#[test]
fn a_reader_that_appends_too_much_loses_nothing() {
    let mut assembler = Assembler::new(FRAME_CAP);
    let (large, small) = (Sent::new(1, vec![1; WINDOW]), Sent::new(2, vec![2; 9]));
    read(&mut assembler, &large.header.encode(), usize::MAX, &mut Vec::new()).unwrap();
    assembler.space().0.extend(large.body.iter().chain(&small.bytes()));
    let mut got = Vec::new();
    drain(&mut assembler, &mut got).unwrap();
    assert_eq!(got, [large, small]);
}

#[test]
fn the_end_inside_a_frame_is_an_error() {
    let bytes = Sent::new(1, vec![1; 10]).bytes();
    for cut in 0..bytes.len() {
        let mut assembler = Assembler::new(FRAME_CAP);
        read(&mut assembler, &bytes[..cut], usize::MAX, &mut Vec::new()).unwrap();
        assert_eq!(assembler.end(), if cut == 0 { Ok(()) } else { Err(FrameError::Truncated) });
        assert_eq!(assembler.is_empty(), cut == 0);
    }
}

#[test]
fn an_error_stays() {
    let mut assembler = Assembler::new(10);
    let mut got = Vec::new();
    let stream = [Sent::new(1, vec![1]).bytes(), Sent::new(2, vec![0; 11]).bytes()].concat();
    let error = FrameError::TooLong { claimed: 11, cap: 10 };
    assert_eq!(read(&mut assembler, &stream, 30, &mut got), Err(error.clone()));
    assert_eq!(got, [Sent::new(1, vec![1])]);
    assembler.attach(null());
    assert_eq!(read(&mut assembler, &got[0].bytes(), 30, &mut Vec::new()), Err(error.clone()));
    assert_eq!(assembler.end(), Err(error));
    assert!(!assembler.has_frame());
}

#[test]
fn descriptors_must_be_as_claimed() {
    let mut sent = Sent::new(1, Vec::new());
    sent.header.descriptors = 2;

    let mut assembler = Assembler::new(FRAME_CAP);
    assembler.attach(null());
    let result = read(&mut assembler, &sent.bytes(), usize::MAX, &mut Vec::new());
    assert_eq!(result, Err(FrameError::MissingDescriptors { claimed: 2, arrived: 1 }));

    let mut assembler = Assembler::new(FRAME_CAP);
    for _ in 0..3 {
        assembler.attach(null());
    }
    let mut got = Vec::new();
    let result = read(&mut assembler, &sent.bytes(), usize::MAX, &mut got);
    assert_eq!((result, got.len()), (Err(FrameError::SpareDescriptors), 1));
}

#[test]
fn waiting_descriptors_are_bounded() {
    let mut assembler = Assembler::new(FRAME_CAP);
    assembler.space().0.push(0);
    assert!(assembler.next().unwrap().is_none());
    let null = null();
    for _ in 0..=MAX_WAITING {
        assembler.attach(null.try_clone().unwrap());
    }
    assert_eq!(assembler.next().unwrap_err(), FrameError::SpareDescriptors);
    assert!(assembler.waiting.is_empty());
}

#[test]
fn running_out_of_descriptors_costs_one_frame() {
    let mut sent = Sent::new(1, Vec::new());
    sent.header.descriptors = 3;
    let mut assembler = Assembler::new(FRAME_CAP);
    assembler.attach(null());
    assembler.truncated();
    assembler.space().0.extend(sent.bytes());
    let frame = assembler.next().unwrap().unwrap();
    assert_eq!((frame.descriptors.len(), frame.intact()), (1, Err(FrameError::TruncatedDescriptors)));
    for _ in 0..3 {
        assembler.attach(null());
    }
    let mut got = Vec::new();
    read(&mut assembler, &sent.bytes(), usize::MAX, &mut got).unwrap();
    assert_eq!(got.len(), 1);
}
