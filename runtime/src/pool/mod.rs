//! Many tasks over a few processes.
//!
//! * [`Pool`]: the handle; [`builder`]; [`map`], [`results`], [`submit`], [`task`] and [`several`]: what its
//!   callers wait for; [`error`],
//!   [`stats`], [`progress`]
//! * [`work`]: a job from its owner's side: [`input`] in, [`bundle`]s to the pool, [`part`]s back, [`gather`]ed into place
//! * [`scheduler`]: which worker runs which tasks, as a plain state machine; [`driver`]: its hands; [`job`]: what both know of a
//!   job; [`backend`]: who it is that runs tasks; [`remote`] and [`counter`]: a pool from other processes, both ends
//! * [`worker`]: the other side; [`worker_state`]: what it keeps; [`page`]: the memory that both sides share; [`cores`]: how many
//!   workers are right

pub(crate) mod backend;
pub(crate) mod builder;
pub(crate) mod bundle;
pub(crate) mod cores;
pub(crate) mod counter;
pub(crate) mod driver;
pub(crate) mod error;
pub(crate) mod gather;
pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod map;
pub(crate) mod page;
pub(crate) mod part;
pub(crate) mod progress;
pub(crate) mod remote;
pub(crate) mod results;
pub(crate) mod scheduler;
pub(crate) mod several;
pub(crate) mod stats;
pub(crate) mod submit;
pub(crate) mod task;
pub(crate) mod work;
pub(crate) mod worker;
pub mod worker_state;

use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use backend::Backend;
use builder::PoolBuilder;
use error::PoolError;
use futures_core::Stream;
use input::{Items, Streamed};
use map::Map;
use results::Results;
use scheduler::Terms;
use stats::{Stats, WorkerInfo};
use submit::{Call, Submit};
use task::{OnDrop, Task};

use crate::actor::definition::FunctionActor;
use crate::wait;

/// Worker processes that run function actors as tasks.
///
/// The workers start with the first tasks, as many as there is work for, and stay. A task that kills its worker fails alone, with the
/// exit report; the worker is replaced. A pool is used from any number of tasks and threads at once, by reference or through its
/// clones, and from other processes: the handle can be sent in messages and as an argument, also to the pool's own tasks. A task that
/// waits for its own pool does not count as a worker meanwhile, and another process takes its place, up to 256 at once; beyond
/// that, it gets an error.
///
/// Handles elsewhere do not keep the pool. Dropping the last clone here never blocks: what was submitted is done all the same, and the end of `main` waits for that, no
/// longer than five seconds.
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
    handle: Arc<Handle>,
    terms: Terms,
}

