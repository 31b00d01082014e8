use super::*;

fn read(segment: &Segment, length: usize) -> Vec<u8> {
    segment.filled(length).to_vec()
}

#[test]
fn it_is_free_when_nobody_has_it_open() {
    let mut segment = Segment::create(8192).unwrap();
    assert!(segment.is_free());
    segment.fill(0, b"abc").unwrap();
    let lent = segment.lend(3).unwrap();
    assert!(!segment.is_free());
    // Opened anew by somebody who was given it, and then closed by everybody else.
    let again = reopen(&lent, OFlags::RDWR).unwrap();
    drop(lent);
    assert!(!segment.is_free());
    drop(again);
    assert!(segment.is_free() && segment.is_free());
}

#[test]
fn one_that_cannot_be_counted_is_used_once() {
    let mut segment = Segment::create(8192).unwrap();
    segment.counted = false;
    segment.fill(0, b"abc").unwrap();
    let lent = segment.lend(3).unwrap();
    assert_eq!(Mapping::readable(lent.as_fd(), 3).unwrap().length(), 3);
    drop(lent);
    assert!(!segment.is_free() && !segment.is_counted());
}

#[test]
fn who_opens_it_in_the_instant_of_the_question_ends_nobody() {
    let segment = Segment::create(4096).unwrap();
    assert!(lease(&segment.file, libc::F_WRLCK));
    // The kernel signals this process now.
    let opened = reopen(&segment.file, OFlags::RDONLY | OFlags::NONBLOCK);
    assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(lease(&segment.file, libc::F_UNLCK));
    reopen(&segment.file, OFlags::RDONLY).unwrap();
}

#[test]
fn it_is_filled_in_any_steps_and_never_beyond_its_end() {
    let mut segment = Segment::create(3 * STEP).unwrap();
    let parts = [vec![1; 10], vec![2; BY_CALL], vec![3; 10], vec![4; STEP + 7], vec![5; 1]];
    let mut at = 0;
    for part in &parts {
        segment.fill(at, part).unwrap();
        at += part.len();
    }
    segment.room(at, 100).unwrap()[..5].fill(6);
    assert!(read(&segment, at + 5) == [parts.concat(), vec![6; 5]].concat());
    drop(segment.lend(at).unwrap());
    // Sealed, the same works once more.
    segment.reuse(at);
    segment.fill(0, &vec![7; 3 * STEP]).unwrap();
    assert!(read(&segment, 3 * STEP) == vec![7; 3 * STEP]);
    for (at, length) in [(0, 3 * STEP + 1), (3 * STEP, 1), (usize::MAX, 1), (usize::MAX, 0)] {
        assert!(segment.fill(at, &vec![0; length]).is_err(), "{at}");
        assert!(segment.room(at, length).is_err(), "{at}");
    }
}

#[test]
fn steady_use_changes_no_byte() {
    const LARGE: usize = 5 << 20;
    let mut segment = Segment::create(LARGE).unwrap();
    for round in 0..2 * STEADY {
        let bytes: Vec<u8> = (0..LARGE as u32).map(|at| (at >> 8 ^ at ^ round) as u8).collect();
        segment.fill(0, &bytes).unwrap();
        let lent = segment.lend(LARGE).unwrap();
        let mut copy = vec![0; LARGE];
        assert_eq!(rustix::io::pread(&lent, &mut copy[..], 0), Ok(LARGE));
        assert!(copy == bytes, "round {round}");
        drop(lent);
        assert!(segment.is_free());
        segment.reuse(LARGE);
        assert!(read(&segment, LARGE) == bytes, "round {round}");
    }
}
