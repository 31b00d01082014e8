//! Four children meet four ends: one segfaults, one aborts, one panics, one is killed from outside. The program goes on and
//! prints what became of each.
//!
//! `cargo run --release --example crash`

use procession::prelude::*;

#[process_actor]
fn segfault() {
    // What a bug in a C library looks like from here.
    let nowhere = std::hint::black_box(std::ptr::without_provenance_mut::<u64>(4096));
    // SAFETY: none at all; that is the point.
    unsafe { nowhere.write_volatile(1) };
}

#[process_actor]
fn abort() {
    std::process::abort();
}

#[process_actor]
fn panic(reason: String) {
    panic!("{reason}");
}

#[process_actor]
fn sleep() {
    loop {
        std::thread::park();
    }
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let crashing = [Segfault::spawn().await?, Abort::spawn().await?, Panic::spawn("out of ideas".to_owned()).await?];

    let sleeper = Sleep::spawn().await?;
    std::process::Command::new("kill").args(["-KILL", &sleeper.pid().to_string()]).status()?;

    for process in crashing.iter().chain([&sleeper]) {
        println!("{}", process.exit().await?);
    }
    println!("and the program goes on");
    Ok(())
}