/// What a pool's clones share; the pool closes with the last of them.
struct Handle(Backend);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abandon();
    }
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
        PoolBuilder::new()
    }

    /// A pool without processes: tasks are run by whoever waits for them, on that thread, one after the other. For debuggers, miri and
    /// unit tests. Timeouts and retries have no effect, and a crash is the program's own.
    pub fn in_process() -> Pool {
        Pool { handle: Arc::new(Handle(Backend::Here)), terms: Terms::default() }
    }

    /// Applies a function to each of `items`.
    ///
    /// Awaited, it gives what the function returned, in the order of the items; with [`outcomes`](Map::outcomes), what became of
    /// each; with [`stream`](Map::stream), results one by one. A task of several parameters takes tuples. All tasks are run,
    /// whether others fail or not, unless [`fail_fast`](Map::fail_fast) is set. Dropping the future takes back what is not begun.
    ///
    /// # Errors
    ///
    /// A [`MapError`](crate::MapError) with every outcome, if any task has no result. A returned `Err` is a result like others.
    pub fn map<A: FunctionActor, T: IntoIterator<Item = A::Arguments>>(&self, actor: A, items: T) -> Map<A, Items<T::IntoIter>> {
        let _ = actor;
        Map::new(self.handle.0.clone(), Items(items.into_iter()), self.terms.clone())
    }

    /// Applies a function to each of `items`, which may be endless, and gives the results one by one: `map` with
    /// [`stream`](Map::stream).
    pub fn stream<A: FunctionActor, T: IntoIterator<Item = A::Arguments>>(&self, actor: A, items: T) -> Results<A, Items<T::IntoIter>> {
        self.map(actor, items).stream()
    }

    /// Applies a function to each item of a stream.
    pub fn map_stream<A: FunctionActor, S: Stream<Item = A::Arguments>>(&self, actor: A, items: S) -> Map<A, Streamed<S>> {
        let _ = actor;
        Map::new(self.handle.0.clone(), Streamed(Box::pin(items)), self.terms.clone())
    }

    /// Submits one task and gives a handle to it. It is run whether anybody waits for it or not.
    ///
    /// # Errors
    ///
    /// If the pool is closed or has ended. What goes wrong with the task itself, its handle tells.
    pub fn submit<A: FunctionActor>(&self, actor: A, arguments: A::Arguments) -> Submit<A> {
        let _ = actor;
        Submit { backend: self.handle.0.clone(), arguments, terms: self.terms.clone() }
    }

    /// Submits one task without waiting: in a server, to say 'overloaded' instead.
    ///
    /// # Errors
    ///
    /// As [`submit`](Pool::submit), and [`PoolError::Full`] where that would wait; the task is not run then.
    pub fn try_submit<A: FunctionActor>(&self, actor: A, arguments: A::Arguments) -> Result<Task<A::Output>, PoolError> {
        self.submit(actor, arguments).at_once()
    }

    /// Runs one task and gives its result. Dropping the future takes the task back if it is not begun.
    ///
    /// # Errors
    ///
    /// A [`TaskError`](crate::TaskError) that says why there is no result.
    pub fn call<A: FunctionActor>(&self, actor: A, arguments: A::Arguments) -> Call<A> {
        Call { submit: self.submit(actor, arguments), on_drop: OnDrop::TakeBack }
    }

    /// Takes no more tasks from now on. Those it has are done; then the workers end. To wait for that, await what it returns.
    pub fn close(&self) -> Closing {
        self.handle.0.close();
        Closing(self.handle.clone())
    }

    /// Ends the pool now: workers are killed, and tasks that have not ended fail with [`PoolError::Terminated`]. To wait until the
    /// processes are gone, await what it returns.
    pub fn terminate(&self) -> Closing {
        self.handle.0.terminate();
        Closing(self.handle.clone())
    }

    /// From now on the pool has so many workers when it is busy, at least one. Those that are too many finish what they run.
    pub fn resize(&self, workers: usize) {
        self.handle.0.resize(workers);
    }

    /// What the pool is doing and has done. Known only in the process that made it; elsewhere all is zero.
    pub fn stats(&self) -> Stats {
        match &self.handle.0 {
            Backend::Workers(shared) => shared.look(|state| {
                let sketch = state.sketch();
                sketch.tally.stats(sketch.waiting, sketch.given, sketch.restarts, sketch.workers, driver::now())
            }),
            Backend::Elsewhere(_) | Backend::Here => Stats::default(),
        }
    }

    /// The workers that are alive now. Known only in the process that made the pool; elsewhere there are none.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        match &self.handle.0 {
            Backend::Workers(shared) => shared.look(|state| {
                let info = |account: driver::Account| {
                    let driver::Account { pid, tasks, busy, parked } = account;
                    WorkerInfo { pid, tasks, busy, parked }
                };
                state.accounts().into_iter().map(info).collect()
            }),
            Backend::Elsewhere(_) | Backend::Here => Vec::new(),
        }
    }

    /// The process ids of the workers that are alive now.
    pub fn pids(&self) -> Vec<u32> {
        self.workers().iter().map(|worker| worker.pid).collect()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.workers().len()).finish_non_exhaustive()
    }
}

/// A pool on its way to its end: see [`Pool::close`] and [`Pool::terminate`]. Awaited, it waits until its processes are gone.
pub struct Closing(Arc<Handle>);

impl Closing {
    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) {
        wait::refuse_async_context("close");
        wait::forever(self.into_future());
    }
}

impl IntoFuture for Closing {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(poll_fn(move |context| self.0.0.poll_gone(context)))
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}
