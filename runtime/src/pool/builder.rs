//! What a pool is to have.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::backend::Backend;
use super::driver::{Plan, Shared};
use super::error::{Failure, PoolError};
use super::job::Function;
use super::page::Form;
use super::part::open_one;
use super::scheduler::{Settings, Terms};
use super::worker::{Setup, Verdict};
use super::{Handle, Pool, cores};
use crate::actor::definition::FunctionActor;
use crate::link::parcel::Parcel;
use crate::link::value::EncodeError;
use crate::link::value::Names;
use crate::process::limits::Limits;
use crate::process::{init, member};

/// What an initializer may return: nothing, or nothing or an error.
#[diagnostic::on_unimplemented(
    message = "a pool's initializer returns nothing, or a `Result` of nothing",
    note = "an initializer keeps what it makes with `procession::worker_state::set`; it returns `()` or `Result<(), E>`"
)]
pub trait Initialised {
    #[doc(hidden)]
    fn verdict(self) -> Result<(), String>;
}

impl Initialised for () {
    fn verdict(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> Initialised for Result<(), E> {
    fn verdict(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// What a pool is to have: see [`Pool::builder`].
#[derive(Debug)]
#[must_use = "there is no pool until `build` is called"]
pub struct PoolBuilder {
    most: Option<usize>,
    least: usize,
    idle: Option<Duration>,
    tasks_per_worker: Option<u64>,
    memory: Option<u64>,
    restarts: Option<(usize, Duration)>,
    task_timeout: Option<Duration>,
    task_grace: Duration,
    retries: u32,
    max_pending: usize,
    concurrency: usize,
    name: Option<String>,
    limits: Limits,
    initializer: Option<(u32, Parcel)>,
    verdict: Option<Verdict>,
    wrong: Option<PoolError>,
}

/// As the scheduler counts time.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl PoolBuilder {
    pub(super) fn new() -> PoolBuilder {
        PoolBuilder {
            most: None,
            least: 0,
            idle: None,
            tasks_per_worker: None,
            memory: None,
            restarts: None,
            task_timeout: None,
            task_grace: Duration::from_millis(100),
            retries: 0,
            max_pending: usize::MAX,
            concurrency: 1,
            name: None,
            limits: Limits::default(),
            initializer: None,
            verdict: None,
            wrong: None,
        }
    }

    /// How many workers; as many as there are usable cores (by affinity and control group quota) if it is not set. They are started
    /// as there is work for them, and stay.
    pub fn workers(mut self, workers: usize) -> Self {
        self.most = Some(workers);
        self
    }

    /// The same as [`workers`](PoolBuilder::workers), beside [`min_workers`](PoolBuilder::min_workers).
    pub fn max_workers(self, workers: usize) -> Self {
        self.workers(workers)
    }

    /// So many workers are started at once and kept, also where there is nothing to do. None if it is not set.
    pub fn min_workers(mut self, workers: usize) -> Self {
        self.least = workers;
        self
    }

    /// A worker that has had nothing to do for so long ends, down to [`min_workers`](PoolBuilder::min_workers). If it is not set they
    /// stay.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = Some(timeout);
        self
    }

    /// A worker is replaced after so many tasks: for functions that leak.
    pub fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.tasks_per_worker = Some(tasks);
        if tasks == 0 {
            self.wrong = Some(PoolError::NoTasks);
        }
        self
    }

    /// A worker is replaced, after the batch that it runs, when it has more than so many bytes of memory resident that are its own.
    /// Unlike [`memory_limit`](PoolBuilder::memory_limit) this fails nothing.
    pub fn recycle_above(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Runs a function actor in each worker before its first task, with a copy of `arguments`. What it keeps with
    /// [`worker_state::set`](crate::worker_state::set), the tasks find there. If it fails or panics the worker is
    /// replaced, each time after a longer pause; after five in a row the pool ends with
    /// [`PoolError::Initializer`](crate::PoolError::Initializer).
    pub fn initializer<A: FunctionActor>(mut self, actor: A, arguments: A::Arguments) -> Self
    where
        A::Output: Initialised,
    {
        let _ = actor;
        match (Function::of::<A>(), Parcel::of(arguments)) {
            (Ok(function), Ok(parcel)) => self.initializer = Some((function.entry, parcel)),
            (Err(error), _) => self.wrong = Some(PoolError::clone(&error)),
            (_, Err(error)) => self.wrong = Some(cannot_be_sent(error)),
        }
        self.verdict = Some(|flags, bytes| match open_one::<A::Output>(flags, bytes, &Names::new()) {
            Ok(output) => output.verdict(),
            Err(error) => Err(error.to_string()),
        });
        self
    }

    /// How long a task may take, where its map or submit does not say otherwise: as [`Map::timeout`](crate::Map::timeout).
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.task_timeout = Some(timeout);
        self
    }

    /// How long a task has from being asked to stop, because its time is up or it was cancelled, until its worker is killed. 100 ms if
    /// it is not set.
    pub fn task_grace(mut self, grace: Duration) -> Self {
        self.task_grace = grace;
        self
    }

    /// How often a task is tried again, where its map or submit does not say otherwise: as [`Map::retries`](crate::Map::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// More deaths of workers than this within so long end the pool, with [`PoolError::Restarts`](crate::PoolError::Restarts). If it
    /// is not set, only workers that die before they run anything do: five in a row.
    pub fn max_restarts(mut self, deaths: usize, within: Duration) -> Self {
        self.restarts = Some((deaths, within));
        self
    }

    /// [`submit`](Pool::submit) waits while so many submitted tasks have not ended. If it is not set it never waits.
    pub fn max_pending(mut self, tasks: usize) -> Self {
        self.max_pending = tasks.max(1);
        self
    }

    /// Each worker runs so many async tasks at once, as one thread does: for tasks that wait more than they compute. One that is to stop,
    /// because its time is up or it was cancelled, is dropped at its next `.await`. Where a worker dies, all tasks that it had begun
    /// have failed, and are tried again while their retries last. One if it is not set.
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks.clamp(1, 4096);
        self
    }

