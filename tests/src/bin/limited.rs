//! A program with one child that has a memory limit. Prints the child's pid, then `ended` when it has ended, and stays.

use procession::prelude::*;

#[process_actor]
fn waits() {
    loop {
        std::thread::park();
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    let child = Waits::builder().memory_limit(64 << 20).spawn().blocking()?;
    println!("{}", child.pid());
    let _ = child.exit().blocking()?;
    println!("ended");
    loop {
        std::thread::park();
    }
}
