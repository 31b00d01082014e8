//! What a caller of a pool waits for: [`Map`], [`Outcomes`] and [`Call`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;

use super::driver::Shared;
use super::error::{MapError, PoolError, TaskError};
use super::job::{Delivery, Items, Job, Odd, Part};
use super::page::ROOM;
use crate::actor::ask::within_blocking;
use crate::actor::batch::{self, RECORD, next_record};
use crate::actor::definition::{FunctionActor, index_of};
use crate::link::frame::Flags;
use crate::link::value::{self, DecodeError, Message};

/// A function about to be applied to many arguments: see [`Pool::map`](crate::Pool::map).
#[must_use = "nothing is run until this is awaited (or `.blocking()` is called)"]
pub struct Map<A: FunctionActor> {
    pub(super) pool: Arc<Shared>,
    pub(super) items: Vec<A::Arguments>,
    pub(super) chunk: Option<usize>,
}

impl<A: FunctionActor> Map<A> {
    /// Sends the tasks in batches of so many, instead of by what they cost. A batch of one is right for few, long tasks of very
    /// different lengths.
    pub fn chunk(mut self, tasks: usize) -> Self {
        self.chunk = Some(tasks.max(1));
        self
    }

    /// Gives what became of each task, instead of one error for all.
    pub fn outcomes(self) -> Outcomes<A> {
        Outcomes(self)
    }

    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    ///
    /// # Errors
    ///
    /// As awaiting it.
    #[track_caller]
    pub fn blocking(self) -> Result<Vec<A::Output>, MapError<A::Output>> {
        let count = self.items.len();
        block("map", self.run(), || Gathered::none(count)).values()
    }

    async fn run(self) -> Gathered<A::Output> {
        let count = self.items.len();
        let entry = match index_of(A::entry()) {
            Some(entry) => entry,
            None => {
                let error = std::io::Error::other("the actor is not in this program's table");
                return Gathered::ended(count, Arc::new(error.into()));
            }
        };
        let cap = ROOM / batch::width::<A::Output>().unwrap_or(RECORD);
        let feed = Items { items: self.items.into_iter(), alone: None };
        match self.pool.submit(entry, count, self.chunk, cap, Box::new(feed)) {
            Ok(job) => Waiting { pool: self.pool, job }.gather(count).await,
            Err(error) => Gathered::ended(count, error),
        }
    }
}

/// A map that gives what became of each task: see [`Map::outcomes`].
#[must_use = "nothing is run until this is awaited (or `.blocking()` is called)"]
pub struct Outcomes<A: FunctionActor>(Map<A>);

impl<A: FunctionActor> Outcomes<A> {
    /// See [`Map::chunk`].
    pub fn chunk(self, tasks: usize) -> Self {
        Outcomes(self.0.chunk(tasks))
    }

    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) -> Vec<Result<A::Output, TaskError>> {
        let count = self.0.items.len();
        block("map", self.0.run(), || Gathered::none(count)).outcomes()
    }
}

/// One task about to be run: see [`Pool::call`](crate::Pool::call).
#[must_use = "nothing is run until this is awaited (or `.blocking()` is called)"]
pub struct Call<A: FunctionActor>(pub(super) Map<A>);

impl<A: FunctionActor> Call<A> {
    /// Waits on this thread instead of in a task.
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
        block("call", self.0.run(), || Gathered::none(1)).only()
    }
}

#[track_caller]
fn block<T>(what: &str, running: impl Future<Output = T>, otherwise: impl FnOnce() -> T) -> T {
    within_blocking(what, None, running).unwrap_or_else(otherwise)
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<A: FunctionActor> IntoFuture for Map<A> {
    type Output = Result<Vec<A::Output>, MapError<A::Output>>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.run().await.values() })
    }
}

impl<A: FunctionActor> IntoFuture for Outcomes<A> {
    type Output = Vec<Result<A::Output, TaskError>>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.0.run().await.outcomes() })
    }
}

impl<A: FunctionActor> IntoFuture for Call<A> {
    type Output = Result<A::Output, TaskError>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.0.run().await.only() })
    }
}

impl<A: FunctionActor> fmt::Debug for Map<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("tasks", &self.items.len()).field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

impl<A: FunctionActor> fmt::Debug for Outcomes<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outcomes").field(&self.0).finish()
    }
}

impl<A: FunctionActor> fmt::Debug for Call<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

/// A caller between submitting its job and having all of it. Dropped before, it takes back what is not begun.
struct Waiting {
    pool: Arc<Shared>,
    job: Arc<Job>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.leave(self.job.id);
    }
}

impl Waiting {
    async fn gather<R: Message>(self, count: usize) -> Gathered<R> {
        let mut gathered = Gathered { count, runs: Vec::new(), failed: BTreeMap::new(), ended: None };
        loop {
            let delivery = poll_fn(|context| {
                loop {
                    let polled = self.job.poll(context);
                    if polled.is_ready() || self.pool.attend(&self.job) {
                        return polled;
                    }
                }
            });
            let Delivery { parts, over } = delivery.await;
            for part in parts {
                gathered.take(part);
            }
            if let Some(ended) = over {
                gathered.ended = ended;
                return gathered;
            }
        }
    }
}

/// The results of a map, in the order in which they came.
struct Gathered<R> {
    count: usize,
    /// Values of consecutive tasks.
    runs: Vec<(usize, Vec<R>)>,
    failed: BTreeMap<usize, TaskError>,
    ended: Option<Arc<PoolError>>,
}

impl<R: Message> Gathered<R> {
    fn none(count: usize) -> Gathered<R> {
        Gathered { count, runs: Vec::new(), failed: BTreeMap::new(), ended: None }
    }

