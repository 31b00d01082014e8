//! A program whose `main` returns while it has a pool. It prints the workers' pids, then `ready`, then what the tasks print.
//!
//! `leaves_a_pool idle`: the pool has nothing to do, and is forgotten. `busy`: forty tasks are not done. `endless`: one never is.

use std::time::Duration;

use procession::prelude::*;

#[process_actor]
fn whoami(_: ()) -> u32 {
    std::thread::sleep(Duration::from_millis(20));
    std::process::id()
}

#[process_actor]
fn prints(number: u32) {
    std::thread::sleep(Duration::from_millis(5));
    println!("{number}");
}

#[process_actor]
fn spins(begun: Queue<()>) {
    let _ = begun.put(()).blocking();
    loop {
        std::hint::spin_loop();
    }
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let pool = Pool::new(2)?;
    pool.map(Whoami, [(); 8]).chunk(1).await?;
    for pid in pool.pids() {
        println!("{pid}");
    }
    println!("ready");
    match mode.as_str() {
        "busy" => {
            for number in 0..40 {
                drop(pool.submit(Prints, number).await?);
            }
        }
        "endless" => {
            let begun = Queue::bounded(1);
            drop(pool.submit(Spins, begun.clone()).await?);
            begun.get().await?;
        }
        _ => std::mem::forget(pool),
    }
    Ok(())
}
