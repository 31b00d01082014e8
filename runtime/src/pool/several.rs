//! Several tasks at once, of any pools: the first that ends, all as they end, all unless one fails.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::error::TaskError;
use super::task::Task;
use crate::link::library::lock;
use crate::link::value::Message;
use crate::wait;

type Outcome<R> = Result<R, TaskError>;

/// Which tasks have something new, and who waits for that.
#[derive(Default)]
struct Rung {
    places: VecDeque<usize>,
    waker: Option<Waker>,
}

/// One task's waker.
struct Bell {
    place: usize,
    rung: Arc<Mutex<Rung>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waker = {
            let mut rung = lock(&self.rung);
            rung.places.push_back(self.place);
            rung.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Tasks that are waited for together. Each is polled when it has something new, and only then.
struct Group<R> {
    tasks: Vec<Option<(Task<R>, Waker)>>,
    rung: Arc<Mutex<Rung>>,
    left: usize,
}

impl<R: Message> Group<R> {
    fn new(tasks: impl IntoIterator<Item = Task<R>>) -> Group<R> {
        let rung = Arc::new(Mutex::new(Rung::default()));
        let bell = |(place, task)| Some((task, Waker::from(Arc::new(Bell { place, rung: rung.clone() }))));
        let tasks: Vec<_> = tasks.into_iter().enumerate().map(bell).collect();
        lock(&rung).places.extend(0..tasks.len());
        let left = tasks.len();
        Group { tasks, rung, left }
    }

    /// The next task that has ended, with its place; `None` where none is left.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Outcome<R>)>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        loop {
            let place = {
                let mut rung = lock(&self.rung);
                rung.waker = Some(context.waker().clone());
                rung.places.pop_front()
            };
            let Some(place) = place else { return Poll::Pending };
            let Some((task, waker)) = self.tasks.get_mut(place).and_then(Option::as_mut) else { continue };
            // A thread can wait at one pool's doorbell only, and these may be of many pools.
            let polled = wait::without_leading(|| Pin::new(task).poll(&mut Context::from_waker(waker)));
            if let Poll::Ready(outcome) = polled {
                self.tasks[place] = None;
                self.left -= 1;
                return Poll::Ready(Some((place, outcome)));
            }
        }
    }
}

/// Gives what became of each task, in the order in which they end, with its place among `tasks`. They may be of different pools.
///
/// ```no_run
/// # use procession::prelude::*;
/// # #[process_actor] fn square(x: i64) -> i64 { x * x }
/// # async fn example(pool: Pool) -> procession::Result<()> {
/// let mut tasks = Vec::new();
/// for x in [3, 1, 2] {
///     tasks.push(pool.submit(Square, x).await?);
/// }
/// let mut completed = procession::as_completed(tasks);
/// while let Some((place, outcome)) = completed.next().await {
///     println!("task {place}: {}", outcome?);
/// }
/// # Ok(()) }
/// ```
pub fn as_completed<R: Message>(tasks: impl IntoIterator<Item = Task<R>>) -> Completed<R> {
    Completed(Group::new(tasks))
}

/// Tasks as they end: see [`as_completed`]. A [`Stream`](futures_core::Stream), and with [`blocking`](Completed::blocking) an
/// iterator. Dropping it leaves the tasks alone.
#[must_use = "nothing is waited for until results are asked for"]
pub struct Completed<R>(Group<R>);

impl<R: Message> Completed<R> {
    /// The next task that ends; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<(usize, Outcome<R>)> {
        poll_fn(|context| self.0.poll(context)).await
    }

    /// How many have not been given out.
    pub fn left(&self) -> usize {
        self.0.left
    }

    /// The same as an iterator, which waits on this thread.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: use [`next`](Completed::next) there.
    #[track_caller]
    pub fn blocking(mut self) -> impl Iterator<Item = (usize, Outcome<R>)> {
        wait::refuse_async_context("as_completed");
        std::iter::from_fn(move || wait::forever(poll_fn(|context| self.0.poll(context))))
    }
}

impl<R> Unpin for Completed<R> {}

impl<R: Message> futures_core::Stream for Completed<R> {
    type Item = (usize, Outcome<R>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left, Some(self.0.left))
    }
}

impl<R> fmt::Debug for Completed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").field("left", &self.0.left).finish()
    }
}

/// Waits until one of the tasks has ended; it is taken out of `tasks`. `None` where there are none.
///
/// Cancel safe: a task that has not ended stays.
pub fn wait_any<R: Message>(tasks: &mut Vec<Task<R>>) -> WaitAny<'_, R> {
    WaitAny { tasks }
}

/// A wait for the first of some tasks: see [`wait_any`].
#[must_use = "nothing is waited for until this is awaited (or `.blocking()` is called)"]
#[derive(Debug)]
pub struct WaitAny<'a, R> {
    tasks: &'a mut Vec<Task<R>>,
}

impl<'a, R: Message> WaitAny<'a, R> {
    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) -> Option<Outcome<R>> {
        wait::refuse_async_context("wait_any");
        wait::forever(self.into_future())
    }
}

impl<'a, R: Message> IntoFuture for WaitAny<'a, R> {
    type Output = Option<Outcome<R>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let tasks = self.tasks;
        Box::pin(poll_fn(move |context| {
            if tasks.is_empty() {
                return Poll::Ready(None);
            }
            let ended =
                tasks.iter_mut().enumerate().find_map(|(place, task)| match wait::without_leading(|| Pin::new(task).poll(context)) {
                    Poll::Ready(outcome) => Some((place, outcome)),
                    Poll::Pending => None,
                });
            let Some((place, outcome)) = ended else { return Poll::Pending };
            drop(tasks.remove(place));
            Poll::Ready(Some(outcome))
        }))
    }
}

/// Waits for all tasks and gives their results in order; or the error of the first that fails, as soon as it does. The others go on
/// all the same, unless they are to be [cancelled](Task::cancel_on_drop) when they are dropped.
pub fn try_all<R: Message>(tasks: impl IntoIterator<Item = Task<R>>) -> TryAll<R> {
    TryAll(Group::new(tasks))
}

/// A wait for all of some tasks: see [`try_all`].
#[must_use = "nothing is waited for until this is awaited (or `.blocking()` is called)"]
pub struct TryAll<R>(Group<R>);

impl<R: Message> TryAll<R> {
    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    ///
    /// # Errors
    ///
    /// That of the first task that fails.
    #[track_caller]
    pub fn blocking(self) -> Result<Vec<R>, TaskError> {
        wait::refuse_async_context("try_all");
        wait::forever(self.into_future())
    }
}

impl<R: Message> IntoFuture for TryAll<R> {
    type Output = Result<Vec<R>, TaskError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut group = self.0;
            let mut results: Vec<Option<R>> = group.tasks.iter().map(|_| None).collect();
            while let Some((place, outcome)) = poll_fn(|context| group.poll(context)).await {
                results[place] = Some(outcome?);
            }
            Ok(results.into_iter().flatten().collect())
        })
    }
}

impl<R> fmt::Debug for TryAll<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryAll").field("left", &self.0.left).finish()
    }
}
