//! One map: the arguments that are still to be sent, and what came of those that were.
//!
//! Whoever drives the pool encodes the arguments, a batch at a time, and leaves what came back in the job's mail as bytes; the
//! map's own future makes values of them. So neither the pool nor its driver knows a job's types.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::error::{PoolError, TaskError};
use super::worker::PREFIX;
use crate::actor::batch::{self, ABSENT, RECORD, next_record, record_word};
use crate::link::frame::{FRAME_CAP, Flags};
use crate::link::library::lock;
use crate::link::value::{self, EncodeError, Message};

/// Bytes of arguments from which on a batch takes no more tasks.
const FULL: usize = 256 * 1024;

/// Encoded arguments of consecutive tasks.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) count: usize,
    /// Bytes of each, where they are plain numbers.
    pub(crate) width: Option<usize>,
    pub(crate) body: Vec<u8>,
    /// Those of the only task, where there are any.
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Encoded {
    /// Where the `index`th argument begins.
    fn offset(&self, index: usize) -> usize {
        match self.width {
            Some(width) => width * index.min(self.count),
            None => {
                let mut rest = &self.body[..];
                for _ in 0..index {
                    if next_record(&mut rest).is_none() {
                        break;
                    }
                }
                self.body.len() - rest.len()
            }
        }
    }

    /// Cuts off the arguments from `index` on.
    pub(crate) fn split_off(&mut self, index: usize) -> Encoded {
        let index = index.min(self.count);
        let body = self.body.split_off(self.offset(index));
        let descriptors = if index == 0 { std::mem::take(&mut self.descriptors) } else { Vec::new() };
        let rest = Encoded { count: self.count - index, width: self.width, body, descriptors };
        self.count = index;
        rest
    }

    /// A copy of the arguments from `start` to `end`; the descriptors move to it.
    pub(crate) fn take(&mut self, start: usize, end: usize) -> Encoded {
        let body = self.body[self.offset(start)..self.offset(end)].to_vec();
        let descriptors = if start == 0 { std::mem::take(&mut self.descriptors) } else { Vec::new() };
        Encoded { count: end - start, width: self.width, body, descriptors }
    }
}

/// A job's arguments, as its types have them.
pub(crate) trait Feed: Send {
    /// The next arguments, `most` at the most; those that cannot be encoded are absent, and noted with their place.
    fn fill(&mut self, most: usize, refused: &mut Vec<(usize, EncodeError)>) -> Encoded;
}

/// The arguments of a map.
pub(crate) struct Items<T> {
    pub(crate) items: std::vec::IntoIter<T>,
    /// An argument with descriptors, encoded already: it travels alone.
    pub(crate) alone: Option<Encoded>,
}

impl<T: Message> Feed for Items<T> {
    fn fill(&mut self, most: usize, refused: &mut Vec<(usize, EncodeError)>) -> Encoded {
        if let Some(alone) = self.alone.take() {
            return alone;
        }
        let width = batch::width::<T>();
        let mut encoded = Encoded { width, ..Encoded::default() };
        if let Some(width) = width {
            let most = most.min(FULL / width);
            let numbers: Vec<T> = self.items.by_ref().take(most).collect();
            // A list of plain numbers cannot be refused.
            let _ = value::encode(&numbers, &mut encoded.body);
            encoded.count = numbers.len();
            return encoded;
        }
        while encoded.count < most && encoded.body.len() < FULL {
            let Some(item) = self.items.next() else { break };
            let start = encoded.body.len();
            encoded.body.extend_from_slice(&ABSENT.to_le_bytes());
            let written = catch_unwind(AssertUnwindSafe(|| value::encode(&item, &mut encoded.body)));
            let length = encoded.body.len() - start - RECORD;
            let problem = |reason: &str| EncodeError { type_name: std::any::type_name::<T>().into(), reason: reason.into() };
            let fits = (length + RECORD + PREFIX) as u64 <= FRAME_CAP;
            match written.unwrap_or_else(|_| Err(problem("its `Serialize` panicked"))) {
                Ok(encoding) => match record_word(encoding.flags, length).filter(|_| fits) {
                    Some(word) => {
                        encoded.body[start..start + RECORD].copy_from_slice(&word.to_le_bytes());
                        if !encoding.descriptors.is_empty() {
                            let body = encoded.body.split_off(start);
                            let alone = Encoded { count: 1, width, body, descriptors: encoding.descriptors };
                            if encoded.count == 0 {
                                return alone;
                            }
                            self.alone = Some(alone);
                            return encoded;
                        }
                    }
                    None => {
                        encoded.body.truncate(start + RECORD);
                        refused.push((encoded.count, problem("it is larger than a message can be")));
                    }
                },
                Err(error) => {
                    encoded.body.truncate(start + RECORD);
                    refused.push((encoded.count, error));
                }
            }
            encoded.count += 1;
        }
        encoded
    }
}

