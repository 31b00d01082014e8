//! Functions as process actors.
#![doc = ""]

mod actor;
mod error;
mod exit;
mod link;
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
pub use process::builder::{Spawn, Stream};
pub use process::error::{InitError, JoinError, SpawnError};
pub use process::handle::{Actor, ChildInfo, Exit, Join, Process, Stop, children};
pub use process::init::init;
pub use process::session::shutdown;
pub use service::client::ServiceError;
pub use service::pipe::{Pipe, PipeEnd, PipeError, PipeRecv, PipeSend};
pub use service::queue::{Get, GetError, Put, PutError, PutReason, Queue};
pub use service::lock::{Acquire, Lock, LockError, LockGuard, Releasing};
pub use procession_macros::{main, process_actor, test};

/// What most programs use.
pub mod prelude {
    pub use crate::{Actor, ActorRef, Lock, Mailbox, Pipe, PipeEnd, Process, Queue, Reply, process_actor};
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
