//! Which worker runs which tasks: a plain state machine.
//!
//! It does no I/O, reads no clock and knows no types: it is told what happened and asked for the [`Step`] to take next. Times are
//! nanoseconds of any clock that only goes forward.
//!
//! Jobs take turns. A job's tasks come as [`Bundle`]s of encoded arguments, a few ahead of need, and go out as batches. A batch is
//! about a millisecond of work by what the job's tasks have cost so far: it starts with one task and grows. Each worker is given one
//! batch ahead. When no task waits and a worker has nothing to do, it gets half of what another has not begun.
//!
//! After a death what was done is done, the task that was being run is the culprit, and the rest waits again. A culprit is run again
//! while its job's retries last. A task past its time is first asked to stop, then killed with its worker; before that all that
//! the worker has not begun is taken back, so that nothing else can be running when the kill arrives.
//!
//! A worker that runs a task which itself waits for this pool is *parked*: it does not count, and a substitute may be started.

mod births;
mod deaths;
mod job;
mod worker;

use std::collections::{BTreeMap, VecDeque};

use births::Births;
pub(crate) use births::GivenUp;
pub(crate) use deaths::{Cause, Ending};
use job::Job;
pub(crate) use job::Terms;
pub(crate) use worker::Batch;
use worker::{Stage, Worker};

/// Most tasks of a batch.
pub(crate) const MOST: usize = 1 << 16;
/// Batches that a worker has at once: one that it runs and one ahead.
pub(crate) const LANE: usize = 2;
/// Tasks that may wait on their own pool at once, each with a worker of its own.
pub(crate) const PARKED: usize = 256;

/// The encoded arguments of consecutive tasks.
pub(crate) trait Bundle {
    /// How many tasks.
    fn count(&self) -> usize;
    /// Takes the first `count` away, which is fewer than all.
    fn head(&mut self, count: usize) -> Self;
    /// Takes those behind the first `keep` away. The bundle may be on its way to a worker: its bytes stay what they are.
    fn tail(&mut self, keep: usize) -> Self;
    /// A copy of the one at this place, for another attempt at it.
    fn again(&mut self, place: usize) -> Self;
}

/// What a pool keeps to.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Workers that are kept where there is nothing to do.
    pub(crate) least: usize,
    /// Workers at work at once.
    pub(crate) most: usize,
    /// How long one above the least may have nothing to do, in nanoseconds.
    pub(crate) idle: Option<u64>,
    /// Tasks after which a worker is replaced.
    pub(crate) tasks_per_worker: Option<u64>,
    /// Resident bytes above which a worker is replaced.
    pub(crate) memory: Option<u64>,
    /// So many deaths within so many nanoseconds end the pool.
    pub(crate) restarts: Option<(usize, u64)>,
    /// From asking a task to stop until its worker is killed, in nanoseconds.
    pub(crate) grace: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start this worker.
    Spawn { worker: u64 },
    /// Send the worker this batch.
    Send { worker: u64, number: u64 },
    /// Take back what the worker has not begun of a batch, half of it or all, and say how much it was with
    /// [`Scheduler::took_back`].
    TakeBack { worker: u64, number: u64, all: bool },
    /// Ask the task at this place of the batch to stop.
    Stop { worker: u64, number: u64, place: usize },
    /// Kill the worker.
    Kill { worker: u64 },
    /// Let the worker go: it has nothing to do and gets nothing any more.
    Release { worker: u64 },
}

/// How far a worker has come with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Tasks claimed from the front.
    pub(crate) claimed: usize,
    /// Tasks whose results are there.
    pub(crate) done: usize,
    /// When the task that is being run was begun, where the worker notes that.
    pub(crate) since: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Scheduler<B> {
    settings: Settings,
    workers: BTreeMap<u64, Worker<B>>,
    jobs: BTreeMap<u64, Job<B>>,
    turns: VecDeque<u64>,
    steps: VecDeque<Step>,
    births: Births,
    parked: usize,
    now: u64,
    ended: bool,
}

impl<B: Bundle> Scheduler<B> {
    pub(crate) fn new(settings: Settings) -> Scheduler<B> {
        Scheduler {
            settings,
            workers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            turns: VecDeque::new(),
            steps: VecDeque::new(),
            births: Births::default(),
            parked: 0,
            now: 0,
            ended: false,
        }
    }

