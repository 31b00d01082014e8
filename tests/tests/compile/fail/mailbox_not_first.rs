//! The mailbox comes first.

use procession::{Mailbox, process_actor};

#[process_actor]
fn counter(start: i64, mailbox: Mailbox<i64>) -> i64 {
    drop(mailbox);
    start
}

fn main() {}
