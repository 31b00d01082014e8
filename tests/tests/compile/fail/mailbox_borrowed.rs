//! The mailbox is the actor's own.

use procession::{Mailbox, process_actor};

#[process_actor]
fn counter(mailbox: &mut Mailbox<i64>) {
    let _ = mailbox;
}

fn main() {}
