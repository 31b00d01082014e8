//! Which worker runs which tasks: a plain state machine.
//!
//! It does no I/O, reads no clock and knows no types: it is told what happened and asked for the [`Step`] to take next. Jobs take
//! turns. A batch is about a millisecond of work by what the job's tasks have cost so far: it starts with one task and grows. Each
//! worker is given one batch ahead. When no task waits and a worker has nothing to do, it gets half of what another has
//! not begun. After a death what was done is done, the task that was being run is the culprit, and the rest waits again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// What a batch should cost, in nanoseconds.
const BATCH: u64 = 1_000_000;
/// What the tasks that a worker claims at once may cost together, in nanoseconds.
const STRIDE: u64 = 10_000;
/// How much larger than the last a batch may be while costs are being learned.
const GROWTH: usize = 8;
/// Most tasks of a batch.
pub(crate) const MOST: usize = 1 << 16;
/// Batches that a worker has at once: one that it runs and one ahead.
pub(crate) const LANE: usize = 2;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start this worker.
    Spawn { worker: u64 },
    /// Send the worker the job's tasks from `start` on, `most` at the most, and say how many it was with [`Scheduler::sent`].
    Send {
        worker: u64,
        job: u64,
        start: usize,
        most: usize,
        /// How many tasks the worker claims at once.
        stride: usize,
    },
    /// Take back about half of what the worker has not begun of its batch, and say how many it was with
    /// [`Scheduler::took_back`].
    TakeBack { worker: u64, batch: u64 },
}

/// One batch with a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Its number among the worker's batches.
    pub(crate) number: u64,
    pub(crate) job: u64,
    pub(crate) start: usize,
    pub(crate) count: usize,
}

/// What a death means for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) batch: Batch,
    /// So many from the front are done.
    pub(crate) done: usize,
    /// The task that follows them was being run.
    pub(crate) culprit: bool,
}

#[derive(Debug, Default)]
struct Worker {
    born: bool,
    lane: VecDeque<Batch>,
    next: u64,
    /// Whether it has finished or failed at any task.
    proven: bool,
    /// It was asked for tasks it had not begun and nothing has happened since.
    asked: bool,
}

#[derive(Debug)]
struct Job {
    fresh: Range<usize>,
    returned: VecDeque<Range<usize>>,
    chunk: Option<usize>,
    size: usize,
    /// Nanoseconds a task.
    cost: Option<u64>,
}

impl Job {
    fn waiting(&self) -> usize {
        self.fresh.len() + self.returned.iter().map(ExactSizeIterator::len).sum::<usize>()
    }

    fn stride(&self) -> usize {
        self.cost.map_or(1, |cost| usize::try_from(STRIDE / cost.max(1)).unwrap_or(1)).clamp(1, 4096)
    }

