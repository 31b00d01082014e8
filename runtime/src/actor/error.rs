//! What can go wrong between actors: one small enum an operation, and a message that was not sent comes back.

use std::fmt;
use std::sync::Arc;

use crate::exit::ExitReport;
use crate::link::call::{Ending, LinkError};
use crate::link::value::{DecodeError, EncodeError};

use super::peer::Unreachable;

/// Why a request has no reply.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The actor died before it replied.
    #[error("no reply: {0}")]
    Died(Arc<ExitReport>),
    /// The actor dropped the reply without sending one.
    #[error("no reply: the actor dropped the `Reply` without sending it; call `reply.send(..)` on every path")]
    NoReply,
    /// No reply came in time. The actor was told that it is no longer wanted.
    #[error("no reply within the timeout")]
    Timeout,
    /// The actor's mailbox is closed: it was stopped, or its function dropped the mailbox.
    #[error("the actor's mailbox is closed: it takes no more messages")]
    Closed,
    /// No actor answers to this handle.
    #[error("no actor answers to this handle: it was not given out by this family")]
    Unknown,
    /// The request could not be encoded; nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The actor could not decode the request.
    #[error("the actor could not read the request: {0}")]
    Rejected(String),
    /// The reply could not be decoded.
    #[error("the reply could not be read: {0}")]
    Decode(#[from] DecodeError),
    /// The link to the actor failed.
    #[error("the link to the actor failed: {0}")]
    Link(#[from] LinkError),
    /// This process could not make a connection.
    #[error("no connection to the actor could be made: {0}")]
    Connect(String),
}

impl From<Ending> for AskError {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::NoReply => AskError::NoReply,
            Ending::Rejected(why) => AskError::Rejected(why),
            Ending::Closed => AskError::Closed,
            Ending::Died(report) => AskError::Died(report),
            Ending::Broken(error) => AskError::Link(error),
        }
    }
}

impl From<Unreachable> for AskError {
    fn from(unreachable: Unreachable) -> Self {
        match unreachable {
            Unreachable::Ending(ending) => ending.into(),
            Unreachable::Unknown => AskError::Unknown,
            Unreachable::Failed(why) => AskError::Connect(why),
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TellReason {
    /// The actor died.
    #[error("{0}")]
    Died(Arc<ExitReport>),
    /// The actor's mailbox is closed: it was stopped, or its function dropped the mailbox.
    #[error("the actor's mailbox is closed: it takes no more messages")]
    Closed,
    /// The actor is behind, and what may wait for it does. Only `try_tell` says so; `tell` waits.
    #[error("the actor's mailbox is full: it is behind; `tell` would wait")]
    Full,
    /// There was no room in time.
    #[error("the actor's mailbox had no room within the timeout")]
    Timeout,
    /// No actor answers to this handle.
    #[error("no actor answers to this handle: it was not given out by this family")]
    Unknown,
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(EncodeError),
    /// The link to the actor failed.
    #[error("the link to the actor failed: {0}")]
    Link(LinkError),
    /// This process could not make a connection.
    #[error("no connection to the actor could be made: {0}")]
    Connect(String),
}

/// A message that was not sent, and why.
#[derive(Clone)]
pub struct TellError<M> {
    /// Why it was not sent.
    pub reason: TellReason,
    /// The message. `None` only where its buffer was being written when the link broke.
    pub message: Option<M>,
}

impl<M> fmt::Debug for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TellError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<M> fmt::Display for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message was not sent: {}", self.reason)
    }
}

impl<M> std::error::Error for TellError<M> {}

impl From<AskError> for TellReason {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Died(report) => TellReason::Died(report),
            AskError::Closed | AskError::NoReply => TellReason::Closed,
            AskError::Timeout => TellReason::Timeout,
            AskError::Unknown => TellReason::Unknown,
            AskError::Encode(error) => TellReason::Encode(error),
            AskError::Link(error) => TellReason::Link(error),
            AskError::Connect(why) | AskError::Rejected(why) => TellReason::Connect(why),
            AskError::Decode(error) => TellReason::Connect(error.to_string()),
        }
    }
}

/// Nothing arrived in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message arrived within the timeout")]
pub struct RecvTimeout;
