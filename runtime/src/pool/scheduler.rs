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
mod leaves;
mod stops;
mod worker;

use std::collections::{BTreeMap, VecDeque};

use births::Births;
pub(crate) use births::GivenUp;
pub(crate) use deaths::{Ending, Fate};
use job::Job;
pub(crate) use job::Terms;
pub(crate) use worker::{Batch, Cause};
use worker::{Stage, Worker};

/// Most tasks of a batch.
pub(crate) const MOST: usize = 1 << 16;
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
    /// Adds those that follow; gives them back where they cannot travel together.
    fn join(&mut self, next: Self) -> Result<(), Self>
    where
        Self: Sized;
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
    /// Batches that a worker has at once: those that it runs and as many ahead. Their numbers leave different remainders by this.
    pub(crate) lane: usize,
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
    /// Ask the task at this place of the batch to stop. Where it has ended by then, say so with [`Scheduler::missed`].
    Stop { worker: u64, number: u64, place: usize },
    /// Kill the worker.
    Kill { worker: u64 },
    /// Let the worker go: it has nothing to do and gets nothing any more.
    Release { worker: u64 },
}

impl Step {
    /// Whom it concerns.
    fn worker(&self) -> u64 {
        let (Step::Spawn { worker }
        | Step::Send { worker, .. }
        | Step::TakeBack { worker, .. }
        | Step::Stop { worker, .. }
        | Step::Kill { worker }
        | Step::Release { worker }) = *self;
        worker
    }
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
    /// Counts what may change where tasks can be taken back.
    stirred: u64,
    /// When a batch was last given out or done.
    moved: u64,
    /// No task is to stop, and no worker to be killed, before this.
    due: Option<u64>,
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
            stirred: 1,
            moved: 0,
            due: None,
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
        // As much as it takes to fill every worker's lane at once.
        let ahead = (self.settings.most * self.settings.lane).clamp(1, 256);
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
        while let Some(step) = self.steps.pop_front() {
            if !matches!(step, Step::Kill { worker } if !self.condemn(worker)) {
                return Some(step);
            }
        }
        let crew = self.crew();
        self.offer(&crew).or_else(|| self.steal(&crew)).or_else(|| self.birth(&crew)).or_else(|| self.release(&crew))
    }

    /// The next batch for the worker that has the least to do.
    fn offer(&mut self, crew: &Crew) -> Option<Step> {
        let (_, id) = crew.free?;
        if self.jobs.values().all(|job| job.waiting == 0) {
            return None;
        }
        let abreast = self.abreast();
        let worker = self.workers.get_mut(&id)?;
        let room = self.settings.tasks_per_worker.map(|most| most - worker.given);
        let room = room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
        for _ in 0..self.turns.len() {
            let turn = self.turns.pop_front()?;
            self.turns.push_back(turn);
            let Some(job) = self.jobs.get_mut(&turn) else { continue };
            let suspect = abreast > 1 && job.is_suspect();
            if suspect && !worker.lane.is_empty() || abreast == 1 && job.is_ramping(self.now) {
                continue;
            }
            let most = job.most(self.settings.most).min(room);
            let (stride, timeout) = (job.stride(), job.terms.timeout);
            let Some((start, bundle)) = job.give(most) else { continue };
            job.gave(self.now);
            let (number, count) = (worker.number(self.settings.lane), bundle.count());
            worker.given += count as u64;
            worker.lane.push_back(Batch { number, job: turn, start, count, stride, timeout, suspect, seen: 0, stopped: None, bundle });
            self.stirred += 1;
            self.moved = self.now;
            self.watch(timeout.map(|timeout| self.now.saturating_add(timeout)));
            return Some(Step::Send { worker: id, number });
        }
        None
    }

    /// Half of what another has not begun, for one that has nothing to do.
    fn steal(&mut self, crew: &Crew) -> Option<Step> {
        if !self.is_idle(crew) {
            return None;
        }
        let (stirred, abreast) = (self.stirred, self.abreast());
        let others = self.workers.iter().filter(|(_, worker)| worker.asked < stirred);
        let others = others.map(|(&id, worker)| (worker.ahead(abreast), worker.lane.len(), id)).filter(|(ahead, ..)| *ahead > 0);
        let (_, _, id) = others.max_by_key(|&(ahead, batches, id)| (batches, ahead, id))?;
        let victim = self.workers.get_mut(&id)?;
        victim.asked = stirred;
        let batch = victim.lane.iter().rev().find(|batch| batch.count > 0)?;
        Some(Step::TakeBack { worker: id, number: batch.number, all: false })
    }

    /// So many tasks were taken back from the end of the worker's batch.
    pub(crate) fn took_back(&mut self, worker: u64, number: u64, count: usize) {
        let Some(worker) = self.workers.get_mut(&worker) else { return };
        let Some(batch) = worker.place(number).and_then(|place| worker.lane.get_mut(place)) else { return };
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
        self.stirred += 1;
    }

    /// A batch that a worker has.
    pub(crate) fn batch(&self, worker: u64, number: u64) -> Option<&Batch<B>> {
        let worker = self.workers.get(&worker)?;
        worker.lane.get(worker.place(number)?)
    }

    /// Whether a worker has something to do, and whether it is parked.
    pub(crate) fn condition(&self, worker: u64) -> (bool, bool) {
        self.workers.get(&worker).map_or((false, false), |worker| (!worker.lane.is_empty(), worker.parked > 0))
    }

    /// Whether anything is under way: tasks with workers, or workers being started.
    pub(crate) fn is_busy(&self) -> bool {
        !self.ended && self.workers.values().any(|worker| !worker.lane.is_empty() || worker.stage == Stage::Unborn)
    }

    /// Whether a worker runs a batch of more than one task.
    pub(crate) fn has_large_batches(&self) -> bool {
        !self.ended && self.workers.values().any(|worker| worker.lane.front().is_some_and(|batch| batch.bundle.count() > 1))
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Tasks that wait, and tasks that workers have.
    pub(crate) fn load(&self) -> (usize, usize) {
        let waiting = self.jobs.values().map(|job| job.waiting).sum();
        let given = self.workers.values().flat_map(|worker| &worker.lane).map(|batch| batch.count).sum();
        (waiting, given)
    }

    /// Batches that a worker runs at once.
    fn abreast(&self) -> usize {
        self.settings.lane.div_ceil(2)
    }

    /// Whether somebody has less to do than he could.
    fn is_idle(&self, crew: &Crew) -> bool {
        crew.free.is_some_and(|(batches, _)| batches < self.abreast())
    }

    /// Who there is.
    fn crew(&self) -> Crew {
        let mut crew = Crew::default();
        let worn = self.settings.tasks_per_worker.unwrap_or(u64::MAX);
        for (&id, worker) in &self.workers {
            let (batches, ready) = (worker.lane.len(), worker.stage == Stage::Ready);
            crew.counting += usize::from(worker.counts());
            crew.unborn += usize::from(worker.stage == Stage::Unborn);
            if worker.at_hand() && worker.given < worn && batches < crew.free.map_or(self.settings.lane, |(least, _)| least) {
                crew.free = Some((batches, id));
            }
            if batches == 0 && worker.parked == 0 && (worker.stage == Stage::Leaving || ready && worker.given >= worn) {
                crew.leaving = Some(id);
            } else if batches == 0 && worker.parked == 0 && ready && crew.rested.is_none_or(|(since, _)| worker.idle_since <= since) {
                crew.rested = Some((worker.idle_since, id));
            }
        }
        crew
    }
}

/// The workers at one moment.
#[derive(Debug, Default)]
struct Crew {
    /// Those that count as the pool's.
    counting: usize,
    unborn: usize,
    /// The one that has the least to do of those that take tasks: how many batches it has, and who it is.
    free: Option<(usize, u64)>,
    /// One that is to be let go.
    leaving: Option<u64>,
    /// The one that has had nothing to do for the longest time, and since when.
    rested: Option<(u64, u64)>,
}

#[cfg(test)]
mod tests;
