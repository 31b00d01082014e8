//! An argument is given once.

use procession::process_actor;

#[process_actor(Tally, Count)]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor(name = "one", name = "two")]
fn cube(x: i64) -> i64 {
    x * x * x
}

fn main() {}
