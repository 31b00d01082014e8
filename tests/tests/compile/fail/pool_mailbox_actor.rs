//! A pool has no messages for a mailbox.

use procession::{Mailbox, Pool, process_actor};

#[process_actor]
fn counter(mailbox: Mailbox<i64>, start: i64) -> i64 {
    drop(mailbox);
    start
}

fn run(pool: &Pool) {
    let _ = pool.map(Counter, [1, 2, 3]);
}

fn main() {}
