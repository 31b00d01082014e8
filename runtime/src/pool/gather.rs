//! The results of a map, put in the order of its items.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{Failure, MapError, PoolError, TaskError};
use super::part::Opened;

/// See the module's documentation.
pub(crate) struct Gathered<R> {
    /// The values of the first tasks, as far as there is none missing.
    values: Vec<R>,
    /// Values that came before others that belong before them.
    ahead: BTreeMap<usize, Vec<R>>,
    failed: BTreeMap<usize, TaskError>,
}

impl<R> Gathered<R> {
    /// Room for about so many.
    pub(crate) fn new(expected: usize) -> Gathered<R> {
        // Bounded: a hint is only a hint.
        let room = expected.min((64 << 20) / size_of::<R>().max(1));
        Gathered { values: Vec::with_capacity(room), ahead: BTreeMap::new(), failed: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, opened: Opened<R>) {
        for (start, mut run) in opened.runs {
            if start == self.values.len() {
                self.values.append(&mut run);
            } else {
                self.ahead.insert(start, run);
            }
        }
        while let Some(mut entry) = self.ahead.first_entry().filter(|entry| *entry.key() == self.values.len()) {
            self.values.append(entry.get_mut());
            entry.remove();
        }
        for error in opened.failed {
            self.failed.entry(error.index).or_insert(error);
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// All values, or else what became of each of `count` tasks.
    pub(crate) fn values(self, count: usize, over: Option<&Arc<PoolError>>) -> Result<Vec<R>, MapError<R>> {
        if self.failed.is_empty() && self.values.len() == count && over.is_none() {
            return Ok(self.values);
        }
        let mut outcomes = self.slots(count);
        if let Some(over) = over {
            fill(&mut outcomes, over);
        }
        Err(MapError { outcomes })
    }

    /// What became of each of `count` tasks.
    pub(crate) fn outcomes(self, count: usize, over: Option<&Arc<PoolError>>) -> Vec<Result<R, TaskError>> {
        let closed = Arc::new(PoolError::Closed);
        let mut outcomes = self.slots(count);
        fill(&mut outcomes, over.unwrap_or(&closed));
        outcomes.into_iter().flatten().collect()
    }

    fn slots(self, count: usize) -> Vec<Option<Result<R, TaskError>>> {
        let mut outcomes: Vec<_> = self.values.into_iter().map(|value| Some(Ok(value))).collect();
        outcomes.resize_with(count, || None);
        for (start, run) in self.ahead {
            for (slot, value) in outcomes.iter_mut().skip(start).zip(run) {
                *slot = Some(Ok(value));
            }
        }
        for (index, error) in self.failed {
            if let Some(slot) = outcomes.get_mut(index) {
                *slot = Some(Err(error));
            }
        }
        outcomes
    }
}

/// The tasks that have not ended will not, because the pool did.
fn fill<R>(outcomes: &mut [Option<Result<R, TaskError>>], over: &Arc<PoolError>) {
    for (index, slot) in outcomes.iter_mut().enumerate() {
        slot.get_or_insert_with(|| Err(TaskError::new(0, index, 0, Failure::Pool(over.clone()))));
    }
}
