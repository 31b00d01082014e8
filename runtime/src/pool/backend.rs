//! Where a pool's tasks are run: in workers of this process's, in those of another process's pool, or right here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::driver::{Refused, Seat, Shared, Single};
use super::error::{Failure, PoolError, TaskId};
use super::job::{Function, Job};
use super::scheduler::Terms;
use super::task::Cell;
use crate::actor::definition::FunctionActor;
use crate::process::boot;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Worker processes.
    Workers(Arc<Shared>),
    /// The caller's own thread.
    Here,
}

impl Backend {
    /// Opens a job with results in its mail.
    pub(crate) fn open(&self, function: Function, terms: Terms, keeps: bool) -> Result<(Arc<Job>, Seat), Arc<PoolError>> {
        match self {
            Backend::Workers(shared) => shared.open(function, terms, keeps),
            // Never: such tasks are run by their owner.
            Backend::Here => Err(Arc::new(PoolError::Closed)),
        }
    }

    pub(crate) fn close(&self) {
        if let Backend::Workers(shared) = self {
            shared.close();
        }
    }

    pub(crate) fn terminate(&self) {
        if let Backend::Workers(shared) = self {
            shared.terminate();
        }
    }

    /// The last handle is gone.
    pub(crate) fn abandon(&self) {
        if let Backend::Workers(shared) = self {
            shared.abandon();
        }
    }

    /// Ready when the pool has ended and its processes are gone.
    pub(crate) fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Backend::Workers(shared) if !shared.is_empty(context) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Submits a task, unless so many wait already; then `waker` is woken when there are fewer.
    pub(crate) fn submit(&self, single: &Single, waker: &Waker) -> Result<(TaskId, Arc<Cell>, Seat), Refused> {
        match self {
            Backend::Workers(shared) => shared.submit(single, waker),
            Backend::Here => Err(Refused::Over(Arc::new(PoolError::Closed))),
        }
    }
}

/// Runs a task on this thread.
pub(crate) fn run_here<A: FunctionActor>(arguments: A::Arguments) -> Result<A::Output, Failure> {
    match catch_unwind(AssertUnwindSafe(|| A::call(arguments).finish(1))) {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(Failure::Pool(Arc::new(PoolError::from(error)))),
        Err(payload) => Err(Failure::Panicked(Arc::new(boot::caught(&*payload)))),
    }
}
