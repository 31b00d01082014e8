//! A spawn until the actor's first reply, against a fork until the child's first byte.

use std::time::{Duration, Instant};

use crate::actors::{Point, SyncWorker, Work};
use crate::floors::Floors;
use crate::table::{Row, in_turns};

const COUNT: u32 = 20;

pub fn measure(floors: &Floors) -> Vec<Row> {
    let case = || {
        let mut total = Duration::ZERO;
        for _ in 0..COUNT {
            let begin = Instant::now();
            let actor = SyncWorker::spawn().blocking().expect("a spawn");
            let point = actor.ask(|reply| Work::Echo(Point { x: 1, y: 2 }, reply)).blocking().expect("a reply");
            total += begin.elapsed();
            assert_eq!(point.x, 1);
            actor.stop().blocking().expect("a stop");
        }
        total / COUNT
    };
    let (floor, case) = in_turns(9, || floors.time("birth"), case);
    vec![Row::times("spawn until the first reply", floor, case, "at most 4x", 4.0)]
}
