//! A plain `main` without any async: `init` itself, threads that spawn and block, an actor that is asked. Prints the results.
//!
//! `plain panic`: an actor that panics, for builds where that aborts.

use procession::prelude::*;

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
fn sums(mailbox: Mailbox<(i64, Reply<i64>)>) -> i64 {
    let mut mailbox = mailbox;
    let mut sum = 0;
    while let Some((x, reply)) = mailbox.recv().blocking() {
        sum += x;
        reply.send(sum);
    }
    sum
}

#[process_actor]
fn panics() {
    panic!("as told");
}

fn main() -> procession::Result<()> {
    println!("before");
    procession::init()?;
    if std::env::args().nth(1).as_deref() == Some("panic") {
        let report = Panics::builder().stderr(procession::Stream::Null).spawn().blocking()?.exit().blocking()?;
        println!("{:?} {}", report.signal(), report.outcome);
        return Ok(());
    }
    println!("{}", Square::spawn(5).blocking()?.join().blocking()?);
    let threads: Vec<_> = (0..8)
        .map(|x| std::thread::spawn(move || Square::spawn(x).blocking()?.join().blocking().map_err(procession::Error::from)))
        .collect();
    for thread in threads {
        println!("{}", thread.join().expect("no panic")?);
    }
    let sums = Sums::spawn().blocking()?;
    for x in 1..=3 {
        println!("{}", sums.ask(move |reply| (x, reply)).blocking()?);
    }
    println!("{}", sums.stop().blocking()?);
    Ok(())
}
