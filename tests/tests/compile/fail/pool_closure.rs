//! A closure cannot travel to another process.

use procession::Pool;

fn run(pool: &Pool) {
    let _ = pool.map(|x: i64| x * x, [1, 2, 3]);
}

fn main() {}
