//! The actors that the cases talk to: the same mailbox, once sync and once async.

use procession::prelude::*;

use crate::place;

/// A small struct.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    pub x: u64,
    pub y: u64,
}

#[derive(Serialize, Deserialize)]
pub enum Work {
    /// Runs on these cores from now on.
    Pin(Vec<usize>, Reply<()>),
    Echo(Point, Reply<Point>),
    Add(Point),
    Total(Reply<u64>),
}

fn work(work: Work, total: &mut u64) {
    match work {
        Work::Pin(cores, reply) => {
            place::pin(&cores);
            reply.send(());
        }
        Work::Echo(point, reply) => reply.send(point),
        Work::Add(point) => *total += point.x,
        Work::Total(reply) => reply.send(*total),
    }
}

/// Reads its mailbox on its own thread.
#[process_actor]
pub fn sync_worker(mailbox: Mailbox<Work>) {
    let mut total = 0;
    for message in mailbox {
        work(message, &mut total);
    }
}

/// Reads its mailbox in async code.
#[process_actor]
pub async fn async_worker(mut mailbox: Mailbox<Work>) {
    let mut total = 0;
    while let Some(message) = mailbox.recv().await {
        work(message, &mut total);
    }
}

/// What the source of bytes is asked for.
#[derive(Serialize, Deserialize)]
pub enum Bytes {
    /// Have so many ready.
    Prepare(usize, Reply<()>),
    /// Give what is ready.
    Fetch(Reply<Vec<u8>>),
}

/// Gives bytes that were made before they are asked for: what is measured is the way.
#[process_actor]
pub fn source(mailbox: Mailbox<Bytes>) {
    let mut kept = Vec::new();
    for message in mailbox {
        match message {
            Bytes::Prepare(count, reply) => {
                kept = vec![7; count];
                reply.send(());
            }
            Bytes::Fetch(reply) => reply.send(std::mem::take(&mut kept)),
        }
    }
}
