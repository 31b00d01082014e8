//! One child process sends three messages into one end of a pipe; another prints each that comes out of the other end.
//!
//! `cargo run --release --example pipe`

use procession::prelude::*;

#[process_actor]
fn sender(pipe: PipeEnd<String>) -> procession::Result<()> {
    for message in ["START", "MEDIAN", "END"] {
        pipe.send(message.to_owned()).blocking()?;
    }
    Ok(())
}

#[process_actor]
fn printer(pipe: PipeEnd<String>) -> procession::Result<()> {
    loop {
        let message = pipe.recv().blocking()?;
        println!("{message}");
        if message == "END" {
            return Ok(());
        }
    }
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let (left, right) = Pipe::new();
    // Each end moves into the process that it is given to.
    let sender = Sender::spawn(left).await?;
    let printer = Printer::spawn(right).await?;
    sender.join().await??;
    printer.join().await??;
    Ok(())
}
