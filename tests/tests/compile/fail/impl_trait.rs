//! `impl Trait` hides a type that another process has to know.

use procession::process_actor;

#[process_actor]
fn total(items: impl IntoIterator<Item = i64>) -> i64 {
    items.into_iter().sum()
}

#[process_actor]
fn numbers() -> impl Iterator<Item = i64> {
    0..10
}

fn main() {}
