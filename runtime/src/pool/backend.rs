//! Where a pool's tasks are run: in workers of this process's, in those of another process's pool, or right here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::bundle::Encoded;
use super::counter::Request;
use super::driver::{Refused, Seat, Shared, Single};
use super::error::{Failure, PoolError, TaskId};
use super::job::{Function, Job};
use super::part::Part;
use super::remote::{Remote, RemoteJob};
use super::scheduler::Terms;
use super::task::{Cell, Where};
use crate::actor::address::Address;
use crate::actor::definition::FunctionActor;
use crate::link::library;
use crate::process::boot;

/// See the module's documentation.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Worker processes.
    Workers(Arc<Shared>),
    /// Those of a pool that another process made.
    Elsewhere(Remote),
    /// The caller's own thread.
    Here,
}

impl Backend {
    /// Opens a job whose owner collects the results.
    pub(crate) fn open(&self, function: Function, terms: Terms, keeps: bool) -> Result<Line, Arc<PoolError>> {
        match self {
            Backend::Workers(shared) => shared.open(function, terms, keeps).map(|(job, seat)| Line::Workers(job, seat)),
            Backend::Elsewhere(remote) => Ok(Line::Elsewhere(RemoteJob::new(remote.clone(), function, terms))),
            // Never: such tasks are run by their owner.
            Backend::Here => Err(Arc::new(PoolError::Closed)),
        }
    }

    pub(crate) fn close(&self) {
        match self {
            Backend::Workers(shared) => shared.close(),
            Backend::Elsewhere(remote) => remote.tell(Request::Close),
            Backend::Here => {}
        }
    }

    pub(crate) fn terminate(&self) {
        match self {
            Backend::Workers(shared) => shared.terminate(),
            Backend::Elsewhere(remote) => remote.tell(Request::Terminate),
            Backend::Here => {}
        }
    }

    pub(crate) fn resize(&self, workers: usize) {
        match self {
            Backend::Workers(shared) => shared.resize(workers),
            Backend::Elsewhere(remote) => remote.tell(Request::Resize(workers)),
            Backend::Here => {}
        }
    }

    /// Where other processes find the pool.
    pub(crate) fn address(&self) -> Option<Address> {
        match self {
            Backend::Workers(shared) => Some(shared.address()),
            Backend::Elsewhere(remote) => Some(remote.address()),
            Backend::Here => None,
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

    /// Submits a task, which its caller waits for at once or not, unless so many wait already; then `waker` is woken when there are fewer.
    pub(crate) fn submit(&self, single: &Single, waits: bool, waker: &Waker) -> Result<(TaskId, Arc<Cell>, Where), Refused> {
        match self {
            Backend::Workers(shared) => shared.submit(single, waits, waker).map(|(id, cell, seat)| (id, cell, Where::Workers(seat))),
            Backend::Elsewhere(remote) => {
                let library = library::handle().map_err(|error| Refused::Over(Arc::new(error.into())))?;
                let cell = Arc::new(Cell::default());
                let (remote, single, filled) = (remote.clone(), single.clone(), cell.clone());
                let running = library.spawn(async move { filled.take(remote.run(single).await) });
                Ok((TaskId { job: 0, index: 0 }, cell, Where::Elsewhere(running.abort_handle())))
            }
            Backend::Here => Err(Refused::Over(Arc::new(PoolError::Closed))),
        }
    }
}

/// One owner's connection with those who run its job.
pub(crate) enum Line {
    Workers(Arc<Job>, Seat),
    Elsewhere(RemoteJob),
}

impl Line {
    pub(crate) fn id(&self) -> u64 {
        match self {
            Line::Workers(job, _) => job.id,
            Line::Elsewhere(_) => 0,
        }
    }

    /// What has come, or why nothing more will.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Part>, Arc<PoolError>>> {
        match self {
            Line::Workers(job, _) => job.poll(context),
            Line::Elsewhere(job) => job.poll(context),
        }
    }

    /// The owner found nothing and waits; false where something came in between.
    pub(crate) fn attend(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Line::Workers(job, seat) => seat.attend(context, || job.has_mail()),
            Line::Elsewhere(job) => job.attend(context),
        }
    }

    /// How many tasks the next bundle should have, if there should be one now.
    pub(crate) fn hunger(&self) -> Option<usize> {
        match self {
            Line::Workers(_, seat) => seat.hunger(),
            Line::Elsewhere(job) => job.hunger(),
        }
    }

    /// More tasks; then as [`hunger`](Line::hunger).
    pub(crate) fn supply(&mut self, start: usize, bundle: Encoded, following: usize) -> Option<usize> {
        match self {
            Line::Workers(_, seat) => seat.supply(start, bundle, following),
            Line::Elsewhere(job) => job.supply(start, bundle),
        }
    }

    pub(crate) fn restarts(&self) -> u64 {
        match self {
            Line::Workers(_, seat) => seat.restarts(),
            Line::Elsewhere(_) => 0,
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
