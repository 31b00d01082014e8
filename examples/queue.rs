//! One child process puts numbers into a queue; another takes each, and prints it and its double, until it meets -1.
//!
//! `cargo run --release --example queue`

use procession::prelude::*;

#[process_actor]
fn producer(queue: Queue<i32>) -> procession::Result<()> {
    for data in [10, 15, 20, 25, -1] {
        queue.put(data).blocking()?;
    }
    Ok(())
}

#[process_actor]
fn consumer(queue: Queue<i32>) -> procession::Result<()> {
    loop {
        let data = queue.get().blocking()?;
        println!("data: {data}");
        println!("{}", data * 2);
        if data == -1 {
            return Ok(());
        }
    }
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let queue = Queue::bounded(100);
    let producer = Producer::spawn(queue.clone()).await?;
    let consumer = Consumer::spawn(queue.clone()).await?;
    producer.join().await??;
    consumer.join().await??;
    Ok(())
}
