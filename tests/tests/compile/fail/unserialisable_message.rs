//! A message is serialisable; the complaint is at its type.

use procession::{Mailbox, process_actor};

enum Count {
    Add(i64),
}

#[process_actor]
fn counter(mailbox: Mailbox<Count>) -> i64 {
    drop(mailbox);
    let Count::Add(n) = Count::Add(1);
    n
}

fn main() {}
