//! A pool takes process actors.

use procession::Pool;

#[derive(Clone, Copy)]
struct Square;

fn run(pool: &Pool) {
    let _ = pool.map(Square, [1, 2, 3]);
}

fn main() {}
