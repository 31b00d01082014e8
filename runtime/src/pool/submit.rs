//! One task at a time: [`Submit`] and [`Call`].

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::backend::{Backend, run_here};
use super::builder::nanos;
use super::bundle::{Encoded, Packed, Packer};
use super::driver::{Refused, Single};
use super::error::{Failure, PoolError, TaskError, TaskId};
use super::job::Function;
use super::scheduler::Terms;
use super::task::{Cell, OnDrop, Task, Where};
use crate::actor::definition::FunctionActor;
use crate::wait;

/// A task about to be submitted: see [`Pool::submit`](crate::Pool::submit).
#[must_use = "nothing is submitted until this is awaited (or `.blocking()` is called)"]
pub struct Submit<A: FunctionActor> {
    pub(super) backend: Backend,
    pub(super) arguments: A::Arguments,
    pub(super) terms: Terms,
}

impl<A: FunctionActor> Submit<A> {
    /// How long the task may take: as [`Map::timeout`](crate::Map::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(nanos(timeout).max(1));
        self
    }

    /// How often the task is tried again: as [`Map::retries`](crate::Map::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.terms.retries = retries;
        self
    }

    /// Waits on this thread instead of in a task of a runtime; only a pool with
    /// [`max_pending`](crate::PoolBuilder::max_pending) ever makes it wait.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    ///
    /// # Errors
    ///
    /// As awaiting it.
    #[track_caller]
    pub fn blocking(self) -> Result<Task<A::Output>, PoolError> {
        wait::refuse_async_context("submit");
        wait::forever(self.into_future())
    }
}

impl<A: FunctionActor> Submit<A> {
    /// Submits the task now or not at all.
    pub(super) fn at_once(self) -> Result<Task<A::Output>, PoolError> {
        let mut submitting = self.into_future();
        match Pin::new(&mut submitting).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(submitted) => submitted,
            Poll::Pending => Err(PoolError::Full),
        }
    }
}

impl<A: FunctionActor> IntoFuture for Submit<A> {
    type Output = Result<Task<A::Output>, PoolError>;
    type IntoFuture = Submitting<A>;

    fn into_future(self) -> Submitting<A> {
        Submitting { stage: Stage::Asked(self.backend, self.arguments, self.terms), on_drop: OnDrop::Run }
    }
}

/// The future of a [`Submit`].
#[must_use = "futures do nothing unless polled"]
pub struct Submitting<A: FunctionActor> {
    stage: Stage<A>,
    on_drop: OnDrop,
}

enum Stage<A: FunctionActor> {
    Asked(Backend, A::Arguments, Terms),
    /// The argument is encoded, and the pool takes no more for now.
    Waiting(Backend, Single),
    Over,
}

impl<A: FunctionActor> Unpin for Submitting<A> {}

impl<A: FunctionActor> Future for Submitting<A> {
    type Output = Result<Task<A::Output>, PoolError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let on_drop = self.on_drop;
        let (backend, single) = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Asked(Backend::Here, arguments, _) => return Poll::Ready(Ok(here::<A>(arguments, on_drop))),
            Stage::Asked(backend, arguments, terms) => match encode::<A>(arguments, terms) {
                Ok(Ok(single)) => (backend, single),
                Ok(Err(failure)) => return Poll::Ready(Ok(failed(failure, on_drop))),
                Err(error) => return Poll::Ready(Err(PoolError::clone(&error))),
            },
            Stage::Waiting(backend, single) => (backend, single),
            Stage::Over => panic!("a `Submit` was polled after it was ready"),
        };
        match backend.submit(&single, on_drop != OnDrop::Run, context.waker()) {
            Ok((id, cell, place)) => Poll::Ready(Ok(Task::new(id, cell, place, on_drop))),
            Err(Refused::Over(error)) => Poll::Ready(Err(PoolError::clone(&error))),
            Err(Refused::Full) => {
                self.stage = Stage::Waiting(backend, single);
                Poll::Pending
            }
        }
    }
}

