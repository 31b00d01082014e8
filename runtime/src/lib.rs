//! Functions as process actors: `#[process_actor]` marks a function, and the runtime runs it in a child process.
//!
//! ```
//! use procession::prelude::*;
//!
//! #[process_actor]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! enum Count {
//!     Add(i64),
//!     Get(Reply<i64>),
//! }
//!
//! #[process_actor]
//! async fn counter(mut mailbox: Mailbox<Count>, start: i64) -> i64 {
//!     let mut n = start;
//!     while let Some(message) = mailbox.recv().await {
//!         match message {
//!             Count::Add(k) => n += k,
//!             Count::Get(reply) => reply.send(n),
//!         }
//!     }
//!     n
//! }
//!
//! #[procession::main]
//! async fn main() -> procession::Result<()> {
//!     assert_eq!(Square::spawn(5).await?.join().await?, 25);
//!
//!     let counter = Counter::spawn(40).await?;
//!     counter.tell(Count::Add(2)).await?;
//!     assert_eq!(counter.ask(Count::Get).await?, 42);
//!     assert_eq!(counter.stop().await?, 42);
//!     Ok(())
//! }
//! ```
//!
//! # What there is
//!
//! * [`process_actor`] makes a type of a function, with `spawn` and `builder`. A function with a [`Mailbox`] first is a mailbox actor,
//!   any other a function actor.
//! * [`Process`] is the spawner's handle to a child, [`Actor`] the same for one with a mailbox; [`ActorRef`] is anyone's handle to a mailbox, and
//!   [`Reply`] the right to answer one request. The last two, and everything in the next line, can be sent to other processes.
//! * [`Lock`], [`Queue`] and [`Pipe`], between any processes; [`Pool`], workers that run function actors as tasks.
//! * [`Blob`] and [`SharedSlice`] are large values that are handed over instead of copied.
//! * [`ExitReport`] says how a process ended.
//! * [`main`], [`test`] or [`init`] come first in a program.
//!
//! # Waiting
//!
//! Every operation that waits is a builder: options first (`.timeout(..)`), then `.await`, or `.blocking()` on a thread of one's
//! own. In async code `.blocking()` panics with what to write instead. Futures need a tokio runtime with I/O and time enabled, as
//! `#[procession::main]` and `#[tokio::main]` start it, only where they set timeouts or read mailboxes and pipes.
//!
//! # When things die
//!
//! A child lives until it returns, is stopped, or its owner ends: the process that spawned it, in the end the root. Dropping a
//! handle ends nothing. When a process dies, everyone who waits for something of it is told at once, with the same [`ExitReport`];
//! what it had sent before is still delivered. When the root dies, by whatever cause, the kernel ends the whole family.
//!
//! # Pools
//!
//! A task that kills its worker, or has to be killed because it is late, fails alone with a [`TaskError`]; what its worker had done is
//! kept, and what it had not begun is run by another. A task is begun again only as far as its `retries` allow. A panic is its
//! task's error, and the worker lives on. Tasks that share a worker by [`concurrency`](PoolBuilder::concurrency) share its death, too.
//!
//! Results come in the order of the items, or as they are there; a stream takes its input only as fast as its results are taken.
//! Dropping a future takes back what is not begun. What was submitted is done, also where nobody waits for it; [`Pool::terminate`] is
//! the way to end that. A pool that cannot go on, because its initializer fails or its workers die before they run anything, ends with a
//! [`PoolError`] that says why, and so do its tasks.

mod actor;
mod error;
mod exit;
mod link;
mod memory;
mod pool;
mod process;
mod service;
mod wait;

pub use actor::current::{Current, Parent, current};
pub use actor::definition::{FunctionActor, MailboxActor, ProcessActor};
pub use actor::error::{AskError, RecvTimeout, TellError, TellReason};
pub use actor::mailbox::{Mailbox, Recv, RecvWithin};
pub use actor::reference::{ActorRef, Ask, IsAlive, Tell, Telling};
pub use actor::reply::Reply;
pub use error::{Error, Result};
pub use exit::{ActorId, ErrorChain, ExitReport, KillReason, Outcome, Panic, StopStep};
pub use link::call::LinkError;
pub use link::frame::FrameError;
pub use link::value::{DecodeError, EncodeError, Message};
pub use memory::blob::Blob;
pub use memory::error::BlobError;
pub use memory::slice::{Plain, SharedSlice};
pub use memory::writer::BlobWriter;
pub use pool::builder::{Initialised, PoolBuilder};
pub use pool::error::{Failure, MapError, PoolError, TaskError, TaskId};
pub use pool::input::{Input, Items, Streamed};
pub use pool::map::{Map, MapFuture, Outcomes, OutcomesFuture};
pub use pool::progress::Progress;
pub use pool::results::{Blocking, Results};
pub use pool::several::{Completed, TryAll, WaitAny, as_completed, try_all, wait_any};
pub use pool::stats::{Stats, WorkerInfo};
pub use pool::submit::{Call, Calling, Submit, Submitting};
pub use pool::task::{Task, Within};
pub use pool::{Closing, Pool, worker_state};
pub use process::builder::{Spawn, Stream};
pub use process::error::{InitError, JoinError, SpawnError};
pub use process::handle::{Actor, ChildInfo, Exit, Join, Process, Stop, children};
pub use process::init::init;
pub use process::session::shutdown;
pub use procession_macros::{main, process_actor, test};
pub use service::client::ServiceError;
pub use service::lock::{Acquire, Lock, LockError, LockGuard, Releasing};
pub use service::pipe::{Pipe, PipeEnd, PipeError, PipeRecv, PipeSend};
pub use service::queue::{Get, GetError, Put, PutError, PutReason, Queue};

/// What most programs use.
pub mod prelude {
    pub use crate::{Actor, ActorRef, Blob, Lock, Mailbox, Pipe, PipeEnd, Pool, Process, Queue, Reply, SharedSlice, process_actor};
    pub use serde::{Deserialize, Serialize};
}

/// What the attributes' expansions use. Not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::actor::definition::{ENTRIES, Entry, Place, Running};
    pub use crate::process::builder::{Options, spawn};
    pub use crate::process::session::{Flavor, MainOptions, Session, block_on, start, start_test};
    pub use linkme;
}

/// Entry points of the fuzz targets. Not part of the interface.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod __fuzz {
    pub use crate::link::assemble::fuzz as frames;
    pub use crate::link::value::fuzz as values;
}

/// The page of use in the README runs as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
