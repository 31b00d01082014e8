//! Three child processes print a line each, one at a time, under one lock.
//!
//! `cargo run --release --example lock`

use procession::prelude::*;

#[process_actor]
fn show(lock: Lock<()>, line: String) -> procession::Result<()> {
    let guard = lock.lock().blocking()?;
    println!("{line} : {}", procession::current().name());
    guard.release().blocking()?;
    Ok(())
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let lock = Lock::new(());
    let mut processes = Vec::new();
    for line in ["test1", "test2", "test3"] {
        processes.push(Show::spawn(lock.clone(), line.to_owned()).await?);
    }
    for process in processes {
        process.join().await??;
    }
    Ok(())
}
