//! Single tasks: [`Pool::submit`](crate::Pool::submit) and its handle, [`Task`].

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::driver::Seat;
use super::error::{Failure, PoolError, TaskError, TaskId};
use super::part::{Body, Odd, Part, open_odd, open_one, ranges};
use crate::link::frame::Flags;
use crate::link::library::lock;
use crate::link::value::Message;
use crate::link::value::Names;
use crate::wait;

/// What came of one task.
#[derive(Debug)]
enum Content {
    Value(Flags, Arc<Vec<u8>>, Range<usize>, Arc<Names>),
    Odd(Odd, Arc<Names>),
    Failed(TaskError),
    /// A value that never left this process.
    Here(Box<dyn std::any::Any + Send>),
}

#[derive(Debug, Default)]
struct Slot {
    content: Option<Content>,
    done: bool,
    waker: Option<Waker>,
}

/// Where one task's result is left for its handle.
#[derive(Debug, Default)]
pub(crate) struct Cell(Mutex<Slot>);

impl Cell {
    fn fill(&self, content: Content) -> Option<Waker> {
        let mut slot = lock(&self.0);
        if slot.done {
            return None;
        }
        slot.done = true;
        slot.content = Some(content);
        slot.waker.take()
    }

    /// The task has failed; false where it had ended before.
    pub(crate) fn fail(&self, error: TaskError) -> bool {
        if self.is_done() {
            return false;
        }
        if let Some(waker) = self.fill(Content::Failed(error)) {
            waker.wake();
        }
        true
    }

    /// The only task of a part.
    pub(crate) fn take(&self, part: Result<Part, Arc<PoolError>>) {
        let content = match part {
            Ok(Part::Results { mut odd, .. }) => odd.remove(&0).map(|odd| Content::Odd(odd, Arc::default())),
            Ok(Part::Failed(error)) => Some(Content::Failed(error)),
            Err(error) => Some(Content::Failed(TaskError::new(0, 0, 0, Failure::Pool(error)))),
        };
        let lost = || Content::Failed(TaskError::new(0, 0, 1, Failure::Decode(Arc::new(super::part::lost::<()>()))));
        if let Some(waker) = self.fill(content.unwrap_or_else(lost)) {
            waker.wake();
        }
    }

    /// A value that needs no decoding.
    pub(crate) fn put<R: Send + 'static>(&self, value: R) {
        self.fill(Content::Here(Box::new(value)));
    }

    pub(crate) fn is_done(&self) -> bool {
        lock(&self.0).done
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Content> {
        let mut slot = lock(&self.0);
        if let Some(content) = slot.content.take() {
            return Poll::Ready(content);
        }
        match &mut slot.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// The cells of a job's tasks that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    first: usize,
    cells: VecDeque<Option<Arc<Cell>>>,
}

impl Cells {
    /// A cell for the next task, and the task's number.
    pub(crate) fn add(&mut self, cell: Arc<Cell>) -> usize {
        self.cells.push_back(Some(cell));
        self.first + self.cells.len() - 1
    }

    fn take(&mut self, index: usize) -> Option<Arc<Cell>> {
        let cell = self.cells.get_mut(index.checked_sub(self.first)?)?.take();
        while let Some(None) = self.cells.front() {
            self.cells.pop_front();
            self.first += 1;
        }
        cell
    }

    pub(crate) fn deliver(&mut self, part: Part, width: Option<usize>, wakers: &mut Vec<Waker>) {
        match part {
            Part::Failed(error) => {
                let cell = self.take(error.index);
                wakers.extend(cell.and_then(|cell| cell.fill(Content::Failed(error))));
            }
            Part::Results { job, start, done, body, mut odd, .. } => {
                let (bytes, names) = match body {
                    Body::Bytes(bytes, names) => (bytes, names),
                    Body::Numbers(_) => Default::default(),
                };
                for (place, range) in ranges(&bytes, width, done).enumerate() {
                    let content = match (odd.remove(&place), range) {
                        (Some(Odd::Void), _) => continue,
                        (Some(odd), _) => Content::Odd(odd, names.clone()),
                        (None, Some((flags, range))) => Content::Value(flags, bytes.clone(), range, names.clone()),
                        (None, None) => {
                            let failure = Failure::Decode(Arc::new(super::part::lost::<()>()));
                            Content::Failed(TaskError::new(job, start + place, 1, failure))
                        }
                    };
                    wakers.extend(self.take(start + place).and_then(|cell| cell.fill(content)));
                }
            }
        }
    }

    pub(crate) fn end(&mut self, job: u64, error: &Arc<PoolError>, wakers: &mut Vec<Waker>) {
        for (place, cell) in std::mem::take(&mut self.cells).into_iter().enumerate() {
            let failed = TaskError::new(job, self.first + place, 0, Failure::Pool(error.clone()));
            wakers.extend(cell.and_then(|cell| cell.fill(Content::Failed(failed))));
        }
    }
}

/// A task that was submitted: see [`Pool::submit`](crate::Pool::submit).
///
/// A future of its result. Dropping it changes nothing: the task is run all the same, unless
/// [`cancel_on_drop`](Task::cancel_on_drop) was called.
#[must_use = "the task runs without its handle, but what came of it is lost"]
pub struct Task<R> {
    id: TaskId,
    cell: Arc<Cell>,
    place: Where,
    on_drop: OnDrop,
    result: PhantomData<fn() -> R>,
}

/// Where a task is.
pub(crate) enum Where {
    /// With this process's pool; here its handle waits.
    Workers(Seat),
    /// With another process's.
    Elsewhere(AbortHandle),
    /// It has ended.
    Ended,
}

impl Where {
    /// Nobody wants the task any more.
    fn cancel(&self, index: usize, stop: bool) {
        match self {
            Where::Workers(seat) => seat.cancel(index, stop),
            Where::Elsewhere(running) => running.abort(),
            Where::Ended => {}
        }
    }
}

/// What becomes of a task whose handle is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDrop {
    Run,
    TakeBack,
    Cancel,
}