    fn ended(count: usize, error: Arc<PoolError>) -> Gathered<R> {
        Gathered { ended: Some(error), ..Gathered::none(count) }
    }

    fn take(&mut self, part: Part) {
        match part {
            Part::Failed(error) => self.fail(error),
            Part::Results { start, done, body, odd } if batch::width::<R>().is_some() => self.numbers(start, done, &body, odd),
            Part::Results { start, done, body, odd } => self.records(start, done, &body, odd),
        }
    }

    fn fail(&mut self, error: TaskError) {
        // The first is the cause.
        self.failed.entry(error.index()).or_insert(error);
    }

    fn numbers(&mut self, start: usize, done: usize, body: &[u8], odd: BTreeMap<usize, Odd>) {
        let width = size_of::<R>().max(1);
        let whole = body.len().min(done * width) / width * width;
        let mut values: Vec<R> = match value::decode(Flags::BLOCK, &body[..whole], Vec::new()) {
            Ok(values) => values,
            Err(error) => {
                for index in start..start + done {
                    self.fail(TaskError::Decode { index, error: Arc::new(error.clone()) });
                }
                return;
            }
        };
        if odd.is_empty() && values.len() == done {
            self.runs.push((start, values));
            return;
        }
        // From the back, so that places stay what they are.
        for index in values.len()..done {
            if !odd.contains_key(&index) {
                self.lost(start + index);
            }
        }
        for (place, odd) in odd.into_iter().rev().filter(|(place, _)| *place < done) {
            if place < values.len() {
                let behind = values.split_off(place + 1);
                values.pop();
                self.push(start + place + 1, behind);
            }
            self.odd(start + place, odd);
        }
        self.push(start, values);
    }

    fn records(&mut self, start: usize, done: usize, body: &[u8], mut odd: BTreeMap<usize, Odd>) {
        let mut rest = body;
        let (mut first, mut values) = (start, Vec::new());
        for index in start..start + done {
            let record = next_record(&mut rest).flatten();
            let decoded = match (record, odd.remove(&(index - start))) {
                (_, Some(Odd::Value(flags, body, descriptors))) => value::decode_owned(flags, body, descriptors),
                (_, Some(Odd::Failed(error))) => {
                    self.push(std::mem::replace(&mut first, index + 1), std::mem::take(&mut values));
                    self.fail(error);
                    continue;
                }
                (Some((flags, body)), None) => value::decode(flags, body, Vec::new()),
                (None, None) => {
                    self.push(std::mem::replace(&mut first, index + 1), std::mem::take(&mut values));
                    self.lost(index);
                    continue;
                }
            };
            match decoded {
                Ok(value) => values.push(value),
                Err(error) => {
                    self.push(std::mem::replace(&mut first, index + 1), std::mem::take(&mut values));
                    self.fail(TaskError::Decode { index, error: Arc::new(error) });
                }
            }
        }
        self.push(first, values);
    }

    fn push(&mut self, start: usize, values: Vec<R>) {
        if !values.is_empty() {
            self.runs.push((start, values));
        }
    }

    fn odd(&mut self, index: usize, odd: Odd) {
        match odd {
            Odd::Failed(error) => self.fail(error),
            Odd::Value(flags, body, descriptors) => {
                // A number that found no place is a block of one.
                let decoded = match batch::width::<R>() {
                    Some(_) => value::decode::<Vec<R>>(flags, &body, descriptors).map(|mut values| values.pop()),
                    None => value::decode_owned(flags, body, descriptors).map(Some),
                };
                match decoded {
                    Ok(Some(value)) => self.runs.push((index, vec![value])),
                    Ok(None) => self.lost(index),
                    Err(error) => self.fail(TaskError::Decode { index, error: Arc::new(error) }),
                }
            }
        }
    }

    #[cold]
    fn lost(&mut self, index: usize) {
        let error = DecodeError { type_name: std::any::type_name::<R>().into(), reason: "it did not arrive".into() };
        self.fail(TaskError::Decode { index, error: Arc::new(error) });
    }

    fn values(mut self) -> Result<Vec<R>, MapError<R>> {
        let complete = self.failed.is_empty() && self.runs.iter().map(|(_, run)| run.len()).sum::<usize>() == self.count;
        if !complete {
            return Err(MapError { outcomes: self.outcomes().into_iter().map(Some).collect() });
        }
        self.runs.sort_unstable_by_key(|(start, _)| *start);
        if let [(_, only)] = &mut self.runs[..] {
            return Ok(std::mem::take(only));
        }
        let mut values = Vec::with_capacity(self.count);
        for (_, mut run) in self.runs {
            values.append(&mut run);
        }
        Ok(values)
    }

    fn outcomes(self) -> Vec<Result<R, TaskError>> {
        let mut outcomes: Vec<Option<Result<R, TaskError>>> = (0..self.count).map(|_| None).collect();
        for (start, run) in self.runs {
            for (slot, value) in outcomes.iter_mut().skip(start).zip(run) {
                *slot = Some(Ok(value));
            }
        }
        for (index, error) in self.failed {
            if let Some(slot) = outcomes.get_mut(index) {
                *slot = Some(Err(error));
            }
        }
        let ended = self.ended.unwrap_or_else(|| Arc::new(PoolError::Closed));
        let missing = |index| Err(TaskError::Pool { index, error: ended.clone() });
        outcomes.into_iter().enumerate().map(|(index, outcome)| outcome.unwrap_or_else(|| missing(index))).collect()
    }

    fn only(self) -> Result<R, TaskError> {
        let ended = self.ended.clone().unwrap_or_else(|| Arc::new(PoolError::Closed));
        self.outcomes().pop().unwrap_or(Err(TaskError::Pool { index: 0, error: ended }))
    }
}
