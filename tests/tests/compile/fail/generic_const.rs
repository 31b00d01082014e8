//! A const parameter cannot be sent.

use procession::process_actor;

#[process_actor]
fn zeros<const N: usize>() -> usize {
    N
}

fn main() {}