impl<R: Message> Task<R> {
    pub(crate) fn new(id: TaskId, cell: Arc<Cell>, place: Where, on_drop: OnDrop) -> Task<R> {
        Task { id, cell, place, on_drop, result: PhantomData }
    }

    /// Which task of its pool it is.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Whether it has ended, in whatever way; then waiting for it takes no time.
    pub fn is_done(&self) -> bool {
        self.cell.is_done()
    }

    /// Cancels it: if it is not begun it never will be; if it runs, it is asked to stop
    /// ([`stop_requested`](crate::Current::stop_requested)), and after the pool's grace its worker is killed. Its result is
    /// [`Failure::Cancelled`](crate::Failure::Cancelled) at once. False where it had ended.
    pub fn cancel(&self) -> bool {
        let cancelled = self.cell.fail(TaskError::new(self.id.job, self.id.index as usize, 0, Failure::Cancelled));
        if cancelled {
            self.place.cancel(self.id.index as usize, true);
        }
        cancelled
    }

    /// From now on, dropping the handle cancels the task if it has not ended: for work that nobody wants when its caller is gone.
    pub fn cancel_on_drop(mut self) -> Self {
        self.on_drop = OnDrop::Cancel;
        self
    }

    /// Waits no longer than this: `None` where the task has not ended by then. It goes on, and may be waited for again.
    pub fn within(&mut self, timeout: Duration) -> Within<'_, R> {
        Within { task: self, timeout }
    }

    /// Waits on this thread instead of in a task of a runtime.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    ///
    /// # Errors
    ///
    /// A [`TaskError`] that says why there is no result.
    #[track_caller]
    pub fn blocking(self) -> Result<R, TaskError> {
        wait::refuse_async_context("task");
        wait::forever(self)
    }
}

impl<R: Message> Future for Task<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Poll::Ready(content) = this.cell.poll(context) {
                if let Where::Workers(seat) = &mut this.place {
                    seat.leave();
                }
                this.place = Where::Ended;
                return Poll::Ready(open(this.id, content));
            }
            match &mut this.place {
                Where::Workers(seat) => {
                    if seat.attend(context, || this.cell.is_done()) {
                        return Poll::Pending;
                    }
                }
                Where::Elsewhere(_) => return Poll::Pending,
                Where::Ended => panic!("a `Task` was polled after it was ready"),
            }
        }
    }
}

fn open<R: Message>(id: TaskId, content: Content) -> Result<R, TaskError> {
    let wrong = |failure| TaskError::new(id.job, id.index as usize, 1, failure);
    let lost = || wrong(Failure::Decode(Arc::new(super::part::lost::<R>())));
    match content {
        Content::Value(flags, bytes, range, names) => {
            open_one(flags, &bytes[range], &names).map_err(|error| wrong(Failure::Decode(Arc::new(error))))
        }
        Content::Odd(odd, names) => open_odd(odd, &names).ok_or_else(lost)?.map_err(wrong),
        Content::Failed(error) => Err(error),
        Content::Here(value) => value.downcast().map(|value| *value).map_err(|_| lost()),
    }
}

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        if self.on_drop == OnDrop::Run || self.cell.is_done() {
            return;
        }
        self.place.cancel(self.id.index as usize, self.on_drop == OnDrop::Cancel);
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &format_args!("{}", self.id)).field("done", &self.cell.is_done()).finish()
    }
}

/// A wait for a task that may be too long: see [`Task::within`].
#[must_use = "nothing is waited for until this is awaited (or `.blocking()` is called)"]
#[derive(Debug)]
pub struct Within<'a, R> {
    task: &'a mut Task<R>,
    timeout: Duration,
}

impl<R: Message> Within<'_, R> {
    /// Waits on this thread instead of in a task of a runtime.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) -> Option<Result<R, TaskError>> {
        wait::refuse_async_context("task.within");
        wait::forever(wait::within(Some(self.timeout), self.task))
    }
}

impl<'a, R: Message> IntoFuture for Within<'a, R> {
    type Output = Option<Result<R, TaskError>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(wait::within(Some(self.timeout), self.task))
    }
}
