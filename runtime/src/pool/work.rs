//! A job from its owner's side: items go in as fast as workers need them, values come out.
//!
//! Everything of the user's runs here, on the owner's own thread or task and under no lock: the iterator, `Serialize`,
//! `Deserialize`. Items are taken a few batches ahead of need and no faster, so an endless iterator is as good as any.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use super::backend::{Backend, Line};
use super::bundle::{Encoded, Packed, Packer};
use super::error::{Failure, PoolError, TaskError};
use super::input::Input;
use super::job::Function;
use super::part::{Opened, Part};
use super::scheduler::{Bundle, Terms};
use crate::actor::definition::FunctionActor;

/// Tasks that are taken to follow where an iterator does not say.
const MANY: usize = 1 << 24;
/// Most tasks that are taken to follow: sums of them stay numbers.
const MOST: usize = 1 << 31;
/// Tasks that are run at once, at the most, where the caller's own thread runs them.
const HERE: usize = 256;

/// A job that is under way.
struct Started {
    line: Line,
    packer: Packer,
}

/// See the module's documentation.
pub(crate) struct Work<A: FunctionActor, I> {
    backend: Backend,
    terms: Terms,
    started: Option<Started>,
    items: Option<I>,
    /// A bundle that travels alone, behind the one that was just supplied.
    behind: Option<Encoded>,
    /// Items taken so far.
    next: usize,
    /// Tasks of which all is known.
    ended: usize,
    /// What the iterator panicked with.
    panic: Option<Box<dyn Any + Send>>,
    over: Option<Arc<PoolError>>,
    retry_if: Option<RetryIf<A::Output>>,
    /// How often each of the tasks that are tried again was tried.
    attempts: HashMap<usize, u32>,
}

/// Whether a task that returned this is to be tried again.
pub(crate) type RetryIf<R> = Box<dyn Fn(&R) -> bool + Send>;

impl<A: FunctionActor, I: Input<Item = A::Arguments>> Work<A, I> {
    pub(crate) fn new(backend: Backend, terms: Terms, items: I, retry_if: Option<RetryIf<A::Output>>) -> Self {
        Work {
            backend,
            terms,
            started: None,
            items: Some(items),
            behind: None,
            next: 0,
            ended: 0,
            panic: None,
            over: None,
            retry_if,
            attempts: HashMap::new(),
        }
    }

    /// How many items there will be, as far as that is known.
    pub(crate) fn expected(&self) -> usize {
        self.next.saturating_add(self.items.as_ref().map_or(0, |items| items.size_hint().0))
    }

    /// How many items have been taken.
    pub(crate) fn taken(&self) -> usize {
        self.next
    }

    /// Counts the items that are left as taken: the pool has ended, and they will not be run.
    pub(crate) fn forgo(&mut self, context: &mut Context<'_>) {
        while let Some(Poll::Ready(Some(_))) = self.items.as_mut().map(|items| items.poll_next(context)) {
            self.next += 1;
        }
    }

    /// Why the pool ended before the job did, if it did.
    pub(crate) fn over(&self) -> Option<&Arc<PoolError>> {
        self.over.as_ref()
    }

    /// How many of the pool's workers have died.
    pub(crate) fn restarts(&self) -> u64 {
        self.started.as_ref().map_or(0, |started| started.line.restarts())
    }

