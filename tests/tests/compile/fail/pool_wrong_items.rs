//! The items of a pool's map are the function's arguments.

use procession::{Pool, process_actor};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

fn run(pool: &Pool) {
    let _ = pool.map(Square, ["one", "two"]);
}

fn main() {}
