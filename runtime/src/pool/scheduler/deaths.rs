//! How tasks end: with their batch, or with their worker.

use super::worker::{Batch, Cause, Stage};
use super::{Bundle, Progress, Scheduler};

/// A task that has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) job: u64,
    pub(crate) index: usize,
    pub(crate) attempts: u32,
    /// Why it was asked to stop, if it was.
    pub(crate) cause: Option<Cause>,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Fate<B> {
    pub(crate) batch: Batch<B>,
    /// So many from the front are done; their results count, but for the late one.
    pub(crate) done: usize,
    /// The place of one that was done after it was asked to stop.
    pub(crate) late: Option<usize>,
    pub(crate) ending: Option<Ending>,
}

impl<B: Bundle> Scheduler<B> {
    /// The worker has done all that was left of a batch, in so many nanoseconds; so many bytes of it are resident.
    pub(crate) fn finished(&mut self, worker: u64, number: u64, nanos: u64, resident: u64) -> Option<Fate<B>> {
        let withdrawn = self.withdraw(worker, number);
        let state = self.workers.get_mut(&worker)?;
        let mut batch = state.lane.remove(state.place(number)?)?;
        let count = batch.count;
        if let Some(stopped) = batch.stopped {
            state.stopping -= usize::from(stopped.deadline.is_some());
            batch.stopped = (!withdrawn).then_some(stopped);
        }
        if state.lane.is_empty() {
            state.idle_since = self.now;
        }
        if count > 0 && !std::mem::replace(&mut state.proven, true) {
            self.births.proven();
        }
        let late = batch.stopped.map(|stopped| stopped.place);
        if state.stage == Stage::Ready && self.settings.memory.is_some_and(|memory| resident > memory) {
            self.leave(worker);
        }
        if let Some(job) = self.jobs.get_mut(&batch.job) {
            job.landed(self.now);
        }
        if let Some(job) = self.jobs.get_mut(&batch.job).filter(|_| count > 0) {
            job.learn(count, nanos);
            // Whoever had failed before went alone.
            if late.is_none() {
                job.attempts.remove(&batch.start);
            }
        }
        self.stirred += 1;
        self.moved = self.now;
        let ending = late.and_then(|place| self.fail(&mut batch, place));
        Some(Fate { batch, done: count, late, ending })
    }

    /// The worker is dead; `look` tells how far it had come with a batch.
    pub(crate) fn died(&mut self, worker: u64, look: impl Fn(&Batch<B>) -> Progress) -> Vec<Fate<B>> {
        let Some(dead) = self.workers.remove(&worker) else { return Vec::new() };
        let idle = dead.stage != Stage::Unborn && dead.lane.iter().all(|batch| batch.count == 0);
        let mut proven = dead.proven;
        let mut fates = Vec::new();
        for mut batch in dead.lane {
            if let Some(job) = self.jobs.get_mut(&batch.job) {
                job.landed(self.now);
            }
            let progress = look(&batch);
            let claimed = progress.claimed.min(batch.count);
            let done = progress.done.min(claimed);
            proven |= claimed > 0;
            if batch.stopped.is_some() && self.withdraw(worker, batch.number) {
                batch.stopped = None;
            }
            // What was asked to stop and ended before the kill came is as good as killed.
            let stopped = batch.stopped.map(|stopped| stopped.place);
            let culprit = stopped.or((claimed > done).then_some(done));
            let behind = culprit.map_or(done, |place| place + 1);
            if batch.count > behind {
                let rest = batch.bundle.tail(behind);
                if let Some(job) = self.jobs.get_mut(&batch.job) {
                    job.wait(batch.start + behind, rest);
                }
            }
            let ending = culprit.and_then(|place| self.fail(&mut batch, place));
            fates.push(Fate { batch, done, late: stopped.filter(|&place| place < done), ending });
        }
        self.parked -= usize::from(dead.parked > 0);
        if dead.stage != Stage::Released {
            self.births.died(proven, idle, self.now, self.settings.restarts);
        }
        self.steps.retain(|step| step.worker() != worker);
        self.stirred += 1;
        fates
    }

    /// An attempt at a task has failed: it waits for the next, or this is its end.
    fn fail(&mut self, batch: &mut Batch<B>, place: usize) -> Option<Ending> {
        let (index, cause) = (batch.start + place, batch.stopped.map(|stopped| stopped.cause));
        let job = self.jobs.get_mut(&batch.job)?;
        let (attempts, again) = job.fail(index);
        if !again {
            return Some(Ending { job: batch.job, index, attempts, cause });
        }
        if cause == Some(Cause::Cancelled) {
            job.attempts.remove(&index);
            return Some(Ending { job: batch.job, index, attempts, cause });
        }
        job.wait(index, batch.bundle.again(place));
        None
    }
}
