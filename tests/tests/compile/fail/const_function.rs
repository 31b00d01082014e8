//! A const function is for compile time.

use procession::process_actor;

#[process_actor]
const fn square(x: i64) -> i64 {
    x * x
}

fn main() {}
