//! What can go wrong with processes: one small enum an operation.

use std::io;
use std::sync::Arc;

use crate::exit::ExitReport;
use crate::link::value::{DecodeError, EncodeError};

/// Why this program cannot start processes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// Nothing called `init`.
    #[error(
        "procession is not initialised: put `#[procession::main]` on `main` (or `#[procession::test]` on the test), or call \
         `procession::init()` first thing in `main`"
    )]
    NotCalled,
    /// It was called when other threads existed already.
    #[error(
        "`procession::init()` was called when other threads existed already ({0}): it must come before anything that starts threads; use \
         `#[procession::main]` instead of `#[tokio::main]`"
    )]
    TooLate(usize),
    /// Two actors of the program have one name.
    #[error("two process actors are named `{0}`: names given with `name = \"...\"` must differ")]
    DuplicateName(&'static str),
}

/// Why a process was not spawned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program did not initialise this library.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The arguments cannot be sent.
    #[error(transparent)]
    Arguments(#[from] EncodeError),
    /// The process ended before its function could run.
    #[error("not spawned: {0}")]
    Died(Arc<ExitReport>),
    /// A system call failed in this process.
    #[error("not spawned: {0}")]
    Io(#[from] io::Error),
    /// The process did not start in time; it was killed.
    #[error("not spawned: it did not start within the timeout, and was killed")]
    Timeout,
    /// The family is shutting down.
    #[error("not spawned: the family is shutting down")]
    ShuttingDown,
}

/// Why there is no return value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The function did not return.
    #[error("{0}")]
    Died(Arc<ExitReport>),
    /// The value cannot be decoded.
    #[error("what the actor returned cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The actor did not end in time. It lives on.
    #[error("the actor did not end within the timeout; it is still running")]
    Timeout,
    /// The value was taken by an earlier join.
    #[error("what the actor returned was taken already")]
    Taken,
}

impl JoinError {
    /// The exit report, where the actor died.
    pub fn report(&self) -> Option<&ExitReport> {
        match self {
            JoinError::Died(report) => Some(report),
            _ => None,
        }
    }
}
