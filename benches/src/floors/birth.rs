//! A fork, in a process as small as the nursery, until the child's first byte is read back.

use std::io::{Read, Write};
use std::time::Instant;

use super::{Far, picoseconds};

const COUNT: usize = 20;

pub(super) fn measure() -> u64 {
    let mut total = std::time::Duration::ZERO;
    for _ in 0..COUNT {
        let begin = Instant::now();
        let (mut near, far) = Far::start(|mut near| {
            let _ = near.write_all(&[1]);
        });
        near.read_exact(&mut [0]).expect("the child's byte");
        total += begin.elapsed();
        far.end();
    }
    picoseconds(total, COUNT)
}
