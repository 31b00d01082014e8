//! A pool takes the type, not the function.

use procession::{Pool, process_actor};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

fn run(pool: &Pool) {
    let _ = pool.map(square, [1, 2, 3]);
}

fn main() {}
