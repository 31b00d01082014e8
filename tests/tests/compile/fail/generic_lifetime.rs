//! A lifetime cannot be sent, not even one of a `&str`.

use procession::process_actor;

#[process_actor]
fn length<'a>(text: &'a str) -> usize {
    text.len()
}

fn main() {}