/// A result that did not come with the others.
#[derive(Debug)]
pub(crate) enum Odd {
    Value(Flags, Vec<u8>, Vec<OwnedFd>),
    Failed(TaskError),
}

/// What came of some tasks.
#[derive(Debug)]
pub(crate) enum Part {
    /// So many from `start` on ended: their results, but for the odd ones.
    Results { start: usize, done: usize, body: Vec<u8>, odd: BTreeMap<usize, Odd> },
    /// One failed.
    Failed(TaskError),
}

#[derive(Default)]
struct Mail {
    parts: Vec<Part>,
    /// Tasks that have not ended.
    left: usize,
    ended: Option<Arc<PoolError>>,
    waker: Option<Waker>,
}

/// A map that the pool works on.
pub(crate) struct Job {
    pub(crate) id: u64,
    /// Its function's place in the program's table.
    pub(crate) entry: u32,
    /// Most tasks whose results fit a page.
    pub(crate) cap: usize,
    pub(crate) feed: Mutex<Box<dyn Feed>>,
    mail: Mutex<Mail>,
}

/// What a look into the mail found.
pub(crate) struct Delivery {
    pub(crate) parts: Vec<Part>,
    /// Nothing more will come, and if not because all is there, then because of this.
    pub(crate) over: Option<Option<Arc<PoolError>>>,
}

impl Job {
    pub(crate) fn new(id: u64, entry: u32, count: usize, cap: usize, feed: Box<dyn Feed>) -> Arc<Job> {
        let mail = Mail { left: count, ..Mail::default() };
        Arc::new(Job { id, entry, cap, feed: Mutex::new(feed), mail: Mutex::new(mail) })
    }

    /// Leaves `part`, with which so many tasks end. Gives whom to wake, and whether that was the last.
    pub(crate) fn post(&self, part: Part, ending: usize) -> (Option<Waker>, bool) {
        let mut mail = lock(&self.mail);
        mail.parts.push(part);
        mail.left = mail.left.saturating_sub(ending);
        (mail.waker.take(), mail.left == 0)
    }

    /// Nothing more will come.
    pub(crate) fn end(&self, error: &Arc<PoolError>) -> Option<Waker> {
        let mut mail = lock(&self.mail);
        mail.ended.get_or_insert_with(|| error.clone());
        mail.waker.take()
    }

    /// Somebody who waits, to take over the driving.
    pub(crate) fn waiter(&self) -> Option<Waker> {
        lock(&self.mail).waker.take()
    }

    /// Whether a look into the mail would find something.
    pub(crate) fn has_mail(&self) -> bool {
        let mail = lock(&self.mail);
        !mail.parts.is_empty() || mail.left == 0 || mail.ended.is_some()
    }

    /// What has come, if anything has.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Delivery> {
        let mut mail = lock(&self.mail);
        let over = if mail.left == 0 { Some(None) } else { mail.ended.clone().map(Some) };
        if mail.parts.is_empty() && over.is_none() {
            match &mut mail.waker {
                Some(waker) if waker.will_wake(context.waker()) => {}
                waker => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        Poll::Ready(Delivery { parts: std::mem::take(&mut mail.parts), over })
    }
}
