//! A type parameter cannot be sent.

use procession::process_actor;

#[process_actor]
fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

fn main() {}
