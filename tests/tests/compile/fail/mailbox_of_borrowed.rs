//! Messages own what they hold.

use procession::{Mailbox, process_actor};

#[process_actor]
fn counter(mailbox: Mailbox<&'static str>) {
    drop(mailbox);
}

fn main() {}