    /// What the workers are called, each with its number, in listings, reports and `ps`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    crate::__limit_methods!(self, self.limits);

    /// The pool.
    ///
    /// # Errors
    ///
    /// For no workers at all, and where the program did not initialise this library.
    pub fn build(self) -> Result<Pool, PoolError> {
        static POOLS: AtomicU32 = AtomicU32::new(1);
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let most = self.most.unwrap_or_else(cores::usable);
        if most == 0 {
            return Err(PoolError::NoWorkers);
        }
        if member::member().is_none() {
            init::state()?;
        }
        let settings = Settings {
            least: self.least.min(most),
            most,
            idle: self.idle.map(nanos),
            tasks_per_worker: self.tasks_per_worker,
            memory: self.memory,
            restarts: self.restarts.map(|(deaths, within)| (deaths, nanos(within))),
            grace: nanos(self.task_grace),
            lane: Form::lane(self.concurrency),
        };
        let plan = Plan {
            name: self.name.unwrap_or_else(|| format!("pool{}", POOLS.fetch_add(1, Ordering::Relaxed))),
            limits: self.limits,
            setup: Setup {
                initializer: self.initializer,
                concurrency: self.concurrency,
                weighed: self.memory.is_some(),
                ..Setup::default()
            },
            verdict: self.verdict,
            max_pending: self.max_pending,
        };
        let terms = Terms { timeout: self.task_timeout.map(|timeout| nanos(timeout).max(1)), retries: self.retries, ..Terms::default() };
        Ok(Pool { handle: Arc::new(Handle(Backend::Workers(Shared::new(settings, plan)?))), terms })
    }
}

fn cannot_be_sent(error: EncodeError) -> PoolError {
    PoolError::Remote(format!("the initializer's arguments cannot be sent: {}", Failure::Encode(Arc::new(error))))
}
