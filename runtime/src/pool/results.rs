//! The results of a map, one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::error::{Failure, TaskError};
use super::input::Input;
use super::map::Map;
use super::part::Opened;
use super::progress::{Progress, Watch};
use super::work::Work;
use crate::actor::definition::FunctionActor;
use crate::wait;

/// Runs of results that may be here before they are taken; with more, no items are taken in.
const AHEAD: usize = 32;
/// Bytes of values that may be here, not counting what they point to; likewise.
const ROOM: usize = 1 << 20;

/// The results of a map one by one, in the order of the items: see [`Map::stream`](crate::Map::stream).
///
/// A [`Stream`](futures_core::Stream), and with [`blocking`](Results::blocking) an iterator. Dropping it takes back what is not begun.
#[must_use = "nothing is run until results are asked for"]
pub struct Results<A: FunctionActor, I> {
    work: Work<A, I>,
    ordered: bool,
    /// The values of consecutive tasks that are next.
    current: std::vec::IntoIter<A::Output>,
    /// The index of the next.
    position: usize,
    /// What came before its turn.
    ahead: BTreeMap<usize, Run<A::Output>>,
    /// Bytes of the values in it.
    held: usize,
    watch: Vec<Box<dyn Watch>>,
    progress: Progress,
    over: bool,
}

enum Run<R> {
    Values(Vec<R>),
    Failed(TaskError),
}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Results<A, I> {
    pub(super) fn new(map: Map<A, I>) -> Self {
        let Map { backend, items, terms, retry_if, watch, .. } = map;
        let progress = Progress::of(&items);
        Results {
            work: Work::new(backend, terms, items, retry_if),
            ordered: true,
            current: Vec::new().into_iter(),
            position: 0,
            ahead: BTreeMap::new(),
            held: 0,
            watch,
            progress,
            over: false,
        }
    }

    /// Gives results as they come, whatever their order.
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// The next result; `None` after the last. Cancel safe: a result is given out or kept.
    ///
    /// # Panics
    ///
    /// With what the input panicked with, after the results of what it gave before.
    pub async fn next(&mut self) -> Option<Result<A::Output, TaskError>> {
        poll_fn(|context| self.poll(context)).await
    }

    /// The results as an iterator, which waits on this thread.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: use [`next`](Results::next) there.
    #[track_caller]
    pub fn blocking(self) -> Blocking<A, I> {
        wait::refuse_async_context("stream");
        Blocking(self)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<A::Output, TaskError>>> {
        loop {
            if let Some(value) = self.current.next() {
                self.position += 1;
                return Poll::Ready(Some(Ok(value)));
            }
            match self.ready() {
                Some(Run::Values(values)) => {
                    self.held -= size_of_val(&values[..]);
                    self.current = values.into_iter();
                    continue;
                }
                Some(Run::Failed(error)) => {
                    self.position += 1;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {}
            }
            if self.over {
                return Poll::Ready(self.rest());
            }
            let hold = self.ahead.len() >= AHEAD || self.held >= ROOM;
            match ready!(self.work.poll(context, hold)) {
                Some(opened) => self.take(opened),
                None => self.over = true,
            }
        }
    }

    /// What is next, if it is here.
    fn ready(&mut self) -> Option<Run<A::Output>> {
        let first = self.ahead.first_entry()?;
        (!self.ordered || *first.key() == self.position).then(|| first.remove())
    }

    /// Where the pool ended first: an error for each item that was taken in and has no result.
    fn rest(&mut self) -> Option<Result<A::Output, TaskError>> {
        let error = self.work.over()?.clone();
        if self.position >= self.work.taken() {
            return None;
        }
        let index = self.position;
        self.position += 1;
        Some(Err(TaskError::new(0, index, 0, Failure::Pool(Arc::clone(&error)))))
    }

    fn take(&mut self, opened: Opened<A::Output>) {
        self.progress.advance(&opened, &self.work, &mut self.watch);
        self.held += opened.runs.iter().map(|(_, run)| size_of_val(&run[..])).sum::<usize>();
        self.ahead.extend(opened.runs.into_iter().map(|(start, run)| (start, Run::Values(run))));
        self.ahead.extend(opened.failed.into_iter().map(|error| (error.index, Run::Failed(error))));
    }
}

impl<A: FunctionActor, I> Unpin for Results<A, I> {}

impl<A: FunctionActor, I: Input<Item = A::Arguments>> futures_core::Stream for Results<A, I> {
    type Item = Result<A::Output, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

impl<A: FunctionActor, I> fmt::Debug for Results<A, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results").field("position", &self.position).finish_non_exhaustive()
    }
}

/// [`Results`] as an iterator.
#[derive(Debug)]
#[must_use = "nothing is run until results are asked for"]
pub struct Blocking<A: FunctionActor, I>(Results<A, I>);

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Iterator for Blocking<A, I> {
    type Item = Result<A::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(value) = self.0.current.next() {
            self.0.position += 1;
            return Some(Ok(value));
        }
        wait::forever(poll_fn(|context| self.0.poll(context)))
    }
}
