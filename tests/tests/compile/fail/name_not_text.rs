//! An explicit name is a string literal.

use procession::process_actor;

#[process_actor(name = square)]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {}
