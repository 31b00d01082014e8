//! Two million numbers squared by a pool of two, against batches made by hand.

use std::time::{Duration, Instant};

use procession::prelude::*;

use crate::floors::Floors;
use crate::floors::pool::{TASKS, WORKERS};
use crate::table::{Row, in_turns};

#[process_actor]
fn square(x: i64) -> i64 {
    x.wrapping_mul(x)
}

pub fn measure(floors: &Floors) -> Vec<Row> {
    let pool = Pool::new(WORKERS).expect("a pool");
    let case = || {
        let begin = Instant::now();
        let squares = pool.map(Square, 0..TASKS as i64).blocking().expect("the squares");
        let total = begin.elapsed();
        assert_eq!((squares.len(), squares.last().copied()), (TASKS, Some((TASKS as i64 - 1).pow(2))));
        total
    };
    // Of all tasks together: one takes too few nanoseconds to be told as a duration.
    let (floor, case) = in_turns(9, || floors.time("pool"), case);
    let rate = |total: Duration| TASKS as f64 / total.as_secs_f64() / 1e6;
    let (floor, procession) = (rate(floor), rate(case));
    vec![Row {
        case: "tasks of a pool of two, x squared",
        floor: format!("{floor:.1} M/s"),
        procession: format!("{procession:.1} M/s"),
        ratio: procession / floor,
        must: "20 M/s",
        reached: procession >= 20.0,
    }]
}
