//! Other arguments are refused.

use procession::process_actor;

#[process_actor(nick = "square")]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor("cube")]
fn cube(x: i64) -> i64 {
    x * x * x
}

fn main() {}
