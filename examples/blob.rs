//! Three processes each add up a part of the same ten million numbers, which are in memory once.
//!
//! `cargo run --release --example blob`

use procession::prelude::*;

#[process_actor]
fn total(numbers: SharedSlice<u32>, from: usize, to: usize) -> u64 {
    numbers[from..to].iter().map(|number| u64::from(*number)).sum()
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let numbers = SharedSlice::from_fn(10_000_000, |index| index as u32)?;
    let mut processes = Vec::new();
    for (from, to) in [(0, 3_000_000), (3_000_000, 6_000_000), (6_000_000, numbers.len())] {
        processes.push(Total::spawn(numbers.clone(), from, to).await?);
    }
    let mut sum = 0;
    for process in processes {
        let part = process.join().await?;
        println!("{part}");
        sum += part;
    }
    println!("{sum} in all");
    Ok(())
}
