//! A blocking ping-pong over a `UnixStream` pair: one frame there, one back, each with a single system call on either side.

use std::io::{Read, Write};
use std::time::Instant;

use super::{Far, picoseconds};
use crate::place::{self, Sides};

/// As large as the frames of the case.
const FRAME: usize = 56;
const COUNT: usize = 2_000;

pub(super) fn measure(sides: Sides) -> u64 {
    let cores = place::cores();
    let (near_core, far_core) = sides.of(&cores);
    let (mut near, far) = Far::start(|mut stream| {
        place::pin(&[far_core]);
        let mut frame = [0; FRAME];
        while stream.read_exact(&mut frame).is_ok() && stream.write_all(&frame).is_ok() {}
    });
    place::pin(&[near_core]);
    let mut frame = [7; FRAME];
    let mut turn = || {
        near.write_all(&frame).expect("a frame there");
        near.read_exact(&mut frame).expect("a frame back");
    };
    (0..COUNT / 10).for_each(|_| turn());
    let begin = Instant::now();
    (0..COUNT).for_each(|_| turn());
    let total = begin.elapsed();
    place::pin(&cores);
    drop(near);
    far.end();
    picoseconds(total, COUNT)
}
