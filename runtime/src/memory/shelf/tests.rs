use super::*;
use crate::memory::mapping::Mapping;
use proptest::prelude::*;
use rustix::fs::fstat;
use std::os::fd::{AsFd, OwnedFd};

const PAGE: usize = 4096;

/// A shelf of its own: the process's is every test's.
fn shelf() -> Shelf {
    Shelf::new()
}

/// A new segment on the shelf, lent for `length` bytes, and what its readers have: the maker's part and a descriptor.
fn lent(shelf: &mut Shelf, length: usize) -> (Arc<Segment>, OwnedFd) {
    let mut segment = Segment::create(capacity(length)).unwrap();
    segment.fill(0, &vec![1; length]).unwrap();
    let descriptor = segment.lend(length).unwrap();
    let segment = Arc::new(segment);
    assert!(shelf.keep(segment.clone()).is_empty());
    (segment, descriptor)
}

fn inode(descriptor: &OwnedFd) -> u64 {
    fstat(descriptor).unwrap().st_ino
}

/// What is found for so many bytes: the inode that it lends then.
fn found(shelf: &mut Shelf, length: usize) -> Option<u64> {
    shelf.take(capacity(length)).0.map(|mut segment| inode(&segment.lend(length).unwrap()))
}

#[test]
fn a_segment_is_used_again_when_the_last_reader_has_let_go() {
    let mut shelf = shelf();
    let (made, descriptor) = lent(&mut shelf, PAGE);
    let first = inode(&descriptor);
    let copy = descriptor.try_clone().unwrap();
    assert_eq!(found(&mut shelf, PAGE), None, "its maker has it");
    drop(made);
    assert_eq!(found(&mut shelf, PAGE), None, "there are two descriptors");
    drop(descriptor);
    assert_eq!(found(&mut shelf, PAGE), None, "there is one descriptor");
    let mapping = Mapping::readable(copy.as_fd(), PAGE).unwrap();
    drop(copy);
    assert_eq!(found(&mut shelf, PAGE), None, "there is a mapping");
    drop(mapping);
    assert_eq!(found(&mut shelf, PAGE), Some(first));
    assert_eq!(found(&mut shelf, PAGE), None, "it was taken");
}

#[test]
fn one_that_is_kept_anew_is_found_anew() {
    let mut shelf = shelf();
    let first = inode(&lent(&mut shelf, PAGE).1);
    for _ in 0..10 {
        let (taken, _) = shelf.take(PAGE);
        let mut segment = taken.unwrap();
        assert_eq!(inode(&segment.lend(PAGE).unwrap()), first);
        assert!(shelf.keep(Arc::new(segment)).is_empty());
    }
}

#[test]
fn only_one_of_about_the_size_is_taken() {
    let mut shelf = shelf();
    drop(lent(&mut shelf, 10 * PAGE));
    assert_eq!(found(&mut shelf, 11 * PAGE), None, "it is too small");
    assert_eq!(found(&mut shelf, PAGE), None, "it is much too large");
    assert!(found(&mut shelf, 9 * PAGE).is_some());
}

#[test]
fn so_many_are_kept_and_no_more() {
    let mut shelf = shelf();
    let held: Vec<_> = (0..SEGMENTS).map(|_| lent(&mut shelf, PAGE)).collect();
    let one_more = Arc::new(Segment::create(PAGE).unwrap());
    assert_eq!(shelf.keep(one_more.clone()).len(), 1, "all are read: the new one is given up");
    assert_eq!(shelf.kept.len(), SEGMENTS);
    drop(held);
    assert_eq!(shelf.keep(one_more).len(), 1, "a free one makes room");
    assert_eq!(shelf.kept.len(), SEGMENTS);
    // So large a segment leaves room for none beside it. It takes no memory: nothing is written.
    let large = Arc::new(Segment::create(BYTES).unwrap());
    assert_eq!(shelf.keep(large).len(), SEGMENTS);
    let larger = Arc::new(Segment::create(BYTES + PAGE).unwrap());
    assert_eq!(shelf.keep(larger).len(), 2, "neither the one nor the other");
}

#[test]
fn one_that_nobody_wants_is_given_up() {
    let mut shelf = shelf();
    let (made, descriptor) = lent(&mut shelf, PAGE);
    for _ in 0..PATIENCE {
        assert_eq!(found(&mut shelf, 100 * PAGE), None);
        assert_eq!(shelf.kept.len(), 1);
    }
    let (_, given_up) = shelf.take(100 * PAGE);
    assert_eq!((given_up.len(), shelf.kept.len()), (1, 0));
    drop(given_up);
    // Who still reads it keeps it.
    assert_eq!(made.filled(PAGE), [1; PAGE]);
    let _mapped = Mapping::readable(descriptor.as_fd(), PAGE).unwrap();
}

#[test]
fn a_forked_child_leaves_its_parents_segments_alone() {
    let mut shelf = shelf();
    assert!(shelf.own(1).is_empty());
    drop(lent(&mut shelf, PAGE));
    assert!(shelf.own(1).is_empty());
    assert_eq!(shelf.own(2).len(), 1);
    assert_eq!(found(&mut shelf, PAGE), None);
}

proptest! {
    #[test]
    fn a_segment_is_little_larger_than_its_blob(length in prop_oneof![0usize..100_000, 0usize..(1 << 40)]) {
        let capacity = capacity(length);
        prop_assert!(capacity >= length && capacity > 0 && capacity.is_multiple_of(PAGE));
        prop_assert!(capacity <= length + length / 8 + PAGE);
        prop_assert_eq!(super::capacity(capacity), capacity);
    }
}
