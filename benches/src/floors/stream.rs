//! Many at a time over a `UnixStream` pair, in batches made by hand, the two sides on two cores.
//!
//! * [`pipelined_bytes`]: a window of requests and as many responses, raw bytes, nobody looks at them
//! * [`pipelined_values`]: the same of values, encoded and decoded as MessagePack with names on either side, which is the least that anything
//!   with typed messages does
//! * [`one_way`]: values, one way, in batches of 64 KiB

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Far, picoseconds};
use crate::actors::Point;
use crate::place::{self, Sides};

const WINDOW: usize = 256;
const WINDOWS: usize = 200;
/// As large as the frames of the case.
const FRAME: usize = 56;
const ONE_WAY: usize = 500_000;
const BATCH: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
enum Request {
    Echo(Point, u64),
    Add(Point),
    Total,
}

pub(super) fn pipelined_bytes() -> u64 {
    apart(
        |mut stream| {
            let mut window = vec![0; WINDOW * FRAME];
            while stream.read_exact(&mut window).is_ok() && stream.write_all(&window).is_ok() {}
        },
        |stream| {
            let mut window = vec![7; WINDOW * FRAME];
            let begin = Instant::now();
            for _ in 0..WINDOWS {
                stream.write_all(&window).expect("a window there");
                stream.read_exact(&mut window).expect("a window back");
            }
            picoseconds(begin.elapsed(), WINDOWS * WINDOW)
        },
    )
}

pub(super) fn pipelined_values() -> u64 {
    apart(
        |stream| {
            let (mut batch, mut values) = (Vec::new(), Values::new(stream));
            while values.fill() {
                batch.clear();
                while let Some(request) = values.next() {
                    if let Request::Echo(point, call) = request {
                        append(&mut batch, &(call, point));
                    }
                }
                if values.stream.write_all(&batch).is_err() {
                    return;
                }
            }
        },
        |stream| {
            let mut values = Values::new(stream.try_clone().expect("a descriptor"));
            let mut batch = Vec::new();
            let begin = Instant::now();
            for window in 0..WINDOWS {
                batch.clear();
                for call in 0..WINDOW {
                    append(&mut batch, &Request::Echo(Point { x: call as u64, y: window as u64 }, call as u64));
                }
                stream.write_all(&batch).expect("a window there");
                let mut left = WINDOW;
                while left > 0 {
                    match values.next::<(u64, Point)>() {
                        Some((call, point)) => {
                            assert_eq!(call, point.x);
                            left -= 1;
                        }
                        None => assert!(values.fill()),
                    }
                }
            }
            picoseconds(begin.elapsed(), WINDOWS * WINDOW)
        },
    )
}

pub(super) fn one_way() -> u64 {
    apart(
        |stream| {
            let mut values = Values::new(stream);
            let mut total = 0;
            while values.fill() {
                while let Some(request) = values.next() {
                    match request {
                        Request::Add(point) => total += point.x,
                        Request::Total => values.stream.write_all(&u64::to_le_bytes(total)).expect("the total"),
                        Request::Echo(..) => {}
                    }
                }
            }
        },
        |stream| {
            let mut batch = Vec::new();
            let begin = Instant::now();
            for number in 0..ONE_WAY {
                append(&mut batch, &Request::Add(Point { x: 1, y: number as u64 }));
                if batch.len() >= BATCH {
                    stream.write_all(&batch).expect("a batch");
                    batch.clear();
                }
            }
            append(&mut batch, &Request::Total);
            stream.write_all(&batch).expect("the last batch");
            let mut total = [0; 8];
            stream.read_exact(&mut total).expect("the total");
            assert_eq!(u64::from_le_bytes(total), ONE_WAY as u64);
            picoseconds(begin.elapsed(), ONE_WAY)
        },
    )
}

/// Runs the two sides of a stream on two cores.
fn apart(far_side: impl FnOnce(UnixStream), near_side: impl FnOnce(&mut UnixStream) -> u64) -> u64 {
    let cores = place::cores();
    let (near_core, far_core) = Sides::TwoCores.of(&cores);
    let (mut near, far) = Far::start(|stream| {
        place::pin(&[far_core]);
        far_side(stream);
    });
    place::pin(&[near_core]);
    let measured = near_side(&mut near);
    place::pin(&cores);
    drop(near);
    far.end();
    measured
}

/// Four bytes of length, then the value as MessagePack with names, as the library writes it.
fn append<T: Serialize>(batch: &mut Vec<u8>, value: &T) {
    let start = batch.len();
    batch.extend_from_slice(&[0; 4]);
    rmp_serde::encode::write_named(batch, value).expect("a value");
    let length = (batch.len() - start - 4) as u32;
    batch[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Values out of a stream.
struct Values {
    stream: UnixStream,
    bytes: Vec<u8>,
    taken: usize,
}

impl Values {
    fn new(stream: UnixStream) -> Values {
        Values { stream, bytes: Vec::with_capacity(2 * BATCH), taken: 0 }
    }

    /// Reads once; false at the end.
    fn fill(&mut self) -> bool {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let start = self.bytes.len();
        self.bytes.resize(start + BATCH, 0);
        let read = self.stream.read(&mut self.bytes[start..]).unwrap_or(0);
        self.bytes.truncate(start + read);
        read > 0
    }

    /// The next whole value.
    fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        let rest = &self.bytes[self.taken..];
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let value = rmp_serde::from_slice(rest.get(..length)?).expect("a value");
        self.taken += 4 + length;
        Some(value)
    }
}
