//! Results as they come from a worker, and the values that they are.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::bundle::Encoded;
use super::error::{Failure, TaskError};
use crate::actor::batch::{self, next_record};
use crate::link::frame::Flags;
use crate::link::value::Names;
use crate::link::value::{self, DecodeError, Message};

/// A result that did not come with the others.
#[derive(Debug)]
pub(crate) enum Odd {
    Value(Flags, Vec<u8>, Vec<OwnedFd>),
    Failed(Failure),
    /// It does not count: the task is run again, or its end is told by itself.
    Void,
}

/// The results of consecutive tasks, as a page had them.
#[derive(Debug)]
pub(crate) enum Body {
    /// A vector of plain numbers.
    Numbers(Box<dyn Any + Send>),
    /// Plain numbers or records, as bytes, and the names of the structs in them.
    Bytes(Arc<Vec<u8>>, Arc<Names>),
}

/// What came of some tasks.
#[derive(Debug)]
pub(crate) enum Part {
    /// So many from `start` on ended: their results, but for the odd ones. With what they were given, if the job keeps that.
    Results { job: u64, start: usize, done: usize, body: Body, odd: BTreeMap<usize, Odd>, given: Option<Encoded> },
    /// One failed.
    Failed(TaskError),
}

/// Values and failures, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Opened<R> {
    /// Values of consecutive tasks.
    pub(crate) runs: Vec<(usize, Vec<R>)>,
    pub(crate) failed: Vec<TaskError>,
}

impl<R> Default for Opened<R> {
    fn default() -> Self {
        Opened { runs: Vec::new(), failed: Vec::new() }
    }
}

impl<R> Opened<R> {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.failed.is_empty()
    }

    /// How many tasks these are.
    pub(crate) fn count(&self) -> usize {
        self.failed.len() + self.runs.iter().map(|(_, run)| run.len()).sum::<usize>()
    }

    fn push(&mut self, start: usize, values: Vec<R>) {
        if !values.is_empty() {
            self.runs.push((start, values));
        }
    }
}

/// Where the results of a batch lie in its bytes: one range a task, as far as they go.
pub(crate) fn ranges(bytes: &[u8], width: Option<usize>, done: usize) -> impl Iterator<Item = Option<(Flags, Range<usize>)>> {
    let mut at = 0;
    (0..done).map(move |_| match width {
        Some(width) => {
            let range = at..at + width;
            at = range.end;
            (range.end <= bytes.len()).then_some((Flags::BLOCK, range))
        }
        None => {
            let mut rest = bytes.get(at..)?;
            let record = next_record(&mut rest)?;
            at = bytes.len() - rest.len();
            record.map(|(flags, value)| (flags, at - value.len()..at))
        }
    })
}

/// Where the first `done` results of a batch end in its bytes.
pub(crate) fn ends_at(bytes: &[u8], width: Option<usize>, done: usize) -> usize {
    match width {
        Some(width) => (width * done).min(bytes.len()),
        None => {
            let mut rest = bytes;
            for _ in 0..done {
                if next_record(&mut rest).is_none() {
                    break;
                }
            }
            bytes.len() - rest.len()
        }
    }
}

/// The value of one result: a number's bytes, or a record's.
#[inline]
pub(crate) fn open_one<R: Message>(flags: Flags, bytes: &[u8], names: &Names) -> Result<R, DecodeError> {
    match batch::width::<R>() {
        Some(_) => value::decode::<Vec<R>>(Flags::BLOCK, bytes, Vec::new())?.pop().ok_or_else(lost::<R>),
        None => names.decode(flags, bytes, Vec::new()),
    }
}

/// The value of a result that came by itself, or why there is none; `None` where it does not count.
pub(crate) fn open_odd<R: Message>(odd: Odd, names: &Names) -> Option<Result<R, Failure>> {
    let decoded = match odd {
        Odd::Void => return None,
        Odd::Failed(failure) => return Some(Err(failure)),
        // A number that found no place is a block of one.
        Odd::Value(flags, bytes, descriptors) => match batch::width::<R>() {
            Some(_) => open_one(flags, &bytes, names),
            None if flags.contains(Flags::BLOCK) => value::decode_owned(flags, bytes, descriptors),
            None => names.decode(flags, &bytes, descriptors),
        },
    };
    Some(decoded.map_err(|error| Failure::Decode(Arc::new(error))))
}

#[cold]
pub(crate) fn lost<R>() -> DecodeError {
    DecodeError { type_name: std::any::type_name::<R>().into(), reason: "it did not arrive".into() }
}

impl Part {
    /// Makes values of it. Runs the user's `Deserialize`.
    pub(crate) fn open<R: Message>(self, into: &mut Opened<R>) {
        match self {
            Part::Failed(error) => into.failed.push(error),
            Part::Results { start, done, body: Body::Numbers(numbers), odd, job, .. } => {
                let numbers = numbers.downcast::<Vec<R>>().map(|numbers| *numbers).unwrap_or_default();
                if odd.is_empty() && numbers.len() == done {
                    into.push(start, numbers);
                    return;
                }
                let mut numbers = numbers.into_iter();
                one_by_one(job, start, done, odd, into, &Names::new(), || numbers.next().ok_or_else(lost::<R>));
            }
            Part::Results { start, done, body: Body::Bytes(bytes, names), odd, job, .. } => {
                let mut ranges = ranges(&bytes, batch::width::<R>(), done);
                one_by_one(job, start, done, odd, into, &names, || match ranges.next().flatten() {
                    Some((flags, range)) => open_one(flags, &bytes[range], &names),
                    None => Err(lost::<R>()),
                });
            }
        }
    }
}

/// Sorts the results of consecutive tasks; `next` gives the next of those that came with the others.
fn one_by_one<R: Message>(
    job: u64,
    start: usize,
    done: usize,
    mut odd: BTreeMap<usize, Odd>,
    into: &mut Opened<R>,
    names: &Names,
    mut next: impl FnMut() -> Result<R, DecodeError>,
) {
    let (mut first, mut values) = (start, Vec::with_capacity(done));
    let mut places = 0..done;
    let mut regular = None;
    if odd.is_empty() {
        // As far as all is well there is nothing to look up.
        while places.start < done {
            match next() {
                Ok(value) => values.push(value),
                Err(error) => {
                    regular = Some(Err(error));
                    break;
                }
            }
            places.start += 1;
        }
    }
    for place in places {
        let regular = regular.take().unwrap_or_else(&mut next);
        let outcome = match odd.remove(&place) {
            None => Some(regular.map_err(|error| Failure::Decode(Arc::new(error)))),
            Some(odd) => open_odd(odd, names),
        };
        match outcome {
            Some(Ok(value)) => values.push(value),
            other => {
                into.push(std::mem::replace(&mut first, start + place + 1), std::mem::take(&mut values));
                if let Some(Err(failure)) = other {
                    into.failed.push(TaskError::new(job, start + place, 1, failure));
                }
            }
        }
    }
    into.push(first, values);
}
