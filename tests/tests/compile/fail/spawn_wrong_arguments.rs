//! `spawn` has the function's own parameters.

use procession::process_actor;

#[process_actor]
fn power(base: i64, exponent: u32) -> i64 {
    base.pow(exponent)
}

fn run() {
    let _ = Power::spawn(2);
    let _ = Power::spawn(2, "three");
    let _ = Power::builder().spawn("two", 3);
}

fn main() {}
