//! One job on its way: which function, what may be given to workers at once, and where its results go.
//!
//! Whoever drives the pool leaves results in a job's mail as bytes, or as plain numbers; the job's owner makes values of them. So
//! neither the pool nor its driver knows a job's types, and no code of the user's runs under the pool's lock.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::error::PoolError;
use super::page::{ROOM, Take, taker};
use super::part::Part;
use super::task::Cells;
use crate::actor::batch::{self, RECORD};
use crate::actor::definition::{FunctionActor, index_of};
use crate::link::library::lock;

/// A function, as the driver knows it.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    /// Its place in the program's table.
    pub(crate) entry: u32,
    /// Most tasks whose results fit a page.
    pub(crate) cap: usize,
    /// Bytes of a result, where it is a plain number.
    pub(crate) width: Option<usize>,
    /// Whoever reads the results knows no names of structs.
    pub(crate) plain: bool,
    /// How plain numbers are taken from a page.
    take: Option<Take>,
}

impl Function {
    pub(crate) fn of<A: FunctionActor>() -> Result<Function, Arc<PoolError>> {
        let missing = || Arc::new(PoolError::from(std::io::Error::other("the actor is not in this program's table")));
        let entry = index_of(A::entry()).ok_or_else(missing)?;
        let width = batch::width::<A::Output>();
        Ok(Function { entry, cap: ROOM / width.unwrap_or(RECORD), width, plain: false, take: taker::<A::Output>() })
    }
}

impl Function {
    /// A function of which only another process knows the types.
    pub(crate) fn elsewhere(entry: u32, width: Option<usize>) -> Function {
        let width = width.map(|width| width.clamp(1, 8));
        Function { entry, cap: ROOM / width.unwrap_or(RECORD), width, plain: true, take: None }
    }
}

/// Where a job's results go.
pub(crate) enum Sink {
    /// To one owner, in parts.
    Mail(Mutex<Mail>),
    /// To the handles of single tasks.
    Tasks(Mutex<Cells>),
}

#[derive(Default)]
pub(crate) struct Mail {
    parts: Vec<Part>,
    ended: Option<Arc<PoolError>>,
    waker: Option<Waker>,
}

/// A job that the pool works on.
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) function: Function,
    /// What was given to workers is kept, and comes back with the results.
    pub(crate) keeps: bool,
    pub(crate) sink: Sink,
}

impl Job {
    /// How results are taken from a page as plain numbers, where the owner wants them so.
    pub(crate) fn take(&self) -> Option<Take> {
        self.function.take.filter(|_| matches!(self.sink, Sink::Mail(_)))
    }

    /// Leaves `part`; whom to wake goes to `wakers`.
    pub(crate) fn post(&self, part: Part, wakers: &mut Vec<Waker>) {
        match &self.sink {
            Sink::Mail(mail) => {
                let mut mail = lock(mail);
                mail.parts.push(part);
                wakers.extend(mail.waker.take());
            }
            Sink::Tasks(cells) => lock(cells).deliver(part, self.function.width, wakers),
        }
    }

    /// Nothing more will come.
    pub(crate) fn end(&self, error: &Arc<PoolError>, wakers: &mut Vec<Waker>) {
        match &self.sink {
            Sink::Mail(mail) => {
                let mut mail = lock(mail);
                mail.ended.get_or_insert_with(|| error.clone());
                wakers.extend(mail.waker.take());
            }
            Sink::Tasks(cells) => lock(cells).end(self.id, error, wakers),
        }
    }

    /// Whether a look into the mail would find something.
    pub(crate) fn has_mail(&self) -> bool {
        match &self.sink {
            Sink::Mail(mail) => {
                let mail = lock(mail);
                !mail.parts.is_empty() || mail.ended.is_some()
            }
            Sink::Tasks(_) => false,
        }
    }

    /// What has come, or why nothing more will; the parts before it have been given out then.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Vec<Part>, Arc<PoolError>>> {
        let Sink::Mail(mail) = &self.sink else { return Poll::Ready(Ok(Vec::new())) };
        let mut mail = lock(mail);
        if !mail.parts.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut mail.parts)));
        }
        if let Some(error) = &mail.ended {
            return Poll::Ready(Err(error.clone()));
        }
        match &mut mail.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
