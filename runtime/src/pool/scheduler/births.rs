//! When a worker is started, and when there is no use in starting more.
//!
//! Somebody new is wanted where tasks wait that nobody at hand can run, unless they are so little work that they would be done before
//! he is there. That is an estimate: where nothing is done for a while it was wrong, and somebody is started all the same.

use std::collections::VecDeque;

use super::worker::{Stage, Worker};
use super::{Bundle, Crew, Scheduler, Step};

/// Workers that are being started at once: more would not be there sooner, and if they die the fewer the better.
const UNBORN: usize = 4;
/// Deaths in a row, without a task, that end the pool.
const STRIKES: usize = 5;
/// How long the next birth waits after a first death without a task, in nanoseconds; twice as long after each that follows.
const PAUSE: u64 = 10_000_000;
/// The longest of these pauses.
const LONGEST: u64 = 128 * PAUSE;
/// With less work than this for each worker, in nanoseconds, it would be done before one more is there.
const WORTH: u64 = 500_000;
/// How long nothing may be done until that is not believed any more, in nanoseconds.
const PATIENCE: u64 = 2_000_000;

/// What births and deaths there were.
#[derive(Debug, Default)]
pub(super) struct Births {
    next: u64,
    /// Deaths in a row of workers that had begun nothing; those that had nothing to do are nobody's fault and not counted.
    strikes: usize,
    pause: u64,
    not_before: u64,
    /// When the last ones died, as far back as the budget looks.
    deaths: VecDeque<u64>,
    spent: bool,
    /// How often a worker died.
    restarts: u64,
}

impl Births {
    /// A worker died.
    pub(super) fn died(&mut self, proven: bool, idle: bool, now: u64, budget: Option<(usize, u64)>) {
        self.restarts += 1;
        if proven {
            self.proven();
        } else {
            self.strikes += usize::from(!idle);
            self.pause = (2 * self.pause).clamp(PAUSE, LONGEST);
            self.not_before = now.saturating_add(self.pause);
        }
        if let Some((most, within)) = budget {
            self.deaths.push_back(now);
            while self.deaths.front().is_some_and(|&death| death.saturating_add(within) < now) {
                self.deaths.pop_front();
            }
            self.spent |= self.deaths.len() > most;
        }
    }

    /// A worker has begun its first task.
    pub(super) fn proven(&mut self) {
        (self.strikes, self.pause, self.not_before) = (0, 0, 0);
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
    /// Whether there is no use in starting more workers: ask after each death. There is while any worker is of use.
    pub(crate) fn given_up(&self) -> Option<GivenUp> {
        if self.births.spent {
            return Some(GivenUp::Budget(self.births.deaths.len(), self.settings.restarts.map_or(0, |(_, within)| within)));
        }
        let struck = self.births.strikes >= STRIKES && !self.workers.values().any(Worker::is_of_use);
        struck.then_some(GivenUp::Strikes(self.births.strikes))
    }

    /// How often a worker died.
    pub(crate) fn restarts(&self) -> u64 {
        self.births.restarts
    }

    /// The next worker to start, if one is wanted.
    pub(super) fn birth(&mut self, crew: &Crew) -> Option<Step> {
        if self.birth_at(crew)? > self.now {
            return None;
        }
        self.births.next += 1;
        let worker = self.births.next;
        self.workers.insert(worker, Worker::new(self.now));
        Some(Step::Spawn { worker })
    }

    /// When a worker is to be started, as things are.
    pub(super) fn birth_at(&self, crew: &Crew) -> Option<u64> {
        // Where births fail, one after the other.
        let at_once = if self.births.pause > 0 { 1 } else { UNBORN };
        if crew.counting >= self.settings.most || crew.unborn >= at_once {
            return None;
        }
        if crew.counting < self.least() {
            return Some(self.births.not_before);
        }
        if self.is_idle(crew) {
            return None;
        }
        let (tasks, cost) = self.ahead();
        if tasks <= crew.unborn {
            return None;
        }
        let worth = crew.counting == 0 || cost >= WORTH.saturating_mul(crew.counting as u64);
        Some(self.births.not_before.max(if worth { 0 } else { self.moved.saturating_add(PATIENCE) }))
    }

    /// Tasks that one more worker could run, and the nanoseconds that these and those still to come take, as far as it is known.
    fn ahead(&self) -> (usize, u64) {
        let (mut tasks, mut cost) = (0, 0u64);
        // Where somebody works, what a new job's tasks cost will soon be known.
        let soon = self.workers.values().any(|worker| worker.stage == Stage::Ready && worker.parked == 0);
        for job in self.jobs.values() {
            tasks += job.waiting;
            if !soon || job.is_known() {
                cost = cost.saturating_add(job.cost_of(job.waiting.saturating_add(job.following)));
            }
        }
        for worker in self.workers.values().filter(|worker| worker.stage == Stage::Ready) {
            tasks += worker.ahead(self.abreast());
            for batch in worker.lane.iter().skip(self.abreast()) {
                cost = cost.saturating_add(self.jobs.get(&batch.job).map_or(0, |job| job.cost_of(batch.count)));
            }
        }
        (tasks, cost)
    }
}
