//! One child process for each number; each prints its number and its name.
//!
//! `cargo run --release --example processes`

use procession::prelude::*;

#[process_actor]
fn show(number: u32) {
    println!("{number} : {}", procession::current().name());
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let mut processes = Vec::new();
    for number in [5, 10, 15, 20, 25] {
        processes.push(Show::spawn(number).await?);
    }
    processes.push(Show::builder().name("test").spawn(2).await?);

    for process in processes {
        process.join().await?;
    }
    Ok(())
}
