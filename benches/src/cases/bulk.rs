//! 64 MiB of bytes in one message, against reading them from a `UnixStream` into a fresh `Vec`.

use std::time::Instant;

use crate::actors::{Bytes, Source};
use crate::floors::Floors;
use crate::floors::bulk::BYTES;
use crate::table::{Row, in_turns};

pub fn measure(floors: &Floors) -> Vec<Row> {
    let source = Source::spawn().blocking().expect("a spawn");
    let case = || {
        source.ask(|reply| Bytes::Prepare(BYTES, reply)).blocking().expect("a reply");
        let begin = Instant::now();
        let bytes = source.ask(Bytes::Fetch).blocking().expect("the bytes");
        let total = begin.elapsed();
        assert_eq!(bytes.len(), BYTES);
        total
    };
    let (floor, case) = in_turns(9, || floors.time("bulk"), case);
    vec![Row::times("64 MiB of bytes in one message", floor, case, "at most 1.5x", 1.5)]
}
