//! When a worker is started, when one is let go, and when there is no use in starting more.

use std::collections::VecDeque;

use super::worker::{Stage, Worker};
use super::{Bundle, Scheduler, Step};

/// Workers that are being started at once: more would not be there sooner, and if they die the fewer the better.
const UNBORN: usize = 4;
/// Deaths in a row, without a task, that end the pool.
const STRIKES: usize = 5;
/// How long the next birth waits after a first such death, in nanoseconds; twice as long after each that follows.
const BACKOFF: u64 = 10_000_000;
/// With less work than this for each worker, in nanoseconds, it would be done before one more is there.
const WORTH: u64 = 500_000;

/// What births and deaths there were.
#[derive(Debug, Default)]
pub(super) struct Births {
    next: u64,
    strikes: usize,
    not_before: u64,
    /// When the last ones died, as far back as the budget looks.
    deaths: VecDeque<u64>,
    spent: bool,
    /// Workers that took the place of dead ones.
    pub(super) restarts: u64,
}

impl Births {
    /// A worker died, having run something or not.
    pub(super) fn died(&mut self, proven: bool, idle: bool, now: u64, budget: Option<(usize, u64)>) {
        self.restarts += 1;
        if proven {
            (self.strikes, self.not_before) = (0, 0);
        } else if !idle {
            self.not_before = now.saturating_add(BACKOFF << self.strikes.min(7));
            self.strikes += 1;
        }
        if let Some((most, within)) = budget {
            self.deaths.push_back(now);
            while self.deaths.front().is_some_and(|&death| death.saturating_add(within) < now) {
                self.deaths.pop_front();
            }
            self.spent |= self.deaths.len() > most;
        }
    }

    pub(super) fn proven(&mut self) {
        (self.strikes, self.not_before) = (0, 0);
    }
}

/// Why there will be no more workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// So many in a row died before they ran anything.
    Strikes(usize),
    /// So many died within so many nanoseconds, more than the budget allows.
    Budget(usize, u64),
}

impl<B: Bundle> Scheduler<B> {
    /// Whether there is no use in starting more workers.
    pub(crate) fn given_up(&self) -> Option<GivenUp> {
        if self.births.spent {
            return Some(GivenUp::Budget(self.births.deaths.len(), self.settings.restarts.map_or(0, |(_, within)| within)));
        }
        (self.births.strikes >= STRIKES).then_some(GivenUp::Strikes(self.births.strikes))
    }

    /// How often a worker died.
    pub(crate) fn restarts(&self) -> u64 {
        self.births.restarts
    }

    /// The next worker to start, if one is wanted.
    pub(super) fn birth(&mut self) -> Option<Step> {
        if !self.wants_birth() || self.now < self.births.not_before {
            return None;
        }
        self.births.next += 1;
        let worker = self.births.next;
        self.workers.insert(worker, Worker::new(self.now));
        Some(Step::Spawn { worker })
    }

    fn wants_birth(&self) -> bool {
        let counting = self.workers.values().filter(|worker| worker.counts()).count();
        let unborn = self.workers.values().filter(|worker| worker.stage == Stage::Unborn).count();
        if unborn >= UNBORN {
            return false;
        }
        if counting < self.settings.least {
            return true;
        }
        let waiting: usize = self.jobs.values().map(|job| job.waiting).sum();
        counting < self.settings.most && waiting > unborn && (counting == 0 || !self.nearly_done(counting))
    }

    /// Whether all that is left is known to be little.
    fn nearly_done(&self, workers: usize) -> bool {
        let work = |job: &super::Job<B>| Some(job.cost?.saturating_mul((job.waiting + job.following) as u64));
        let left = self.jobs.values().try_fold(0u64, |sum, job| Some(sum.saturating_add(work(job)?)));
        left.is_some_and(|left| left < WORTH * workers as u64)
    }

    /// The next worker to let go, if one has nothing to do and is one too many.
    pub(super) fn release(&mut self) -> Option<Step> {
        let counting = self.workers.values().filter(|worker| worker.counts()).count();
        let (now, idle) = (self.now, self.settings.idle);
        let rested = |worker: &Worker<B>| idle.is_some_and(|idle| now >= worker.idle_since.saturating_add(idle));
        let spare = counting > self.settings.least;
        let worn = self.settings.tasks_per_worker;
        let (&id, worker) = self.workers.iter_mut().rev().find(|(_, worker)| {
            let free = worker.lane.is_empty() && worker.parked == 0;
            let rest = worker.stage == Stage::Ready && (spare && rested(worker) || worn.is_some_and(|worn| worker.given >= worn));
            free && (rest || worker.stage == Stage::Leaving)
        })?;
        worker.stage = Stage::Gone;
        Some(Step::Release { worker: id })
    }

    /// When the births and rests have to be looked at again.
    pub(super) fn next_birth(&self) -> Option<u64> {
        let birth = (self.now < self.births.not_before && self.wants_birth()).then_some(self.births.not_before);
        let counting = self.workers.values().filter(|worker| worker.counts()).count();
        let rest = self.settings.idle.filter(|_| counting > self.settings.least).and_then(|idle| {
            let resting =
                self.workers.values().filter(|worker| worker.stage == Stage::Ready && worker.lane.is_empty() && worker.parked == 0);
            resting.map(|worker| worker.idle_since.saturating_add(idle)).min()
        });
        birth.into_iter().chain(rest).min()
    }

    /// A task of the worker's waits for this pool, or one such wait is over. False where too many wait already.
    pub(crate) fn park(&mut self, worker: u64) -> bool {
        if self.parked >= super::PARKED {
            return false;
        }
        let Some(state) = self.workers.get_mut(&worker) else { return false };
        state.parked += 1;
        if state.parked == 1 {
            self.parked += 1;
            self.steps.extend(state.lane.iter().map(|batch| Step::TakeBack { worker, number: batch.number, all: true }));
        }
        true
    }

    pub(crate) fn unpark(&mut self, worker: u64) {
        let Some(state) = self.workers.get_mut(&worker).filter(|state| state.parked > 0) else { return };
        state.parked -= 1;
        if state.parked == 0 {
            self.parked -= 1;
            state.idle_since = self.now;
            self.trim();
        }
    }

    /// Workers that are too many, the youngest first, get nothing any more.
    pub(super) fn trim(&mut self) {
        let counting = self.workers.values().filter(|worker| worker.counts()).count();
        let mut surplus = counting.saturating_sub(self.settings.most);
        for (&worker, state) in self.workers.iter_mut().rev() {
            if surplus > 0 && state.stage == Stage::Ready && state.parked == 0 {
                surplus -= 1;
                state.stage = Stage::Leaving;
                self.steps.extend(state.lane.iter().map(|batch| Step::TakeBack { worker, number: batch.number, all: true }));
            }
        }
    }
}
