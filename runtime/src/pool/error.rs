//! What can go wrong in a pool: with the pool, with one task, with a map.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// A worker that may run no task would never run any.
    #[error("`max_tasks_per_worker` is at least 1")]
    NoTasks,
    /// The program did not initialise this library.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A worker could not be started.
    #[error("a worker of the pool could not be started: {0}")]
    Spawn(Arc<SpawnError>),
    /// The initializer failed, again and again.
    #[error("the pool has given up: its initializer failed in {attempts} workers in a row; in the last: {last}")]
    Initializer {
        /// In how many.
        attempts: usize,
        /// What it said in the last.
        last: String,
    },
    /// Workers died one after the other before any of them finished a task, or even began one.
    #[error("the pool has given up: {deaths} workers in a row died before they ran anything; the last: {last}")]
    CrashLoop {
        /// How many.
        deaths: usize,
        /// How the last one ended.
        last: Arc<ExitReport>,
    },
    /// More workers died than `max_restarts` allows.
    #[error("the pool has given up: {deaths} workers died within {within:?}, more than `max_restarts` allows; the last: {last}")]
    Restarts {
        /// How many.
        deaths: usize,
        /// Within how long.
        within: Duration,
        /// How the last one ended.
        last: Arc<ExitReport>,
    },
    /// Too many tasks wait for their own pool at once.
    #[error(
        "{limit} tasks of the pool wait for tasks of the same pool already, each in a process of its own, and that is the limit: \
         submit from outside, or nest less deep"
    )]
    TooDeep {
        /// How many may.
        limit: usize,
    },
    /// A system call failed in this process.
    #[error("the pool failed: {0}")]
    Io(Arc<std::io::Error>),
    /// [`try_submit`](crate::Pool::try_submit): as many submitted tasks as [`max_pending`](crate::PoolBuilder::max_pending) allows have not
    /// ended.
    #[error("the pool has as many tasks as `max_pending` allows: try again when one has ended, or wait with `submit`")]
    Full,
    /// `close` was called, or the pool's last handle was dropped.
    #[error("the pool is closed: it takes no more tasks")]
    Closed,
    /// `terminate` was called.
    #[error("the pool was terminated")]
    Terminated,
    /// The process that made the pool cannot be reached any more.
    #[error("the pool's process is gone: {0}")]
    Gone(String),
    /// What went wrong in the process that made the pool.
    #[error("{0}")]
    Remote(String),
}

impl From<std::io::Error> for PoolError {
    fn from(error: std::io::Error) -> PoolError {
        PoolError::Io(Arc::new(error))
    }
}

/// Which task of a pool: unique in the pool's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    pub(crate) job: u64,
    pub(crate) index: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.index)
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("task {index} {failure}{}", Attempts(*.attempts))]
#[non_exhaustive]
pub struct TaskError {
    /// The task's place among the items of its map, counting from 0.
    pub index: usize,
    /// Which task of the pool.
    pub id: TaskId,
    /// How often it was begun, or would have been.
    pub attempts: u32,
    /// What went wrong in the last attempt.
    #[source]
    pub failure: Failure,
}

/// What went wrong with a task.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Failure {
    /// The worker died while it ran the task.
    #[error("failed: {0}")]
    Died(Arc<ExitReport>),
    /// The task took longer than it may. If it did not stop when asked, its worker was killed.
    #[error("was not done after {after:?}{}", Killed(.report))]
    TimedOut {
        /// How long it was given.
        after: Duration,
        /// How its worker ended, if it had to be killed.
        report: Option<Arc<ExitReport>>,
    },
    /// It was cancelled.
    #[error("was cancelled")]
    Cancelled,
    /// The function panicked. Its worker lives on.
    #[error("panicked{}: {}", Place(.0), .0.message)]
    Panicked(Arc<Panic>),
    /// The argument cannot be sent; the task did not run.
    #[error("was not run: {0}")]
    Encode(Arc<EncodeError>),
    /// The worker could not read the argument; the function did not run.
    #[error("was not run: its worker could not read the argument: {0}")]
    Rejected(Arc<DecodeError>),
    /// The function returned, but its result cannot be sent.
    #[error("has lost its result: {0}")]
    Unsendable(Arc<EncodeError>),
    /// The result arrived and cannot be read.
    #[error("has a result that cannot be read: {0}")]
    Decode(Arc<DecodeError>),
    /// The pool ended, or was closed, before the task ran to its end.
    #[error("was not run: {0}")]
    Pool(#[serde(with = "as_text")] Arc<PoolError>),
}

/// A pool's error in another process: its text.
mod as_text {
    use super::{Arc, PoolError};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(error: &Arc<PoolError>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(error)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<PoolError>, D::Error> {
        Ok(Arc::new(PoolError::Remote(String::deserialize(deserializer)?)))
    }
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

struct Killed<'a>(&'a Option<Arc<ExitReport>>);

impl fmt::Display for Killed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(report) => write!(f, ", did not stop when asked, and its worker was killed: {report}"),
            None => f.write_str(" and stopped when asked"),
        }
    }
}

struct Attempts(u32);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 { write!(f, " (the last of {} attempts)", self.0) } else { Ok(()) }
    }
}

impl TaskError {
    pub(crate) fn new(job: u64, index: usize, attempts: u32, failure: Failure) -> TaskError {
        TaskError { index, id: TaskId { job, index: index as u64 }, attempts, failure }
    }

    /// How the worker ended, where its death is the cause.
    pub fn report(&self) -> Option<&ExitReport> {
        match &self.failure {
            Failure::Died(report) | Failure::TimedOut { report: Some(report), .. } => Some(report),
            _ => None,
        }
    }

    /// Whether the task took longer than it may.
    pub fn is_timeout(&self) -> bool {
        matches!(self.failure, Failure::TimedOut { .. })
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.failure, Failure::Cancelled)
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
