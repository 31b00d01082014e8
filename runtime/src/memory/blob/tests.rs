use super::*;
use crate::memory::slice::SharedSlice;
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, pread, pwrite};
use std::io::Write;

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed).collect()
}

/// The blob as another process gets it.
fn sent(blob: &Blob) -> Blob {
    match blob.descriptor() {
        Some(descriptor) => Blob::received(descriptor.try_clone_to_owned().unwrap(), blob.len() as u64).unwrap(),
        None => Blob::default(),
    }
}

fn segment(length: usize) -> Segment {
    Segment::create(length).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_size_reads_as_it_was_written(length in prop_oneof![0usize..20, 4000usize..5000, 0usize..3_000_000], seed: u8) {
        let bytes = bytes(length, seed);
        let blob = Blob::new(&bytes).unwrap();
        let received = sent(&blob);
        prop_assert_eq!((blob.len(), blob.is_empty()), (length, length == 0));
        prop_assert!(*blob == *bytes && *received == *bytes && sent(&received) == blob);
        drop(blob);
        prop_assert!(*received == *bytes);
    }

    #[test]
    fn every_way_of_writing_gives_the_same(parts in proptest::collection::vec(0usize..300_000, 0..8), hint in 0usize..2_000_000, seed: u8) {
        let bytes = bytes(parts.iter().sum(), seed);
        let mut writer = BlobWriter::with_capacity(hint);
        let mut rest = &bytes[..];
        for (index, part) in parts.iter().enumerate() {
            let (now, later) = rest.split_at(*part);
            rest = later;
            if index % 2 == 0 {
                writer.write_all(now).unwrap();
            } else {
                prop_assert_eq!(writer.read_from(now).unwrap(), *part as u64);
            }
        }
        prop_assert_eq!(writer.len(), bytes.len());
        prop_assert!(*writer.finish().unwrap() == *bytes);
        prop_assert!(*Blob::from_reader(&bytes[..]).unwrap() == *bytes);
    }
}

#[test]
fn numbers_are_read_in_place() {
    let numbers: Vec<f64> = (0..1000).map(f64::from).collect();
    let shared = SharedSlice::new(&numbers).unwrap();
    assert_eq!(*shared, *numbers);
    assert_eq!(SharedSlice::from_fn(1000, |index| index as f64).unwrap(), shared);
    assert_eq!(shared.as_blob().len(), 8000);
    assert_eq!(&*SharedSlice::<u16>::default(), &[] as &[u16]);
    let three = Blob::new(&[1, 2, 3]).unwrap();
    let error = SharedSlice::<u16>::try_from(three.clone()).unwrap_err();
    assert_eq!(error.to_string(), "3 bytes are no whole number of `u16`");
    assert_eq!(*SharedSlice::<u8>::try_from(three).unwrap(), [1, 2, 3]);
}

#[test]
fn a_reader_that_fails_is_an_error_with_its_cause() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no more today"))
        }
    }
    let mut writer = BlobWriter::new();
    writer.write_all(b"before").unwrap();
    assert!(matches!(writer.read_from(Fails), Err(BlobError::Read(_))));
    assert_eq!(*writer.finish().unwrap(), *b"before");
    let error = Blob::from_reader(Fails).unwrap_err();
    assert_eq!(error.to_string(), "the contents of a blob cannot be read: no more today");
}

#[test]
fn nobody_else_can_write_or_cut_it() {
    let blob = Blob::new(&[7; 10_000]).unwrap();
    let file = blob.descriptor().unwrap();
    assert_eq!(pwrite(file, b"x", 0), Err(Errno::BADF));
    assert!(Mapping::writable(file, 10_000).is_err());
    // One who opens it anew, for writing.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let writable: OwnedFd = std::fs::File::options().read(true).write(true).open(path).unwrap().into();
    assert_eq!(pwrite(&writable, b"x", 0), Err(Errno::PERM));
    assert_eq!(ftruncate(&writable, 0), Err(Errno::PERM));
    assert!(Mapping::writable(writable.as_fd(), 10_000).is_err());
    assert_eq!(fcntl_add_seals(&writable, SealFlags::WRITE), Err(Errno::PERM));
}

#[test]
fn nothing_of_an_older_blob_is_behind_a_newer_one() {
    let mut segment = segment(64 * 1024);
    drop(segment.lend(0).unwrap());
    assert!(segment.is_free());
    for (seed, length) in [(1, 60_000), (2, 100), (3, 50_000), (4, 5000), (5, 64 * 1024)] {
        segment.reuse(length);
        segment.fill(0, &bytes(length, seed)).unwrap();
        let file = segment.lend(length).unwrap();
        let mut read = vec![9; 64 * 1024];
        assert_eq!(pread(&file, &mut read[..], 0), Ok(64 * 1024));
        assert!(read[..length] == bytes(length, seed) && read[length..].iter().all(|byte| *byte == 0), "{length}");
    }
}

#[test]
fn what_is_no_blob_is_an_error() {
    let memory = |seals: SealFlags| {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, 4096).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    };
    let good = SealFlags::SHRINK | SealFlags::FUTURE_WRITE;
    assert!(Blob::received(memory(good), 4096).is_ok());
    assert!(Blob::received(memory(SealFlags::SHRINK | SealFlags::WRITE), 1).is_ok());
    for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::FUTURE_WRITE, SealFlags::GROW | SealFlags::WRITE] {
        let error = Blob::received(memory(seals), 4096).unwrap_err();
        assert_eq!(error, "the blob's memory is not sealed");
    }
    for length in [4097, 0, u64::MAX, 1 << 62] {
        let error = Blob::received(memory(good), length).unwrap_err();
        assert!(error.contains("of that length") || error.ends_with("bytes, and its memory has 4096"), "{error}");
    }
    let error = Blob::received(std::io::pipe().unwrap().0.into(), 1).unwrap_err();
    assert!(error.starts_with("the blob's memory cannot be used"), "{error}");
    for path in ["/dev/null", "/proc/self/exe", "/"] {
        assert!(Blob::received(std::fs::File::open(path).unwrap().into(), 1).is_err(), "{path}");
    }
}

#[test]
fn many_threads_make_and_drop_them() {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<(Blob, usize, u8)>(8);
    let checker = std::thread::spawn(move || {
        // Some are held for a while.
        let mut held = std::collections::VecDeque::new();
        for (blob, length, seed) in receiver {
            held.push_back((blob, length, seed));
            if held.len() > 5 {
                let (blob, length, seed) = held.pop_front().unwrap();
                assert!(*blob == *bytes(length, seed));
            }
        }
    });
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let sender = sender.clone();
            scope.spawn(move || {
                for round in 0..200u8 {
                    let (length, seed) = (1 + usize::from(round % 7) * 3000, thread ^ round);
                    let blob = Blob::new(&bytes(length, seed)).unwrap();
                    sender.send((sent(&blob), length, seed)).unwrap();
                    assert!(*blob == *bytes(length, seed));
                }
            });
        }
    });
    drop(sender);
    checker.join().unwrap();
}
