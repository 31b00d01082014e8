//! A function that is not generic has no use for `where`.

use procession::process_actor;

#[process_actor]
fn double(x: i64) -> i64
where
    i64: Copy,
{
    2 * x
}

fn main() {}
