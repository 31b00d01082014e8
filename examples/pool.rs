//! A pool of three processes squares five numbers.
//!
//! `cargo run --release --example pool`

use procession::prelude::*;

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let pool = Pool::new(3)?;
    println!("{:?}", pool.map(Square, [5, 10, 15, 20, 25]).await?);
    Ok(())
}
