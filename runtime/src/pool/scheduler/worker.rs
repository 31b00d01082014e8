//! One worker and its batches.

use std::collections::VecDeque;

/// Tasks that a worker has.
#[derive(Debug)]
pub(crate) struct Batch<B> {
    /// Its number among the worker's batches.
    pub(crate) number: u64,
    pub(crate) job: u64,
    pub(crate) start: usize,
    /// Tasks from the start on that have not been taken back.
    pub(crate) count: usize,
    /// Tasks that the worker claims at once.
    pub(crate) stride: usize,
    /// How long one of its tasks may take, in nanoseconds.
    pub(crate) timeout: Option<u64>,
    /// It has failed before. Where a worker runs many tasks at once, it runs this one by itself, as it may fail again.
    pub(super) suspect: bool,
    /// How many of its tasks were done when that was looked at last.
    pub(super) seen: usize,
    /// A task that was asked to stop while it ran. Nothing behind it is left in the batch.
    pub(super) stopped: Option<Stopped>,
    pub(crate) bundle: B,
}

/// A task that was asked to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    pub(super) place: usize,
    pub(super) cause: Cause,
    /// When its worker is killed, unless it has ended.
    pub(super) deadline: Option<u64>,
}

/// Why a task was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its time was up.
    Timeout,
    /// Nobody wants it any more.
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its process is being started.
    Unborn,
    Ready,
    /// It gets nothing any more and is let go when it has nothing left.
    Leaving,
    /// It was let go: its death is to follow, and means nothing.
    Released,
    /// It was killed: its death is to follow.
    Killed,
}

#[derive(Debug)]
pub(super) struct Worker<B> {
    pub(super) stage: Stage,
    pub(super) lane: VecDeque<Batch<B>>,
    pub(super) next: u64,
    /// Tasks that it was given.
    pub(super) given: u64,
    /// Whether it has begun any task, as far as that is known.
    pub(super) proven: bool,
    /// When it was last asked for tasks that it had not begun, as [`Scheduler::stirred`](super::Scheduler) counts.
    pub(super) asked: u64,
    /// Requests of its task's to this pool that are not answered.
    pub(super) parked: usize,
    pub(super) idle_since: u64,
    /// It runs no task, although it has some: its front batch, how much of that is done, and since when that is known.
    pub(super) standing: Option<(u64, usize, u64)>,
    /// Tasks that were asked to stop and have not.
    pub(super) stopping: usize,
}

impl<B> Batch<B> {
    /// The place of the task that is to stop.
    pub(crate) fn stopped_at(&self) -> Option<usize> {
        self.stopped.as_ref().map(|stopped| stopped.place)
    }
}

impl<B> Worker<B> {
    pub(super) fn new(now: u64) -> Worker<B> {
        Worker {
            stage: Stage::Unborn,
            lane: VecDeque::new(),
            next: 0,
            given: 0,
            proven: false,
            asked: 0,
            parked: 0,
            idle_since: now,
            standing: None,
            stopping: 0,
        }
    }

    /// Whether it takes tasks now.
    pub(super) fn at_hand(&self) -> bool {
        self.stage == Stage::Ready && self.parked == 0 && self.stopping == 0 && !self.lane.back().is_some_and(|batch| batch.suspect)
    }

    /// Whether it is one of the pool's workers at work: not on its way out, and not waiting for others.
    pub(super) fn counts(&self) -> bool {
        matches!(self.stage, Stage::Unborn | Stage::Ready) && self.parked == 0
    }

    /// The number of its next batch, whose remainder by `lane` no batch of its has.
    pub(super) fn number(&mut self, lane: usize) -> u64 {
        let lane = lane as u64;
        // They are in order: most of the time the first is not that old.
        while self.lane.front().is_some_and(|first| first.number + lane <= self.next)
            && self.lane.iter().any(|batch| batch.number % lane == self.next % lane)
        {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }

    /// Which of its batches has this number.
    pub(super) fn place(&self, number: u64) -> Option<usize> {
        self.lane.binary_search_by_key(&number, |batch| batch.number).ok()
    }

    /// Tasks that another may be able to run in its stead, where it runs so many batches abreast.
    pub(super) fn ahead(&self, abreast: usize) -> usize {
        let first = self.lane.front().map_or(0, |batch| batch.count.saturating_sub(batch.stride));
        let rest: usize = self.lane.iter().skip(abreast).map(|batch| batch.count).sum();
        if abreast == 1 { first + rest } else { rest }
    }
}
