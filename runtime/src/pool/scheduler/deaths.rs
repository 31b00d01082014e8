//! How tasks end: with their batch, with their worker, or because their time is up.

use super::worker::{Batch, Stage, Stopped};
use super::{Bundle, Progress, Scheduler, Step};

/// Why a task was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its time was up.
    Timeout,
    /// Nobody wants it any more.
    Cancelled,
}

/// A task that has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) job: u64,
    pub(crate) index: usize,
    pub(crate) attempts: u32,
    /// Why it was asked to stop, if it was.
    pub(crate) cause: Option<Cause>,
}

/// A batch that is done.
#[derive(Debug)]
pub(crate) struct Finished<B> {
    pub(crate) batch: Batch<B>,
    /// A task whose result comes too late and does not count; its end, if it is not to be run again.
    pub(crate) late: Option<(usize, Option<Ending>)>,
}

/// What a death means for a batch.
#[derive(Debug)]
pub(crate) struct Fate<B> {
    pub(crate) batch: Batch<B>,
    /// So many from the front are done; their results count, but for the late one.
    pub(crate) done: usize,
    pub(crate) late: Option<usize>,
    pub(crate) endings: Vec<Ending>,
}

impl<B: Bundle> Scheduler<B> {
    /// The worker has done all that was left of a batch, in so many nanoseconds; so many bytes of it are resident.
    pub(crate) fn finished(&mut self, worker: u64, number: u64, nanos: u64, resident: u64) -> Option<Finished<B>> {
        let state = self.workers.get_mut(&worker)?;
        let place = state.lane.iter().position(|batch| batch.number == number)?;
        let batch = state.lane.remove(place)?;
        let job = self.jobs.get_mut(&batch.job);
        if batch.count > 0 {
            state.proven = true;
            self.births.proven();
        }
        if let (Some(job), 1..) = (job, batch.count) {
            job.learn(batch.count, nanos);
            job.attempts.retain(|index, _| !(batch.start..batch.start + batch.count).contains(index));
        }
        if state.lane.is_empty() {
            state.idle_since = self.now;
        }
        if state.stage == Stage::Ready && self.settings.memory.is_some_and(|memory| resident > memory) {
            state.stage = Stage::Leaving;
        }
        let stopped = state.stopped.filter(|stopped| stopped.number == number);
        let mut late = None;
        if let Some(stopped) = stopped {
            if !stopped.killed {
                state.stopped = None;
            }
            let mut batch = batch;
            late = Some((stopped.place, self.fail(&mut batch, stopped.place, Some(stopped.cause))));
            self.stir();
            return Some(Finished { batch, late });
        }
        self.stir();
        Some(Finished { batch, late })
    }

    /// The worker is dead; `look` tells how far it had come with a batch.
    pub(crate) fn died(&mut self, worker: u64, look: impl Fn(&Batch<B>) -> Progress) -> Vec<Fate<B>> {
        let Some(dead) = self.workers.remove(&worker) else { return Vec::new() };
        // One that was idle is nobody's fault and tells nothing about the next; neither does one that was let go.
        let idle = dead.stage != Stage::Unborn && dead.lane.is_empty();
        let mut proven = dead.proven;
        let mut fates = Vec::new();
        for mut batch in dead.lane {
            let progress = look(&batch);
            let claimed = progress.claimed.min(batch.count);
            let done = progress.done.min(claimed);
            proven |= claimed > 0;
            let stopped = dead.stopped.filter(|stopped| stopped.number == batch.number);
            // What was asked to stop and ended before the kill came is as good as killed; and then nothing else was begun.
            let culprit = match stopped {
                Some(stopped) if stopped.place < claimed => Some(stopped.place),
                _ => (claimed > done).then_some(done),
            };
            let behind = culprit.map_or(done, |place| done.max(place + 1));
            if batch.count > behind {
                let rest = batch.bundle.tail(behind);
                if let Some(job) = self.jobs.get_mut(&batch.job) {
                    job.wait(batch.start + behind, rest);
                }
            }
            let ending = culprit.and_then(|place| self.fail(&mut batch, place, stopped.map(|stopped| stopped.cause)));
            let late = culprit.filter(|&place| place < done);
            fates.push(Fate { batch, done, late, endings: ending.into_iter().collect() });
        }
        if dead.parked > 0 {
            self.parked -= 1;
        }
        if dead.stage != Stage::Gone || dead.stopped.is_some() {
            self.births.died(proven, idle, self.now, self.settings.restarts);
        }
        self.stir();
        fates
    }