/// The task, ready to travel; or why it cannot.
fn encode<A: FunctionActor>(arguments: A::Arguments, terms: Terms) -> Result<Result<Single, Failure>, Arc<PoolError>> {
    let function = Function::of::<A>()?;
    let mut packer = Packer::plain::<A::Arguments>();
    let packed = catch_unwind(AssertUnwindSafe(|| packer.pack(arguments))).or_else(|panic| match packer.recover::<A::Arguments>() {
        Some(error) => Ok(Packed::Refused(error)),
        None => Err(panic),
    });
    let argument: Option<Encoded> = match packed.unwrap_or_else(|panic| resume_unwind(panic)) {
        Packed::Room | Packed::Full => packer.take(),
        Packed::Alone(alone) => Some(alone),
        Packed::Refused(error) => return Ok(Err(Failure::Encode(Arc::new(error)))),
    };
    let argument = argument.ok_or_else(|| Arc::new(PoolError::Closed))?;
    // One at a time, so that one alone can be cancelled.
    let terms = Terms { cap: function.cap, chunk: Some(1), ..terms };
    Ok(Ok(Single { function, terms, argument }))
}

/// A task that has failed before it was one.
fn failed<R: crate::link::value::Message>(failure: Failure, on_drop: OnDrop) -> Task<R> {
    let cell = Arc::new(Cell::default());
    cell.fail(TaskError::new(0, 0, 0, failure));
    Task::new(TaskId { job: 0, index: 0 }, cell, Where::Ended, on_drop)
}

/// Runs the task on this thread, at once.
fn here<A: FunctionActor>(arguments: A::Arguments, on_drop: OnDrop) -> Task<A::Output> {
    match run_here::<A>(arguments) {
        Ok(value) => {
            let cell = Arc::new(Cell::default());
            cell.put(value);
            Task::new(TaskId { job: 0, index: 0 }, cell, Where::Ended, on_drop)
        }
        Err(failure) => failed(failure, on_drop),
    }
}

/// One task about to be run: see [`Pool::call`](crate::Pool::call).
#[must_use = "nothing is run until this is awaited (or `.blocking()` is called)"]
pub struct Call<A: FunctionActor> {
    pub(super) submit: Submit<A>,
    pub(super) on_drop: OnDrop,
}

impl<A: FunctionActor> Call<A> {
    /// How long the task may take: as [`Map::timeout`](crate::Map::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.submit = self.submit.timeout(timeout);
        self
    }

    /// How often the task is tried again: as [`Map::retries`](crate::Map::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.submit = self.submit.retries(retries);
        self
    }

    /// Dropping the future cancels the task also where it runs already, as [`Task::cancel`](crate::Task::cancel) does.
    pub fn cancel_on_drop(mut self) -> Self {
        self.on_drop = OnDrop::Cancel;
        self
    }

    /// Waits on this thread instead of in a task of a runtime.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    ///
    /// # Errors
    ///
    /// As awaiting it.
    #[track_caller]
    pub fn blocking(self) -> Result<A::Output, TaskError> {
        wait::refuse_async_context("call");
        wait::forever(self.into_future())
    }
}

impl<A: FunctionActor> IntoFuture for Call<A> {
    type Output = Result<A::Output, TaskError>;
    type IntoFuture = Calling<A>;

    fn into_future(self) -> Calling<A> {
        let mut submitting = self.submit.into_future();
        submitting.on_drop = self.on_drop;
        Calling { submitting, task: None, call: PhantomData }
    }
}

/// The future of a [`Call`].
#[must_use = "futures do nothing unless polled"]
pub struct Calling<A: FunctionActor> {
    submitting: Submitting<A>,
    task: Option<Task<A::Output>>,
    call: PhantomData<A>,
}

impl<A: FunctionActor> Unpin for Calling<A> {}

impl<A: FunctionActor> Future for Calling<A> {
    type Output = Result<A::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(task) = &mut this.task {
                return Pin::new(task).poll(context);
            }
            match Pin::new(&mut this.submitting).poll(context) {
                Poll::Ready(Ok(task)) => this.task = Some(task),
                Poll::Ready(Err(error)) => {
                    let failure = Failure::Pool(Arc::new(error));
                    return Poll::Ready(Err(TaskError::new(0, 0, 0, failure)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

macro_rules! opaque {
    ($($name:ident)*) => {$(
        impl<A: FunctionActor> fmt::Debug for $name<A> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
opaque! { Submit Submitting Call Calling }
