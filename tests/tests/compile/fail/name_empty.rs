//! An explicit name says something.

use procession::process_actor;

#[process_actor(name = "")]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {}