    /// How many tasks the next batch should have.
    fn most(&self, workers: usize) -> usize {
        if let Some(chunk) = self.chunk {
            return chunk;
        }
        // Towards the end the batches get smaller, so that nobody is left with much when the others are done.
        let share = self.waiting().div_ceil(2 * workers.max(1));
        self.size.min(share.max(self.size / 8)).max(1)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Scheduler {
    target: usize,
    workers: BTreeMap<u64, Worker>,
    jobs: BTreeMap<u64, Job>,
    turns: VecDeque<u64>,
    next_worker: u64,
    strikes: usize,
    ended: bool,
}

impl Scheduler {
    pub(crate) fn new(target: usize) -> Scheduler {
        Scheduler {
            target,
            workers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            turns: VecDeque::new(),
            next_worker: 1,
            strikes: 0,
            ended: false,
        }
    }

    /// Deaths in a row, without a task, that end the pool.
    pub(crate) fn limit(&self) -> usize {
        (2 * self.target).max(5)
    }

    /// A job of so many tasks arrives; with `chunk`, in batches of so many.
    pub(crate) fn submit(&mut self, job: u64, count: usize, chunk: Option<usize>) {
        let chunk = chunk.map(|chunk| chunk.clamp(1, MOST));
        self.jobs.insert(job, Job { fresh: 0..count, returned: VecDeque::new(), chunk, size: 1, cost: None });
        self.turns.push_back(job);
    }

    /// The job is over or no longer wanted: none of its tasks is given out from now on.
    pub(crate) fn retire(&mut self, job: u64) {
        self.jobs.remove(&job);
        self.turns.retain(|turn| *turn != job);
    }

    /// The worker is ready for its first batch.
    pub(crate) fn born(&mut self, worker: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.born = true;
        }
    }

    /// The pool gives nothing out any more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// What to do next; the caller does it, and asks again until there is nothing.
    pub(crate) fn next(&mut self) -> Option<Step> {
        if self.ended {
            return None;
        }
        let waiting = self.jobs.values().any(|job| job.waiting() > 0);
        if waiting && self.workers.len() < self.target {
            let worker = self.next_worker;
            self.next_worker += 1;
            self.workers.insert(worker, Worker::default());
            return Some(Step::Spawn { worker });
        }
        if waiting {
            let (&id, worker) = self.workers.iter().filter(|(_, worker)| worker.born).min_by_key(|(_, worker)| worker.lane.len())?;
            if worker.lane.len() < LANE {
                return self.offer(id);
            }
            return None;
        }
        if !self.workers.values().any(|worker| worker.born && worker.lane.is_empty()) {
            return None;
        }
        let (&id, victim) = self
            .workers
            .iter_mut()
            .filter(|(_, worker)| !worker.asked)
            .filter(|(_, worker)| worker.lane.len() > 1 || worker.lane.front().is_some_and(|batch| batch.count > 1))
            .max_by_key(|(_, worker)| (worker.lane.len(), worker.lane.iter().map(|batch| batch.count).sum::<usize>()))?;
        victim.asked = true;
        let batch = victim.lane.iter().rev().find(|batch| batch.count > 0)?;
        Some(Step::TakeBack { worker: id, batch: batch.number })
    }

    fn offer(&mut self, worker: u64) -> Option<Step> {
        let workers = self.target;
        for _ in 0..self.turns.len() {
            let id = self.turns.pop_front()?;
            self.turns.push_back(id);
            let Some(job) = self.jobs.get(&id).filter(|job| job.waiting() > 0) else { continue };
            let (start, length) = match job.returned.front() {
                Some(range) => (range.start, range.len()),
                None => (job.fresh.start, job.fresh.len()),
            };
            let most = job.most(workers).min(length);
            return Some(Step::Send { worker, job: id, start, most, stride: job.stride() });
        }
        None
    }

    /// The worker was sent the job's tasks from `start` on, so many: the number of that batch.
    pub(crate) fn sent(&mut self, worker: u64, job: u64, start: usize, count: usize) -> u64 {
        if let Some(job) = self.jobs.get_mut(&job) {
            let range = match job.returned.front_mut() {
                Some(range) if range.start == start => range,
                _ => &mut job.fresh,
            };
            range.start += count.min(range.len());
            job.returned.retain(|range| !range.is_empty());
        }
        self.stir();
        let Some(worker) = self.workers.get_mut(&worker) else { return 0 };
        let number = worker.next;
        worker.next += 1;
        worker.lane.push_back(Batch { number, job, start, count });
        number
    }

    /// So many tasks were taken back from the end of the worker's batch.
    pub(crate) fn took_back(&mut self, worker: u64, batch: u64, count: usize) -> Option<Batch> {
        let batch = self.workers.get_mut(&worker)?.lane.iter_mut().find(|candidate| candidate.number == batch)?;
        batch.count -= count.min(batch.count);
        let back = Batch { start: batch.start + batch.count, count, ..*batch };
        self.wait_again(back.job, back.start..back.start + count);
        Some(back)
    }

    /// The batch that the worker runs.
    pub(crate) fn running(&self, worker: u64) -> Option<Batch> {
        self.workers.get(&worker)?.lane.front().copied()
    }

    /// All batches of the worker.
    pub(crate) fn lane(&self, worker: u64) -> Vec<Batch> {
        self.workers.get(&worker).map(|worker| worker.lane.iter().copied().collect()).unwrap_or_default()
    }

    /// All batches of the job, with their workers.
    pub(crate) fn batches(&self, job: u64) -> Vec<(u64, Batch)> {
        let all = self.workers.iter().flat_map(|(&id, worker)| worker.lane.iter().map(move |batch| (id, *batch)));
        all.filter(|(_, batch)| batch.job == job).collect()
    }

    /// The worker has done all that was left of the batch that it ran, in so many nanoseconds.
    pub(crate) fn finished(&mut self, worker: u64, nanos: u64) -> Option<Batch> {
        let worker = self.workers.get_mut(&worker)?;
        let batch = worker.lane.pop_front()?;
        if batch.count > 0 {
            worker.proven = true;
            self.strikes = 0;
            if let Some(job) = self.jobs.get_mut(&batch.job) {
                let cost = (nanos / batch.count as u64).max(1);
                job.cost = Some(cost);
                let wanted = usize::try_from(BATCH / cost).unwrap_or(MOST).clamp(1, MOST);
                job.size = wanted.min(job.size.saturating_mul(GROWTH));
            }
        }
        self.stir();
        Some(batch)
    }

    /// The worker is dead; `progress` tells how many tasks of a batch it had claimed, and how many of those were done.
    pub(crate) fn died(&mut self, worker: u64, progress: impl Fn(&Batch) -> (usize, usize)) -> Vec<Fate> {
        let Some(dead) = self.workers.remove(&worker) else { return Vec::new() };
        // One that was idle is nobody's fault and tells nothing about the next.
        let mut proven = dead.proven;
        let idle = dead.born && dead.lane.is_empty();
        let mut fates = Vec::new();
        for batch in dead.lane {
            let (claimed, done) = progress(&batch);
            let claimed = claimed.min(batch.count);
            let done = done.min(claimed);
            let culprit = claimed > done;
            proven |= claimed > 0;
            let rest = batch.start + done + usize::from(culprit)..batch.start + batch.count;
            self.wait_again(batch.job, rest);
            fates.push(Fate { batch, done, culprit });
        }
        if proven {
            self.strikes = 0;
        } else if !idle {
            self.strikes += 1;
        }
        self.stir();
        fates
    }

    /// Whether so many workers died in a row that there is no use in starting more; how many those were.
    pub(crate) fn crash_loop(&self) -> Option<usize> {
        (self.strikes >= self.limit()).then_some(self.strikes)
    }

    fn wait_again(&mut self, job: u64, range: Range<usize>) {
        if let Some(job) = self.jobs.get_mut(&job)
            && !range.is_empty()
        {
            job.returned.push_back(range);
        }
    }

    fn stir(&mut self) {
        self.workers.values_mut().for_each(|worker| worker.asked = false);
    }
}

#[cfg(test)]
mod tests;
