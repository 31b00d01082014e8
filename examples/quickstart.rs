//! The first page: a process for a function, an actor with a mailbox, a pool.
//!
//! `cargo run --release --example quickstart`

use procession::prelude::*;

#[process_actor] // a function actor: runs once, or as a pool's task
fn square(x: i64) -> i64 {
    x * x
}

#[derive(Serialize, Deserialize)]
enum Count {
    Add(i64),
    Get(Reply<i64>),
}

#[process_actor] // a mailbox actor: lives until it returns or is stopped
async fn counter(mut mailbox: Mailbox<Count>, start: i64) -> i64 {
    let mut n = start;
    while let Some(message) = mailbox.recv().await {
        match message {
            Count::Add(k) => n += k,
            Count::Get(reply) => reply.send(n),
        }
    }
    n
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let process = Square::spawn(5).await?; // a child process
    assert_eq!(process.join().await?, 25); // its return value, or a precise account of its death

    let counter = Counter::spawn(40).await?;
    counter.tell(Count::Add(2)).await?; // one way, with backpressure
    assert_eq!(counter.ask(Count::Get).await?, 42); // request and response
    assert_eq!(counter.stop().await?, 42); // mailbox closes, the function returns, the process is reaped

    let pool = Pool::new(3)?;
    assert_eq!(pool.map(Square, [5, 10, 15, 20, 25]).await?, [25, 100, 225, 400, 625]);
    assert_eq!(square(7), 49); // the function is untouched
    println!("all as promised");
    Ok(())
}
