//! A program whose children share 128 MiB that its preload built, and may use 64 MiB. Prints how two of them ended that used 16 and 96 more,
//! then the pid of one that waits, then `ended` when that has ended; and stays.

use std::hint::black_box;
use std::sync::OnceLock;

use procession::prelude::*;

static TABLE: OnceLock<Vec<u8>> = OnceLock::new();

fn build() {
    TABLE.get_or_init(|| vec![1; 128 << 20]);
}

#[process_actor]
fn takes(mib: usize) -> usize {
    let more = black_box(vec![1u8; mib << 20]);
    std::thread::sleep(std::time::Duration::from_millis(200));
    TABLE.get().map_or(0, Vec::len) + more.len()
}

#[process_actor]
fn waits() {
    loop {
        std::thread::park();
    }
}

#[procession::main(preload = build)]
fn main() -> procession::Result<()> {
    for mib in [16, 96] {
        let child = Takes::builder().memory_limit(64 << 20).stderr(procession::Stream::Null).spawn(mib).blocking()?;
        match child.join().blocking() {
            Ok(bytes) => println!("{}", bytes >> 20),
            Err(error) => println!("{error}"),
        }
    }
    let child = Waits::builder().memory_limit(64 << 20).spawn().blocking()?;
    println!("{}", child.pid());
    let _ = child.exit().blocking()?;
    println!("ended");
    loop {
        std::thread::park();
    }
}
