//! The parameters of a process actor are the same in every build.

use procession::process_actor;

#[process_actor]
fn square(x: i64, #[cfg(unix)] _y: i64) -> i64 {
    x * x
}

fn main() {}
