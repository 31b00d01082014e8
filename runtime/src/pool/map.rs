//! A function over many items: [`Map`] and what its callers wait for.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::backend::Backend;
use super::builder::nanos;
use super::error::{MapError, TaskError};
use super::gather::Gathered;
use super::input::Input;
use super::part::Opened;
use super::progress::{self, Progress, Watch};
use super::results::Results;
use super::scheduler::Terms;
use super::work::{RetryIf, Work};
use crate::actor::definition::FunctionActor;
use crate::wait;

/// A function about to be applied to many items: see [`Pool::map`](crate::Pool::map).
#[must_use = "nothing is run until this is awaited (or `.blocking()` is called)"]
pub struct Map<A: FunctionActor, I> {
    pub(super) backend: Backend,
    pub(super) items: I,
    pub(super) terms: Terms,
    pub(super) retry_if: Option<RetryIf<A::Output>>,
    pub(super) fail_fast: bool,
    pub(super) watch: Vec<Box<dyn Watch>>,
}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Map<A, I> {
    pub(super) fn new(backend: Backend, items: I, terms: Terms) -> Self {
        Map { backend, items, terms, retry_if: None, fail_fast: false, watch: Vec::new() }
    }

    /// Workers take the tasks so many at a time, instead of by what they cost. One at a time is right for few, long tasks of very
    /// different lengths; a task behind a slow one is then never bound to it.
    pub fn chunk(mut self, tasks: usize) -> Self {
        self.terms.chunk = Some(tasks.max(1));
        self
    }

    /// How long each task may take. One that takes longer is asked to stop ([`stop_requested`](crate::Current::stop_requested));
    /// after the pool's grace its worker is killed. Its neighbours are not concerned.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(nanos(timeout).max(1));
        self
    }

    /// How often a task is tried again that killed its worker or took too long, besides the first attempt.
    pub fn retries(mut self, retries: u32) -> Self {
        self.terms.retries = retries;
        self
    }

    /// Tries a task again also for what it returned, as long as its [`retries`](Map::retries) last: `|result| result.is_err()`.
    pub fn retry_if(mut self, retry: impl Fn(&A::Output) -> bool + Send + 'static) -> Self {
        self.retry_if = Some(Box::new(retry));
        self
    }

    /// Ends with the first failure: what is not begun then is not run, and the error holds what had ended by then.
    pub fn fail_fast(mut self) -> Self {
        self.fail_fast = true;
        self
    }

    /// Calls `each` whenever a task has ended.
    pub fn on_progress(mut self, each: impl FnMut(&Progress) + Send + 'static) -> Self {
        self.watch.push(progress::calls(each));
        self
    }

    /// Draws a bar with this label on the terminal: how many tasks are done, how fast, how long it will take, and failures. Where
    /// stderr is no terminal nothing is drawn.
    #[cfg(feature = "progress")]
    pub fn progress(mut self, label: impl Into<String>) -> Self {
        self.watch.push(progress::bar(label.into()));
        self
    }

    /// Gives what became of each task, instead of one error for all.
    pub fn outcomes(self) -> Outcomes<A, I> {
        Outcomes(self)
    }

    /// Gives results one by one, while others are being computed. Items are taken only as fast as results are: the input may be
    /// endless.
    pub fn stream(self) -> Results<A, I> {
        Results::new(self)
    }

    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there. With what the iterator panics with, when the tasks
    /// before that have ended.
    ///
    /// # Errors
    ///
    /// As awaiting it.
    #[track_caller]
    pub fn blocking(self) -> Result<Vec<A::Output>, MapError<A::Output>> {
        wait::refuse_async_context("map");
        wait::forever(self.into_future())
    }
}

/// A map that gives what became of each task: see [`Map::outcomes`].
#[must_use = "nothing is run until this is awaited (or `.blocking()` is called)"]
pub struct Outcomes<A: FunctionActor, I>(Map<A, I>);

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Outcomes<A, I> {
    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// As [`Map::blocking`].
    #[track_caller]
    pub fn blocking(self) -> Vec<Result<A::Output, TaskError>> {
        wait::refuse_async_context("map");
        wait::forever(self.into_future())
    }
}

/// The future of a map, before its results have their form.
struct Gathering<A: FunctionActor, I> {
    work: Work<A, I>,
    gathered: Option<Gathered<A::Output>>,
    fail_fast: bool,
    watch: Vec<Box<dyn Watch>>,
    progress: Progress,
}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Gathering<A, I> {
    fn new(map: Map<A, I>) -> Self {
        let Map { backend, items, terms, retry_if, fail_fast, watch } = map;
        let progress = Progress::of(&items);
        let work = Work::new(backend, terms, items, retry_if);
        let gathered = Some(Gathered::new(work.expected()));
        Gathering { work, gathered, fail_fast, watch, progress }
    }

    /// Polls until all results are there.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Gathered<A::Output>> {
        loop {
            let opened: Option<Opened<A::Output>> = ready!(self.work.poll(context, false));
            let (Some(opened), Some(gathered)) = (opened, &mut self.gathered) else { break };
            self.progress.advance(&opened, &self.work, &mut self.watch);
            gathered.take(opened);
            if self.fail_fast && gathered.has_failed() {
                break;
            }
        }
        if self.work.over().is_some() {
            self.work.forgo(context);
        }
        Poll::Ready(self.gathered.take().unwrap_or_else(|| Gathered::new(0)))
    }
}

/// The future of a [`Map`].
#[must_use = "futures do nothing unless polled"]
pub struct MapFuture<A: FunctionActor, I>(Gathering<A, I>);

/// The future of a map's [`Outcomes`].
#[must_use = "futures do nothing unless polled"]
pub struct OutcomesFuture<A: FunctionActor, I>(Gathering<A, I>);

// Nothing in them is ever pinned.
impl<A: FunctionActor, I> Unpin for MapFuture<A, I> {}
impl<A: FunctionActor, I> Unpin for OutcomesFuture<A, I> {}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Future for MapFuture<A, I> {
    type Output = Result<Vec<A::Output>, MapError<A::Output>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gathered = ready!(self.0.poll(context));
        Poll::Ready(gathered.values(self.0.work.taken(), self.0.work.over()))
    }
}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Future for OutcomesFuture<A, I> {
    type Output = Vec<Result<A::Output, TaskError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gathered = ready!(self.0.poll(context));
        Poll::Ready(gathered.outcomes(self.0.work.taken(), self.0.work.over()))
    }
}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> IntoFuture for Map<A, I> {
    type Output = Result<Vec<A::Output>, MapError<A::Output>>;
    type IntoFuture = MapFuture<A, I>;

    fn into_future(self) -> Self::IntoFuture {
        MapFuture(Gathering::new(self))
    }
}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> IntoFuture for Outcomes<A, I> {
    type Output = Vec<Result<A::Output, TaskError>>;
    type IntoFuture = OutcomesFuture<A, I>;

    fn into_future(self) -> Self::IntoFuture {
        OutcomesFuture(Gathering::new(self.0))
    }
}

macro_rules! opaque {
    ($($name:ident)*) => {$(
        impl<A: FunctionActor, I> fmt::Debug for $name<A, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
opaque! { Map Outcomes MapFuture OutcomesFuture }
