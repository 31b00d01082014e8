//! A pool of two made by hand: two forked children at the other ends of two `UnixStream`s, and nothing in between.
//!
//! * [`numbers`], [`particles`]: batches of plain records, two on the way to each child
//! * [`singles`]: every task a system call of its own on either side, each way
//! * [`echoed`]: a mebibyte there and the same back
//! * [`halves`]: each child does half of some work, and nothing is sent at all: what two busy cores need
//! * [`copied`]: bytes copied to memory that is there already

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Far, picoseconds};
use crate::pool::spin;
use crate::pool::work::{BLOB, Particle, TINY, WORKERS};

/// The tasks of a batch; of the sizes tried the quickest.
const BATCH: usize = 8000;
/// How many single tasks are on their way to each child.
const AHEAD: usize = 16;
const SINGLES: usize = 20_000;
const ECHOES: usize = 40;

/// The time of one number squared.
pub(super) fn numbers() -> u64 {
    batches(
        |task| (task as i64).to_le_bytes(),
        |record| {
            let x = i64::from_le_bytes(*record);
            *record = x.wrapping_mul(x).to_le_bytes();
        },
    )
}

/// The time of one particle moved.
pub(super) fn particles() -> u64 {
    batches(
        |task| Particle::new(task as u64).to_bytes(),
        |record| *record = crate::pool::work::moved(Particle::from_bytes(record)).to_bytes(),
    )
}

fn batches<const RECORD: usize>(make: impl Fn(usize) -> [u8; RECORD], work: impl Fn(&mut [u8; RECORD]) + Copy) -> u64 {
    let count = TINY / BATCH;
    let (mut streams, fars) = children(|mut stream| {
        let mut bytes = vec![0; BATCH * RECORD];
        while stream.read_exact(&mut bytes).is_ok() {
            bytes.as_chunks_mut().0.iter_mut().for_each(work);
            if stream.write_all(&bytes).is_err() {
                break;
            }
        }
    });
    let mut bytes = vec![0; BATCH * RECORD];
    let mut results: Vec<[u8; RECORD]> = Vec::with_capacity(TINY);
    let begin = Instant::now();
    for batch in 0..count + 2 * WORKERS {
        let stream = &mut streams[batch % WORKERS];
        if batch >= 2 * WORKERS {
            stream.read_exact(&mut bytes).expect("a batch back");
            results.extend(bytes.as_chunks().0);
        }
        if batch < count {
            for (place, record) in bytes.as_chunks_mut().0.iter_mut().enumerate() {
                *record = make(batch * BATCH + place);
            }
            stream.write_all(&bytes).expect("a batch there");
        }
    }
    let total = begin.elapsed();
    assert_eq!(results.len(), TINY);
    end(streams, fars);
    picoseconds(total, TINY)
}

/// The time of one task that travels alone.
pub(super) fn singles() -> u64 {
    let (mut streams, fars) = children(|mut stream| {
        let mut number = [0; 8];
        while stream.read_exact(&mut number).is_ok() {
            let x = i64::from_le_bytes(number);
            if stream.write_all(&x.wrapping_mul(x).to_le_bytes()).is_err() {
                break;
            }
        }
    });
    let mut number = [0; 8];
    let mut results = Vec::with_capacity(SINGLES);
    let begin = Instant::now();
    for task in 0..SINGLES + AHEAD * WORKERS {
        let stream = &mut streams[task % WORKERS];
        if task >= AHEAD * WORKERS {
            stream.read_exact(&mut number).expect("a result");
            results.push(i64::from_le_bytes(number));
        }
        if task < SINGLES {
            stream.write_all(&(task as i64).to_le_bytes()).expect("a task");
        }
    }
    let total = begin.elapsed();
    assert_eq!(results.last().copied(), Some((SINGLES as i64 - 1).pow(2)));
    end(streams, fars);
    picoseconds(total, SINGLES)
}

/// The time of one mebibyte there and back.
pub(super) fn echoed() -> u64 {
    const BYTES: usize = 1 << 20;
    let (mut streams, fars) = children(|mut stream| {
        let mut bytes = vec![0; BYTES];
        while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
    });
    let items: Vec<Vec<u8>> = (0..ECHOES).map(|item| vec![item as u8; BYTES]).collect();
    let mut results = Vec::with_capacity(ECHOES);
    let begin = Instant::now();
    for item in 0..ECHOES + WORKERS {
        let stream = &mut streams[item % WORKERS];
        if item >= WORKERS {
            let mut bytes = Vec::with_capacity(BYTES);
            stream.take(BYTES as u64).read_to_end(&mut bytes).expect("an item back");
            results.push(bytes);
        }
        if item < ECHOES {
            stream.write_all(&items[item]).expect("an item there");
        }
    }
    let total = begin.elapsed();
    assert!(results == items);
    end(streams, fars);
    picoseconds(total, ECHOES)
}

/// The time that two processes need for so much work, half of it each. It is split by what it costs, not by tasks.
pub(super) fn halves((tasks, length): (usize, spin::Length)) -> u64 {
    let each = spin::rounds_of_a_microsecond();
    let rounds: u64 = length.rounds(tasks, each).iter().sum();
    let (mut streams, fars) = children(|mut stream| {
        if stream.read_exact(&mut [0]).is_ok() {
            spin::spin(rounds / WORKERS as u64);
            let _ = stream.write_all(&[1]);
        }
    });
    let begin = Instant::now();
    streams.iter_mut().for_each(|stream| stream.write_all(&[1]).expect("the begin"));
    streams.iter_mut().for_each(|stream| stream.read_exact(&mut [0]).expect("the end"));
    let total = begin.elapsed();
    end(streams, fars);
    picoseconds(total, tasks)
}

/// The time of copying a blob's bytes.
pub(super) fn copied() -> u64 {
    const COPIES: u32 = 5;
    let (from, mut to) = (vec![7_u8; BLOB], vec![1_u8; BLOB]);
    let mut total = Duration::ZERO;
    for _ in 0..COPIES {
        let begin = Instant::now();
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        total += begin.elapsed();
    }
    picoseconds(total, COPIES as usize)
}

fn children(work: impl Fn(UnixStream) + Copy) -> (Vec<UnixStream>, Vec<Far>) {
    (0..WORKERS).map(|_| Far::start(work)).unzip()
}

fn end(streams: Vec<UnixStream>, fars: Vec<Far>) {
    drop(streams);
    fars.into_iter().for_each(Far::end);
}
