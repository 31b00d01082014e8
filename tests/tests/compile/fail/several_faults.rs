//! One build shows all faults of a function.

use procession::process_actor;

#[process_actor(nick = "biggest", name = "")]
unsafe fn largest<T: Ord>(items: &mut [T], hint: impl Fn() -> T) -> &T {
    hint();
    items.iter().max().unwrap()
}

fn main() {}
