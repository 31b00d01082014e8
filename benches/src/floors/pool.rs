//! Two million numbers squared by two forked children, in batches made by hand over `UnixStream`s, two on the way to each child.

use std::io::{Read, Write};
use std::time::Instant;

use super::{Far, picoseconds};

pub(crate) const TASKS: usize = 2_000_000;
pub(crate) const WORKERS: usize = 2;
const BATCH: usize = 8000;
const BATCHES: usize = TASKS / BATCH;

pub(super) fn measure() -> u64 {
    let (mut streams, fars): (Vec<_>, Vec<_>) = (0..WORKERS)
        .map(|_| {
            Far::start(|mut stream| {
                let mut bytes = vec![0; BATCH * 8];
                while stream.read_exact(&mut bytes).is_ok() {
                    for number in bytes.as_chunks_mut::<8>().0 {
                        let x = i64::from_le_bytes(*number);
                        *number = x.wrapping_mul(x).to_le_bytes();
                    }
                    if stream.write_all(&bytes).is_err() {
                        break;
                    }
                }
            })
        })
        .unzip();
    let mut bytes = vec![0; BATCH * 8];
    let mut results: Vec<i64> = Vec::with_capacity(TASKS);
    let mut next = 0_i64;
    let begin = Instant::now();
    for batch in 0..BATCHES + 2 * WORKERS {
        let stream = &mut streams[batch % WORKERS];
        if batch >= 2 * WORKERS {
            stream.read_exact(&mut bytes).expect("a batch back");
            results.extend(bytes.as_chunks::<8>().0.iter().map(|number| i64::from_le_bytes(*number)));
        }
        if batch < BATCHES {
            for number in bytes.as_chunks_mut::<8>().0 {
                *number = next.to_le_bytes();
                next += 1;
            }
            stream.write_all(&bytes).expect("a batch there");
        }
    }
    let total = begin.elapsed();
    assert_eq!((results.len(), results.last().copied()), (TASKS, Some((TASKS as i64 - 1).pow(2))));
    drop(streams);
    fars.into_iter().for_each(Far::end);
    picoseconds(total, 1)
}
