//! The attribute goes on a function.

use procession::process_actor;

#[process_actor]
struct Account {
    balance: i64,
}

fn main() {}