    /// The next results, in any order; `None` after the last. Where `hold` is set no more items are taken in.
    ///
    /// # Panics
    ///
    /// With what the iterator panicked with, when what it gave before has ended.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, hold: bool) -> Poll<Option<Opened<A::Output>>> {
        if matches!(self.backend, Backend::Here) {
            return self.here(context);
        }
        loop {
            let mut opened = Opened::default();
            let mut came = false;
            if self.over.is_none() && self.started.is_none() {
                self.start();
            }
            if let Some(started) = &mut self.started {
                match started.line.poll(context) {
                    Poll::Ready(Ok(parts)) => {
                        came = true;
                        parts.into_iter().for_each(|part| self.open(part, &mut opened));
                    }
                    Poll::Ready(Err(error)) => self.over = Some(error),
                    Poll::Pending => {}
                }
            }
            if self.over.is_none() && !hold {
                self.feed(context, &mut opened);
            }
            self.ended += opened.count();
            if !opened.is_empty() {
                return Poll::Ready(Some(opened));
            }
            let exhausted = self.items.is_none() && self.behind.is_none() && self.ended >= self.next;
            if self.over.is_some() || exhausted {
                self.started = None;
                if let Some(panic) = self.panic.take() {
                    resume_unwind(panic);
                }
                return Poll::Ready(None);
            }
            if came {
                // All of it is tried again. Only one who found nothing is woken by what comes next.
                continue;
            }
            let Some(started) = &mut self.started else { return Poll::Ready(None) };
            if started.line.attend(context) {
                return Poll::Pending;
            }
        }
    }

    fn start(&mut self) {
        let function = match Function::of::<A>() {
            Ok(function) => function,
            Err(error) => return self.over = Some(error),
        };
        match self.backend.open(function, Terms { cap: function.cap, ..self.terms.clone() }, self.retry_if.is_some()) {
            Ok(line) => self.started = Some(Started { line, packer: Packer::new::<A::Arguments>() }),
            Err(error) => self.over = Some(error),
        }
    }

    /// Supplies what the workers need.
    fn feed(&mut self, context: &mut Context<'_>, opened: &mut Opened<A::Output>) {
        let Some(started) = &mut self.started else { return };
        let mut wanted = started.line.hunger();
        while let Some(size) = wanted {
            if let Some(alone) = self.behind.take() {
                let start = self.next - 1;
                wanted = started.line.supply(start, alone, following(&self.items));
                continue;
            }
            let Some(items) = &mut self.items else { return };
            let (packer, job, first) = (&mut started.packer, started.line.id(), self.next);
            let (next, behind) = (&mut self.next, &mut self.behind);
            // A panic of the iterator's is kept for its owner; one of a `Serialize` is an error of that item's.
            let filled = catch_unwind(AssertUnwindSafe(|| {
                while packer.count() < size {
                    let item = match items.poll_next(context) {
                        Poll::Ready(Some(item)) => item,
                        Poll::Ready(None) => return Filled::Ended,
                        Poll::Pending => return Filled::Later,
                    };
                    *next += 1;
                    match packer.pack(item) {
                        Packed::Room => {}
                        Packed::Full => break,
                        Packed::Alone(alone) => {
                            *behind = Some(alone);
                            break;
                        }
                        Packed::Refused(error) => {
                            opened.failed.push(TaskError::new(job, *next - 1, 0, Failure::Encode(Arc::new(error))));
                            break;
                        }
                    }
                }
                Filled::More
            }));
            let later = matches!(filled, Ok(Filled::Later));
            match filled {
                Ok(Filled::More | Filled::Later) => {}
                Ok(Filled::Ended) => self.items = None,
                Err(panic) => match packer.recover::<A::Arguments>() {
                    Some(error) => {
                        opened.failed.push(TaskError::new(job, self.next - 1, 0, Failure::Encode(Arc::new(error))));
                    }
                    None => {
                        self.items = None;
                        self.panic = Some(panic);
                    }
                },
            }
            wanted = match packer.take() {
                Some(bundle) => started.line.supply(first, bundle, following(&self.items)),
                None => started.line.hunger(),
            };
            if later {
                return;
            }
        }
    }

    /// Runs some of the tasks on this thread.
    fn here(&mut self, context: &mut Context<'_>) -> Poll<Option<Opened<A::Output>>> {
        let mut opened = Opened::default();
        while opened.count() < HERE {
            let Some(items) = &mut self.items else { break };
            let item = match items.poll_next(context) {
                Poll::Ready(Some(item)) => item,
                Poll::Ready(None) => {
                    self.items = None;
                    break;
                }
                Poll::Pending if opened.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            };
            let index = self.next;
            self.next += 1;
            match super::backend::run_here::<A>(item) {
                Ok(value) => match opened.runs.last_mut().filter(|(start, run)| start + run.len() == index) {
                    Some((_, run)) => run.push(value),
                    None => opened.runs.push((index, vec![value])),
                },
                Err(failure) => opened.failed.push(TaskError::new(0, index, 1, failure)),
            }
        }
        self.ended += opened.count();
        Poll::Ready((!opened.is_empty()).then_some(opened))
    }

    /// Makes values of what came. Those that are to be tried again go back.
    fn open(&mut self, part: Part, into: &mut Opened<A::Output>) {
        let (Some(retry_if), Part::Results { start: first, given: Some(given), .. }) = (&self.retry_if, &part) else {
            return part.open(into);
        };
        let (first, given) = (*first, given.clone());
        let mut opened = Opened::default();
        part.open(&mut opened);
        into.failed.append(&mut opened.failed);
        for (start, run) in opened.runs {
            for (index, value) in (start..).zip(run) {
                let attempts = self.attempts.get(&index).copied().unwrap_or(0);
                if attempts < self.terms.retries && retry_if(&value) {
                    self.attempts.insert(index, attempts + 1);
                    if let Some(started) = &mut self.started {
                        started.line.supply(index, given.clone().again(index - first), following(&self.items));
                    }
                } else {
                    self.attempts.remove(&index);
                    into.runs.push((index, vec![value]));
                }
            }
        }
    }
}

/// How far a bundle was filled.
enum Filled {
    /// As far as was wanted.
    More,
    /// There is nothing now.
    Later,
    /// There will be nothing more.
    Ended,
}

fn following<I: Input>(items: &Option<I>) -> usize {
    match items.as_ref().map(Input::size_hint) {
        None => 0,
        Some((least, Some(most))) if least == most => least.min(MOST),
        // An endless range says that it has as many as can be.
        Some((least, _)) => least.clamp(MANY, MOST),
    }
}
