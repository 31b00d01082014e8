//! An actor has one mailbox.

use procession::{Mailbox, process_actor};

#[process_actor]
fn counter(mailbox: Mailbox<i64>, control: Mailbox<bool>) {
    drop(mailbox);
    drop(control);
}

fn main() {}
