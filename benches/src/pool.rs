//! The pool, beside Python's two and beside what two processes do that were made by hand.
//!
//! * [`tiny`]: tasks that take next to nothing, in a map and one by one; [`call`](mod@call): one at a time
//! * [`bytes`]: large items, sent and handed over; [`long`]: tasks that take their time; [`crowd`]: too many workers
//! * [`plot`]: the rate by the tasks' length
//! * [`work`]: what is done; [`spin`]: how long it takes; [`compare`]: the table

mod bytes;
mod call;
mod compare;
mod crowd;
pub mod long;
pub mod plot;
pub mod spin;
mod tiny;
pub mod work;

use procession::Pool;

use compare::Comparison;
pub use compare::heading;

use crate::floors::Floors;
use crate::python::Python;
use work::WORKERS;

/// What the cases have.
pub struct Bench {
    pub floors: Floors,
    pub python: Python,
    /// One round of each, to see that it works.
    pub quick: bool,
    /// Neither floors nor Python take part: for a profiler.
    pub alone: bool,
}

/// A case: what it is called when it is picked out, and its function.
type Case = fn(&Bench) -> Vec<Comparison>;

pub const ALL: &[(&str, Case)] = &[
    ("pool map", tiny::map),
    ("pool particles", tiny::particles),
    ("pool chunk", tiny::chunk_of_one),
    ("pool submit", tiny::submit),
    ("pool call", call::measure),
    ("pool bytes", bytes::echoed),
    ("pool blobs", bytes::handed_over),
    ("pool made", bytes::made),
    ("pool long", long::measure),
    ("pool crowd", crowd::measure),
];

/// A pool whose workers are born.
fn warm(workers: usize) -> Pool {
    let pool = Pool::builder().workers(workers).min_workers(workers).build().expect("a pool");
    while pool.pids().len() < workers {
        pool.map(work::Toil, vec![100_000; 10 * workers]).chunk(1).blocking().expect("the first tasks");
    }
    pool
}