    /// It is this late now.
    pub(crate) fn pass(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// A job arrives. Its tasks follow with [`supply`](Scheduler::supply).
    pub(crate) fn open(&mut self, job: u64, terms: Terms) {
        self.jobs.insert(job, Job::new(terms));
        self.turns.push_back(job);
    }

    /// How many tasks the job's next bundle should have, if it should have one now.
    pub(crate) fn hunger(&self, job: u64) -> Option<usize> {
        let job = self.jobs.get(&job)?;
        let ahead = self.settings.most.min(64);
        (job.bundles() < ahead).then(|| job.most(self.settings.most))
    }

    /// About so many of the job's tasks are still to come.
    pub(crate) fn expect(&mut self, job: u64, following: usize) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.following = following;
        }
    }

    /// More of the job's tasks, numbered from `start` on; about so many will follow.
    pub(crate) fn supply(&mut self, job: u64, start: usize, bundle: B, following: usize) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.following = following;
            job.wait(start, bundle);
        }
    }

    /// Nobody wants the job any more, or all of it has ended: nothing of it is given out from now on, and what is not begun is
    /// taken back.
    pub(crate) fn retire(&mut self, job: u64) {
        if self.jobs.remove(&job).is_none() {
            return;
        }
        self.turns.retain(|turn| *turn != job);
        for (&worker, state) in &self.workers {
            let theirs = state.lane.iter().filter(|batch| batch.job == job && batch.count > 0);
            self.steps.extend(theirs.map(|batch| Step::TakeBack { worker, number: batch.number, all: true }));
        }
    }

    /// The worker is ready for its first batch.
    pub(crate) fn born(&mut self, worker: u64) {
        let now = self.now;
        if let Some(worker) = self.workers.get_mut(&worker).filter(|worker| worker.stage == Stage::Unborn) {
            worker.stage = Stage::Ready;
            worker.idle_since = now;
        }
    }

    /// The pool is to have so many workers. Those that are too many get nothing any more.
    pub(crate) fn resize(&mut self, most: usize) {
        self.settings.most = most.max(1);
        self.settings.least = self.settings.least.min(self.settings.most);
        self.trim();
    }

    /// The pool gives nothing out any more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.steps.clear();
    }

    /// What to do next; the caller does it, and asks again until there is nothing.
    pub(crate) fn next(&mut self) -> Option<Step> {
        if self.ended {
            return None;
        }
        if let Some(step) = self.steps.pop_front() {
            return Some(step);
        }
        let waiting = self.jobs.values().any(|job| job.waiting > 0);
        if waiting && let Some(step) = self.offer() {
            return Some(step);
        }
        self.birth().or_else(|| if waiting { None } else { self.steal() }).or_else(|| self.release())
    }

    /// The next batch for the worker that has the least to do.
    fn offer(&mut self) -> Option<Step> {
        let room = self.settings.tasks_per_worker;
        let open = |worker: &Worker<B>| worker.lane.len() < LANE && room.is_none_or(|room| worker.given < room);
        let free = self.workers.iter().filter(|(_, worker)| worker.at_hand() && open(worker));
        let (&id, _) = free.min_by_key(|(_, worker)| worker.lane.len())?;
        for _ in 0..self.turns.len() {
            let turn = self.turns.pop_front()?;
            self.turns.push_back(turn);
            let Some(job) = self.jobs.get_mut(&turn) else { continue };
            let worker = self.workers.get_mut(&id)?;
            let room = room.map_or(usize::MAX, |room| usize::try_from(room - worker.given).unwrap_or(usize::MAX));
            let most = job.most(self.settings.most).min(room);
            let (stride, timeout) = (job.stride(), job.terms.timeout);
            let Some((start, bundle)) = job.give(most) else { continue };
            worker.given += bundle.count() as u64;
            let number = worker.next;
            worker.next += 1;
            worker.lane.push_back(Batch { number, job: turn, start, count: bundle.count(), stride, timeout, bundle });
            self.stir();
            return Some(Step::Send { worker: id, number });
        }
        None
    }

    /// Half of what another has not begun, for one that has nothing to do.
    fn steal(&mut self) -> Option<Step> {
        if !self.workers.values().any(|worker| worker.at_hand() && worker.lane.is_empty()) {
            return None;
        }
        let (&id, victim) = self
            .workers
            .iter_mut()
            .filter(|(_, worker)| !worker.asked)
            .filter(|(_, worker)| worker.lane.len() > 1 || worker.lane.front().is_some_and(|batch| batch.count > batch.stride))
            .max_by_key(|(_, worker)| (worker.lane.len(), worker.lane.iter().map(|batch| batch.count).sum::<usize>()))?;
        victim.asked = true;
        let batch = victim.lane.iter().rev().find(|batch| batch.count > 0)?;
        Some(Step::TakeBack { worker: id, number: batch.number, all: false })
    }

    /// So many tasks were taken back from the end of the worker's batch.
    pub(crate) fn took_back(&mut self, worker: u64, number: u64, count: usize) {
        let Some(worker) = self.workers.get_mut(&worker) else { return };
        let Some(batch) = worker.lane.iter_mut().find(|batch| batch.number == number) else { return };
        let count = count.min(batch.count);
        if count == 0 {
            return;
        }
        worker.given -= count as u64;
        batch.count -= count;
        let back = batch.bundle.tail(batch.count);
        let start = batch.start + batch.count;
        if let Some(job) = self.jobs.get_mut(&batch.job) {
            job.wait(start, back);
        }
        self.stir();
    }

    /// A batch that a worker has.
    pub(crate) fn batch(&self, worker: u64, number: u64) -> Option<&Batch<B>> {
        self.workers.get(&worker)?.lane.iter().find(|batch| batch.number == number)
    }

    /// The batch that the worker runs, or runs next.
    pub(crate) fn running(&self, worker: u64) -> Option<&Batch<B>> {
        self.workers.get(&worker)?.lane.front()
    }

    /// Whether a worker has something to do, and whether it is parked.
    pub(crate) fn condition(&self, worker: u64) -> (bool, bool) {
        self.workers.get(&worker).map_or((false, false), |worker| (!worker.lane.is_empty(), worker.parked > 0))
    }

    /// Whether anything is under way: tasks with workers, or workers being started.
    pub(crate) fn is_busy(&self) -> bool {
        !self.ended && self.workers.values().any(|worker| !worker.lane.is_empty() || worker.stage == Stage::Unborn)
    }

    /// Tasks that wait, and tasks that workers have.
    pub(crate) fn load(&self) -> (usize, usize) {
        let waiting = self.jobs.values().map(|job| job.waiting).sum();
        let given = self.workers.values().flat_map(|worker| &worker.lane).map(|batch| batch.count).sum();
        (waiting, given)
    }

    fn stir(&mut self) {
        self.workers.values_mut().for_each(|worker| worker.asked = false);
    }
}

#[cfg(test)]
mod tests;
