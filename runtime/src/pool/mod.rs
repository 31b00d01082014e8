//! Many tasks over a few processes.
//!
//! * [`Pool`]: the handle; [`map`]: what its callers wait for; [`error`]
//! * [`scheduler`]: which worker runs which tasks, as a plain state machine; [`driver`]: its hands; [`job`]: one map on its way
//! * [`worker`]: the other side; [`page`]: the memory that both sides share; [`cores`]: how many workers are right

pub(crate) mod cores;
pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod job;
pub(crate) mod map;
pub(crate) mod page;
pub(crate) mod scheduler;
pub(crate) mod worker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use driver::Shared;
use error::PoolError;
use map::{Call, Map};

use crate::actor::definition::FunctionActor;
use crate::process::{init, member};

/// Worker processes that run function actors as tasks.
///
/// The workers start with the first task, and stay. A task that kills its worker fails alone, with the exit report; the worker is
/// replaced. A pool is used from any number of tasks and threads at once, by reference or through its clones. When the last
/// clone is dropped the workers end with what they are running; nothing waits for them.
///
/// ```no_run
/// # use procession::prelude::*;
/// # #[process_actor] fn square(x: i64) -> i64 { x * x }
/// # async fn example() -> procession::Result<()> {
/// let pool = Pool::new(3)?;
/// assert_eq!(pool.map(Square, [5, 10, 15, 20, 25]).await?, [25, 100, 225, 400, 625]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: usize,
}

impl Pool {
    /// A pool of so many workers.
    ///
    /// # Errors
    ///
    /// For no workers at all, and where the program did not initialise this library.
    pub fn new(workers: usize) -> Result<Pool, PoolError> {
        Pool::builder().workers(workers).build()
    }

    /// Sets what a pool has: a worker for each usable core where nothing else is said.
    pub fn builder() -> PoolBuilder {
        PoolBuilder { workers: None, name: None }
    }

    /// Applies a function to each of `items`.
    ///
    /// Awaited, it gives what the function returned, in the order of the items; with [`outcomes`](Map::outcomes), what became of
    /// each. A task of several parameters takes tuples. All tasks are run, whether others fail or not. Dropping the future takes
    /// back what is not begun.
    ///
    /// # Errors
    ///
    /// A [`MapError`](crate::MapError) with every outcome, if any task has no result. A returned `Err` is a result like others.
    pub fn map<A: FunctionActor>(&self, actor: A, items: impl IntoIterator<Item = A::Arguments>) -> Map<A> {
        let _ = actor;
        Map { pool: self.shared.clone(), items: items.into_iter().collect(), chunk: None }
    }

    /// Runs one task.
    ///
    /// # Errors
    ///
    /// A [`TaskError`](crate::TaskError) that says why there is no result.
    pub fn call<A: FunctionActor>(&self, actor: A, arguments: A::Arguments) -> Call<A> {
        Call(self.map(actor, [arguments]))
    }

    /// Takes no more tasks. What is under way goes on; then the workers end.
    pub fn close(&self) {
        self.shared.close();
    }

    /// How many workers the pool has when it is busy.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The process ids of the workers that are alive now.
    pub fn pids(&self) -> Vec<u32> {
        self.shared.pids()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// What a pool is to have: see [`Pool::builder`].
#[derive(Clone, Debug)]
#[must_use = "there is no pool until `build` is called"]
pub struct PoolBuilder {
    workers: Option<usize>,
    name: Option<String>,
}

impl PoolBuilder {
    /// How many workers; as many as there are usable cores (by affinity and control group quota) if it is not set.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What the workers are called, each with its number, in listings, reports and `ps`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The pool.
    ///
    /// # Errors
    ///
    /// For no workers at all, and where the program did not initialise this library.
    pub fn build(self) -> Result<Pool, PoolError> {
        static POOLS: AtomicU32 = AtomicU32::new(1);
        let workers = self.workers.unwrap_or_else(cores::usable);
        if workers == 0 {
            return Err(PoolError::NoWorkers);
        }
        if member::member().is_none() {
            init::state()?;
        }
        let name = self.name.unwrap_or_else(|| format!("pool{}", POOLS.fetch_add(1, Ordering::Relaxed)));
        Ok(Pool { shared: Shared::new(workers, name)?, workers })
    }
}
