//! Tasks that were submitted one by one. Those of one function with the same terms are one job, so that they travel in batches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use super::state::State;
use super::{Seat, Shared};
use crate::link::library::lock;
use crate::pool::bundle::Encoded;
use crate::pool::error::{PoolError, TaskId};
use crate::pool::job::{Function, Job, Sink};
use crate::pool::scheduler::Terms;
use crate::pool::task::{Cell, Cells};

/// What makes tasks alike.
type Key = (u32, Option<u64>, u32);

struct Group {
    job: Arc<Job>,
    /// Arguments of tasks that the scheduler has not been given.
    open: VecDeque<Encoded>,
    /// The number of the first of them.
    first: usize,
}

#[derive(Default)]
pub(super) struct Groups {
    groups: BTreeMap<Key, Group>,
    /// Groups with something open.
    hungry: Vec<Key>,
    /// Tasks that have not ended.
    pending: usize,
    /// Who waits for there to be fewer.
    submitters: Vec<Waker>,
}

/// One task about to be submitted.
#[derive(Clone)]
pub(crate) struct Single {
    pub(crate) function: Function,
    pub(crate) terms: Terms,
    pub(crate) argument: Encoded,
}

/// Why a task was not taken.
pub(crate) enum Refused {
    /// So many wait already as may.
    Full,
    Over(Arc<PoolError>),
}

impl Groups {
    /// So many tasks have ended.
    pub(super) fn ended(&mut self, count: usize, wakers: &mut Vec<Waker>) {
        self.pending = self.pending.saturating_sub(count);
        wakers.append(&mut self.submitters);
    }

    pub(super) fn end(&mut self, wakers: &mut Vec<Waker>) {
        self.groups.clear();
        self.hungry.clear();
        wakers.append(&mut self.submitters);
    }

    /// Tasks that the scheduler has not been given.
    pub(super) fn waiting(&self) -> usize {
        self.groups.values().map(|group| group.open.len()).sum()
    }
}

impl Shared {
    /// Takes in a task, unless so many wait already; then `waker` is woken when there are fewer. If the caller does not wait for it at
    /// once, somebody sees to it.
    pub(crate) fn submit(&self, single: &Single, waits: bool, waker: &Waker) -> Result<(TaskId, Arc<Cell>, Seat), Refused> {
        let cell = Arc::new(Cell::default());
        let (id, seat) = self.change(false, |state| {
            state.admit().map_err(Refused::Over)?;
            if state.groups.pending >= self.plan.max_pending {
                state.groups.submitters.push(waker.clone());
                return Err(Refused::Full);
            }
            state.groups.pending += 1;
            let id = state.submit(single, &self.plan.terms(single.terms.clone()), cell.clone());
            Ok((id, state.seat(&self.me, id.job, false)))
        })?;
        if !waits {
            self.see_to();
        }
        Ok((id, cell, seat))
    }
}

impl State {
    fn submit(&mut self, single: &Single, terms: &Terms, cell: Arc<Cell>) -> TaskId {
        let Single { function, argument, .. } = single;
        let key = (function.entry, terms.timeout, terms.retries);
        if !self.groups.groups.contains_key(&key) {
            // Each is claimed by itself: one that is cancelled is the only one that can be running.
            let terms = Terms { chunk: Some(1), ..terms.clone() };
            let job = self.open(*function, terms, false, Sink::Tasks(Mutex::default()));
            self.groups.groups.insert(key, Group { job, open: VecDeque::new(), first: 0 });
        }
        let Some(group) = self.groups.groups.get_mut(&key) else { return TaskId { job: 0, index: 0 } };
        let index = match &group.job.sink {
            Sink::Tasks(cells) => lock::<Cells>(cells).add(cell),
            Sink::Mail(_) => 0,
        };
        if group.open.is_empty() {
            group.first = index;
            self.groups.hungry.push(key);
        }
        group.open.push_back(argument.clone());
        let id = group.job.id;
        if let Some(open) = self.jobs.get_mut(&id) {
            open.left += 1;
        }
        TaskId { job: id, index: index as u64 }
    }

    /// Gives the scheduler what it needs of the tasks that were submitted.
    pub(super) fn feed_groups(&mut self) {
        let Groups { groups, hungry, .. } = &mut self.groups;
        let scheduler = &mut self.scheduler;
        hungry.retain(|key| {
            let Some(group) = groups.get_mut(key) else { return false };
            scheduler.expect(group.job.id, group.open.len());
            while let Some(most) = scheduler.hunger(group.job.id) {
                let Some((count, bundle)) = Encoded::join(&mut group.open, most) else { break };
                scheduler.supply(group.job.id, group.first, bundle, group.open.len());
                group.first += count;
            }
            !group.open.is_empty()
        });
    }

    /// Takes out a task that has not begun; false where it has.
    pub(super) fn take_out(&mut self, job: u64, index: usize) -> bool {
        let open = self.groups.groups.values_mut().find(|group| group.job.id == job && index >= group.first && !group.open.is_empty());
        if let Some(group) = open {
            // Everything open goes to the scheduler, which knows how to take one out.
            while let Some((count, bundle)) = Encoded::join(&mut group.open, usize::MAX) {
                self.scheduler.supply(job, group.first, bundle, group.open.len());
                group.first += count;
            }
        }
        self.scheduler.take_out(job, index)
    }
}