    /// An attempt at a task has failed: it waits for the next, or this is its end.
    fn fail(&mut self, batch: &mut Batch<B>, place: usize, cause: Option<Cause>) -> Option<Ending> {
        let index = batch.start + place;
        let job = self.jobs.get_mut(&batch.job)?;
        let (attempts, again) = job.fail(index);
        if again && cause != Some(Cause::Cancelled) {
            job.wait(index, batch.bundle.again(place));
            return None;
        }
        Some(Ending { job: batch.job, index, attempts, cause })
    }

    /// Time has passed; `look` tells how far a worker has come with the batch that it runs.
    pub(crate) fn tick(&mut self, now: u64, look: impl Fn(u64, &Batch<B>) -> Progress) {
        self.pass(now);
        let now = self.now;
        let mut expired = Vec::new();
        for (&id, worker) in &mut self.workers {
            if let Some(stopped) = &mut worker.stopped {
                if !stopped.killed && now >= stopped.at.saturating_add(self.settings.grace) {
                    stopped.killed = true;
                    worker.stage = Stage::Gone;
                    self.steps.push_back(Step::Kill { worker: id });
                }
                continue;
            }
            let Some(batch) = worker.lane.front() else { continue };
            let Some(timeout) = batch.timeout else { continue };
            let progress = look(id, batch);
            if progress.claimed > progress.done && progress.since > 0 && now >= progress.since.saturating_add(timeout) {
                expired.push((id, batch.number, progress.done));
            }
        }
        for (worker, number, place) in expired {
            self.stop(worker, number, place, Cause::Timeout);
        }
    }

    /// The worker runs the task at this place of the batch, and is to stop it.
    pub(crate) fn stop(&mut self, worker: u64, number: u64, place: usize, cause: Cause) {
        let now = self.now;
        let Some(state) = self.workers.get_mut(&worker).filter(|state| state.stopped.is_none()) else { return };
        self.steps.extend(state.lane.iter().map(|batch| Step::TakeBack { worker, number: batch.number, all: true }));
        self.steps.push_back(Step::Stop { worker, number, place });
        state.stopped = Some(Stopped { number, place, at: now, cause, killed: false });
    }

    /// When [`tick`](Scheduler::tick) has something to do next.
    pub(crate) fn alarm(&self, look: impl Fn(u64, &Batch<B>) -> Progress) -> Option<u64> {
        if self.ended {
            return None;
        }
        let tasks = self.workers.iter().filter_map(|(&id, worker)| match worker.stopped {
            Some(stopped) => (!stopped.killed).then(|| stopped.at.saturating_add(self.settings.grace)),
            None => {
                let batch = worker.lane.front()?;
                let timeout = batch.timeout?;
                let progress = look(id, batch);
                let since = if progress.claimed > progress.done { progress.since } else { self.now };
                Some(since.max(1).saturating_add(timeout))
            }
        });
        tasks.chain(self.next_birth()).min()
    }

    /// Where a task is: with which worker, in which batch, at which place there.
    pub(crate) fn find(&self, job: u64, index: usize) -> Option<(u64, u64, usize)> {
        self.workers.iter().find_map(|(&worker, state)| {
            let holds = |batch: &&Batch<B>| batch.job == job && (batch.start..batch.start + batch.count).contains(&index);
            state.lane.iter().find(holds).map(|batch| (worker, batch.number, index - batch.start))
        })
    }

    /// Takes out a task that waits; false where it does not.
    pub(crate) fn take_out(&mut self, job: u64, index: usize) -> bool {
        self.jobs.get_mut(&job).is_some_and(|job| job.take_out(index))
    }
}
