//! A family that is stopped in order: one actor that stops when asked, one that takes SIGTERM, one that takes SIGKILL, and a
//! `sleep` started by an actor. Prints the pids, then `ready`, then what each actor does when it is stopped.
//!
//! `stops wait`: until a signal comes. `stops return`: returns at once. `stops stubborn`: with a grace of an hour.

use std::process::{Command, Stdio};
use std::time::Duration;

use procession::prelude::*;

#[process_actor]
async fn heeds(mut mailbox: Mailbox<Reply<()>>) {
    while let Some(reply) = mailbox.recv().await {
        reply.send(());
    }
    println!("heeded");
}

#[process_actor]
async fn lingers(mut mailbox: Mailbox<Reply<()>>, deaf: bool) {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a handler");
    while let Some(reply) = mailbox.recv().await {
        reply.send(());
    }
    println!("lingered");
    term.recv().await;
    println!("terminated");
    if deaf {
        std::future::pending::<()>().await;
    }
}

#[process_actor]
async fn starts(mut mailbox: Mailbox<Reply<u32>>) {
    let mut sleep = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("sleep");
    while let Some(reply) = mailbox.recv().await {
        reply.send(sleep.id());
    }
    let _ = sleep.kill();
    let _ = sleep.wait();
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let grace = Duration::from_millis(if mode == "stubborn" { 3_600_000 } else { 500 });
    let heeds = Heeds::builder().grace(grace).spawn().await?;
    let lingers = Lingers::builder().grace(grace).spawn(false).await?;
    let deaf = Lingers::builder().grace(grace).spawn(true).await?;
    let starts = Starts::builder().grace(grace).spawn().await?;
    heeds.ask(|reply| reply).await?;
    lingers.ask(|reply| reply).await?;
    deaf.ask(|reply| reply).await?;
    let sleep = starts.ask(|reply| reply).await?;
    for pid in [heeds.pid(), lingers.pid(), deaf.pid(), starts.pid(), sleep] {
        println!("{pid}");
    }
    println!("ready");
    match mode.as_str() {
        "return" => Ok(()),
        "panic" => panic!("as told"),
        _ => std::future::pending().await,
    }
}
