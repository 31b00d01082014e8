//! A process actor has Rust's own calling convention.

use procession::process_actor;

#[process_actor]
extern "C" fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
extern "system" fn cube(x: i64) -> i64 {
    x * x * x
}

fn main() {}
