//! What can go wrong in a pool: with the pool, with one task, with a map.

use std::fmt;
use std::sync::Arc;

use crate::exit::{ExitReport, Panic};
use crate::link::value::{DecodeError, EncodeError};
use crate::process::error::{InitError, SpawnError};

/// Why there is no pool, or not any more.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// A pool of no workers would never run anything.
    #[error("a pool needs at least one worker: `Pool::new(1)` or more, or `Pool::builder()` for one a usable core")]
    NoWorkers,
    /// The program did not initialise this library.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A worker could not be started.
    #[error("a worker of the pool could not be started: {0}")]
    Spawn(Arc<SpawnError>),
    /// Workers died one after the other before any of them finished a task, or even began one.
    #[error("the pool has given up: {deaths} workers in a row died before they ran anything; the last: {last}")]
    CrashLoop {
        /// How many.
        deaths: usize,
        /// How the last one ended.
        last: Arc<ExitReport>,
    },
    /// A system call failed in this process.
    #[error("the pool failed: {0}")]
    Io(Arc<std::io::Error>),
    /// `close` was called.
    #[error("the pool is closed: it takes no more tasks")]
    Closed,
}

impl From<std::io::Error> for PoolError {
    fn from(error: std::io::Error) -> PoolError {
        PoolError::Io(Arc::new(error))
    }
}

/// Why a task has no result. The index is the task's place among the items of its map.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker died while it ran the task.
    #[error("task {index} failed: {report}")]
    Died {
        /// Which task.
        index: usize,
        /// How its worker ended.
        report: Arc<ExitReport>,
    },
    /// The function panicked. Its worker lives on.
    #[error("task {index} panicked{}: {}", Place(.panic), .panic.message)]
    Panicked {
        /// Which task.
        index: usize,
        /// Message, place and backtrace.
        panic: Arc<Panic>,
    },
    /// The argument cannot be sent; the task did not run.
    #[error("task {index} was not run: {error}")]
    Encode {
        /// Which task.
        index: usize,
        /// Why not.
        error: Arc<EncodeError>,
    },
    /// The worker could not read the argument; the function did not run.
    #[error("task {index} was not run: its worker could not read the argument: {error}")]
    Rejected {
        /// Which task.
        index: usize,
        /// Why not.
        error: Arc<DecodeError>,
    },
    /// The function returned, but its result cannot be sent.
    #[error("the result of task {index} is lost: {error}")]
    Unsendable {
        /// Which task.
        index: usize,
        /// Why not.
        error: Arc<EncodeError>,
    },
    /// The result arrived and cannot be read.
    #[error("the result of task {index} cannot be read: {error}")]
    Decode {
        /// Which task.
        index: usize,
        /// Why not.
        error: Arc<DecodeError>,
    },
    /// The pool ended, or was closed, before the task ran.
    #[error("task {index} was not run: {error}")]
    Pool {
        /// Which task.
        index: usize,
        /// Why there is no pool.
        error: Arc<PoolError>,
    },
}

struct Place<'a>(&'a Panic);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Some(place) => write!(f, " at {place}"),
            None => Ok(()),
        }
    }
}

impl TaskError {
    /// Which task it was, counting from 0 in the order of the items.
    pub fn index(&self) -> usize {
        match self {
            TaskError::Died { index, .. }
            | TaskError::Panicked { index, .. }
            | TaskError::Encode { index, .. }
            | TaskError::Rejected { index, .. }
            | TaskError::Unsendable { index, .. }
            | TaskError::Decode { index, .. }
            | TaskError::Pool { index, .. } => *index,
        }
    }

    /// How the worker ended, where its death is the cause.
    pub fn report(&self) -> Option<&ExitReport> {
        match self {
            TaskError::Died { report, .. } => Some(report),
            _ => None,
        }
    }
}

/// Some tasks of a map have no result. What the others returned is here.
pub struct MapError<R> {
    /// What became of each task, in the order of the items; `None` where it had not ended.
    pub outcomes: Vec<Option<Result<R, TaskError>>>,
}

impl<R> MapError<R> {
    /// The error of the first task that failed, in the order of the items.
    pub fn first(&self) -> Option<&TaskError> {
        self.failures().next()
    }

    /// The errors of all tasks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &TaskError> {
        self.outcomes.iter().filter_map(|outcome| outcome.as_ref()?.as_ref().err())
    }
}

impl<R> fmt::Display for MapError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failures().count();
        match self.first() {
            Some(first) if failed > 1 => write!(f, "{first} (and {} of {} tasks besides)", failed - 1, self.outcomes.len()),
            Some(first) => write!(f, "{first} (the only one of {} tasks)", self.outcomes.len()),
            None => f.write_str("the map did not end"),
        }
    }
}

impl<R> fmt::Debug for MapError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures: Vec<_> = self.failures().take(8).collect();
        f.debug_struct("MapError").field("tasks", &self.outcomes.len()).field("failures", &failures).finish_non_exhaustive()
    }
}

impl<R> std::error::Error for MapError<R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.first().map(|first| first as _)
    }
}
