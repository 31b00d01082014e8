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
    pub(crate) bundle: B,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its process is being started.
    Unborn,
    Ready,
    /// It gets nothing any more and is let go when it has nothing left.
    Leaving,
    /// It was let go, or killed: its death is to follow.
    Gone,
}

/// A task that was asked to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stopped {
    pub(super) number: u64,
    pub(super) place: usize,
    pub(super) at: u64,
    pub(super) cause: super::deaths::Cause,
    pub(super) killed: bool,
}

#[derive(Debug)]
pub(super) struct Worker<B> {
    pub(super) stage: Stage,
    pub(super) lane: VecDeque<Batch<B>>,
    pub(super) next: u64,
    /// Tasks that it was given.
    pub(super) given: u64,
    /// Whether it has finished or failed at any task.
    pub(super) proven: bool,
    /// It was asked for tasks it had not begun and nothing has happened since.
    pub(super) asked: bool,
    /// Requests of its task's to this pool that are not answered.
    pub(super) parked: usize,
    pub(super) idle_since: u64,
    pub(super) stopped: Option<Stopped>,
}

impl<B> Worker<B> {
    pub(super) fn new(now: u64) -> Worker<B> {
        Worker {
            stage: Stage::Unborn,
            lane: VecDeque::new(),
            next: 0,
            given: 0,
            proven: false,
            asked: false,
            parked: 0,
            idle_since: now,
            stopped: None,
        }
    }

    /// Whether it takes tasks now.
    pub(super) fn at_hand(&self) -> bool {
        self.stage == Stage::Ready && self.parked == 0 && self.stopped.is_none()
    }

    /// Whether it is one of the pool's workers at work: not on its way out, and not waiting for others.
    pub(super) fn counts(&self) -> bool {
        matches!(self.stage, Stage::Unborn | Stage::Ready) && self.parked == 0
    }
}
