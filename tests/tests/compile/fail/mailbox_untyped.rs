//! A mailbox has one type of messages.

use procession::process_actor;

type Mailbox = procession::Mailbox<i64>;

#[process_actor]
fn counter(mailbox: Mailbox) {
    drop(mailbox);
}

fn main() {}
