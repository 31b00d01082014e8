//! A family whose actors are busy in loops that never look up: one below the root, and a chain of three. Each prints its pid.

use procession::prelude::*;

#[process_actor]
fn busy(depth: u32) {
    if depth > 1 {
        Busy::spawn(depth - 1).blocking().expect("a child of its own");
    }
    println!("{}", std::process::id());
    loop {
        std::hint::spin_loop();
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    Busy::spawn(1).blocking()?;
    Busy::spawn(3).blocking()?;
    loop {
        std::thread::park();
    }
}
