//! A parameter is serialisable; the complaint is at its type.

use procession::process_actor;

struct Opaque(i64);

#[process_actor]
fn one(opaque: Opaque) -> i64 {
    opaque.0
}

#[process_actor]
fn two(x: i64, opaque: Opaque) -> i64 {
    x + opaque.0
}

#[process_actor]
fn slice(opaque: &[Opaque]) -> usize {
    opaque.len()
}

fn main() {}
