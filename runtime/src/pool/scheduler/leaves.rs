//! Workers that leave: for good, because they are too many or worn out; or for a while, because their task waits for others.

use super::worker::{Stage, Worker};
use super::{Bundle, Crew, PARKED, Scheduler, Step};

impl<B: Bundle> Scheduler<B> {
    /// The pool is to have so many workers. Those that are too many get nothing any more.
    pub(crate) fn resize(&mut self, most: usize) {
        self.settings.most = most.max(1);
        self.trim();
    }

    /// Workers that are kept where there is nothing to do.
    pub(super) fn least(&self) -> usize {
        self.settings.least.min(self.settings.most)
    }

    /// Workers that are too many, the youngest first, leave.
    fn trim(&mut self) {
        let counting = self.workers.values().filter(|worker| worker.counts()).count();
        let surplus = counting.saturating_sub(self.settings.most);
        let youngest: Vec<_> = self.workers.iter().rev().filter(|(_, worker)| worker.counts()).map(|(&id, _)| id).take(surplus).collect();
        youngest.into_iter().for_each(|id| self.leave(id));
    }

    /// The worker gets nothing any more, and is let go when it has done what it runs.
    pub(super) fn leave(&mut self, worker: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.stage = Stage::Leaving;
        }
        self.strip(worker);
    }

    /// What the worker has not begun is for others.
    pub(super) fn strip(&mut self, worker: u64) {
        let lane = self.workers.get(&worker).into_iter().flat_map(|worker| &worker.lane).filter(|batch| batch.count > 0);
        self.steps.extend(lane.map(|batch| Step::TakeBack { worker, number: batch.number, all: true }));
    }

    /// The next worker to let go, if one has nothing to do and is one too many.
    pub(super) fn release(&mut self, crew: &Crew) -> Option<Step> {
        let rested = self.rests_until(crew).is_some_and(|until| until <= self.now);
        let worker = crew.leaving.or(crew.rested.filter(|_| rested).map(|(_, id)| id))?;
        self.workers.get_mut(&worker)?.stage = Stage::Released;
        Some(Step::Release { worker })
    }

    /// When the next worker has had nothing to do for too long.
    pub(super) fn rests_until(&self, crew: &Crew) -> Option<u64> {
        let (since, _) = crew.rested.filter(|_| crew.counting > self.least())?;
        Some(since.saturating_add(self.settings.idle?))
    }

    /// A task of the worker's waits for this pool. False where too many wait already.
    pub(crate) fn park(&mut self, worker: u64) -> bool {
        let Some(state) = self.workers.get_mut(&worker).filter(|state| state.parked > 0 || self.parked < PARKED) else { return false };
        state.parked += 1;
        if state.parked == 1 {
            self.parked += 1;
            self.strip(worker);
        }
        true
    }

    /// Such a wait is over.
    pub(crate) fn unpark(&mut self, worker: u64) {
        let Some(state) = self.workers.get_mut(&worker).filter(|state| state.parked > 0) else { return };
        state.parked -= 1;
        if state.parked == 0 {
            state.idle_since = self.now;
            self.parked -= 1;
            self.trim();
        }
    }
}

impl<B> Worker<B> {
    /// Whether something may be expected of it.
    pub(super) fn is_of_use(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Leaving) && self.parked == 0 && (self.proven || !self.lane.is_empty())
    }
}
