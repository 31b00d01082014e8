//! The struct has a name of its own, beside the function.

use procession::process_actor;

#[allow(non_snake_case)]
#[process_actor]
fn Square(x: i64) -> i64 {
    x * x
}

#[process_actor(cube)]
fn cube(x: i64) -> i64 {
    x * x * x
}

#[process_actor]
fn _4(x: i64) -> i64 {
    x * x * x * x
}

#[process_actor(actors::Five)]
fn five() -> i64 {
    5
}

fn main() {}
