//! 64 MiB, read from a `UnixStream` into a fresh `Vec`.

use std::io::{Read, Write};
use std::time::Instant;

use super::{Far, picoseconds};

pub(crate) const BYTES: usize = 64 << 20;

pub(super) fn measure() -> u64 {
    let (mut near, far) = Far::start(|mut stream| {
        let bytes = vec![7; BYTES];
        // Ready; and from now on asked for.
        if stream.write_all(&[1]).is_ok() && stream.read_exact(&mut [0]).is_ok() {
            let _ = stream.write_all(&bytes);
        }
    });
    near.read_exact(&mut [0]).expect("the far side is ready");
    let begin = Instant::now();
    near.write_all(&[1]).expect("the request");
    let mut bytes = Vec::with_capacity(BYTES);
    let read = (&mut near).take(BYTES as u64).read_to_end(&mut bytes).expect("the bytes");
    let total = begin.elapsed();
    assert_eq!(read, BYTES);
    drop(near);
    far.end();
    picoseconds(total, 1)
}
