//! Tasks that are to stop, because their time is up or nobody wants them any more.
//!
//! First all that the worker has not begun is taken back. If the task has ended by then, nothing has happened. Otherwise nothing else
//! is begun there, and where a worker runs one task at a time nothing else can be running when it is killed. That holds for tasks that
//! are claimed one by one, so only those can be stopped.

use super::job::Job;
use super::worker::{Batch, Cause, Stage, Stopped, Worker};
use super::{Bundle, Progress, Scheduler, Step};

/// How long a worker that has tasks may begin none, where these have a timeout that is not longer, in nanoseconds.
const STANDSTILL: u64 = 1_000_000_000;

impl<B: Bundle> Scheduler<B> {
    /// The worker runs the task at this place of the batch, and is to stop it.
    pub(crate) fn stop(&mut self, worker: u64, number: u64, place: usize, cause: Cause) {
        let deadline = self.now.saturating_add(self.settings.grace);
        let Some(state) = self.workers.get_mut(&worker) else { return };
        let Some(batch) = state.place(number).and_then(|place| state.lane.get_mut(place)) else { return };
        if let Some(stopped) = &mut batch.stopped {
            // It is being stopped. Whether it is tried again is another matter.
            if stopped.place == place && cause == Cause::Cancelled {
                stopped.cause = cause;
            }
        } else if batch.stride == 1 && place < batch.count {
            batch.stopped = Some(Stopped { place, cause, deadline: Some(deadline) });
            state.stopping += 1;
            self.strip(worker);
            self.steps.push_back(Step::Stop { worker, number, place });
            self.watch(Some(deadline));
        }
    }

    /// Nothing is to be done with the batch any more. Whether a task of it was still to be asked to stop.
    pub(super) fn withdraw(&mut self, worker: u64, number: u64) -> bool {
        let mut unasked = false;
        self.steps.retain(|step| match *step {
            Step::TakeBack { worker: one, number: other, .. } => (one, other) != (worker, number),
            Step::Stop { worker: one, number: other, .. } if (one, other) == (worker, number) => {
                unasked = true;
                false
            }
            _ => true,
        });
        unasked
    }

    /// The task that was to stop had ended by then.
    pub(crate) fn missed(&mut self, worker: u64, number: u64) {
        let Some(state) = self.workers.get_mut(&worker) else { return };
        let Some(batch) = state.place(number).and_then(|place| state.lane.get_mut(place)) else { return };
        if let Some(stopped) = batch.stopped.take() {
            state.stopping -= usize::from(stopped.deadline.is_some());
            // What is behind it has its time too.
            let until = batch.timeout.map(|timeout| self.now.saturating_add(timeout));
            self.watch(until);
        }
    }

    /// Something may have to stop then.
    pub(super) fn watch(&mut self, at: Option<u64>) {
        self.due = self.due.into_iter().chain(at).min();
    }

    /// Time has passed; `look` tells how far a worker has come with a batch.
    pub(crate) fn tick(&mut self, now: u64, look: impl Fn(u64, &Batch<B>) -> Progress) {
        self.pass(now);
        let now = self.now;
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let (mut times, mut expired, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
        for (&id, worker) in self.workers.iter_mut().filter(|(_, worker)| worker.stage != Stage::Killed) {
            let (mut kill, mut running, mut standing) = (false, false, None);
            for batch in &mut worker.lane {
                let Some(stopped) = &mut batch.stopped else {
                    let Some(timeout) = batch.timeout else { continue };
                    let progress = look(id, batch);
                    batch.seen = progress.done;
                    if progress.begun().is_some() {
                        running = true;
                    } else {
                        standing = standing.or(Some((batch.number, progress.done, timeout.max(STANDSTILL))));
                    }
                    let until = progress.begun().unwrap_or(now).saturating_add(timeout);
                    if until > now {
                        times.push(until);
                    } else {
                        expired.push((id, batch.number, progress.done));
                    }
                    continue;
                };
                match stopped.deadline {
                    Some(deadline) if now < deadline => times.push(deadline),
                    Some(_) => {
                        let place = stopped.place;
                        stopped.deadline = None;
                        worker.stopping -= 1;
                        // Where it has ended, the batch's end is on the way.
                        kill |= look(id, batch).done <= place;
                    }
                    None => {}
                }
            }
            if kill {
                self.steps.push_back(Step::Kill { worker: id });
            }
            let standing = standing.filter(|_| !running && worker.stopping == 0);
            worker.standing = standing.map(|(number, done, patience)| {
                let before = worker.standing.filter(|(known, had, _)| (*known, *had) == (number, done));
                let since = before.map_or(now, |(.., since)| since);
                if now >= since.saturating_add(patience) {
                    frozen.push(id);
                }
                times.push(since.max(now.saturating_sub(patience) + 1).saturating_add(patience));
                (number, done, since)
            });
        }
        self.due = times.into_iter().min();
        for (worker, number, place) in expired {
            self.stop(worker, number, place, Cause::Timeout);
        }
        // Whatever holds such a worker up, none of its tasks is to blame.
        for worker in frozen {
            self.strip(worker);
            self.steps.push_back(Step::Kill { worker });
        }
    }

    /// The worker is to be killed; false where what was to stop has ended at the last moment.
    pub(super) fn condemn(&mut self, worker: u64) -> bool {
        let overdue = |batch: &Batch<B>| batch.stopped.is_some_and(|stopped| stopped.deadline.is_none());
        let frozen = |state: &Worker<B>| {
            let long = state.standing.is_some_and(|(.., since)| self.now >= since.saturating_add(STANDSTILL));
            // What is left of its batches has been begun meanwhile.
            long && !state.lane.iter().any(|batch| batch.count > batch.seen)
        };
        let doomed = |state: &&mut Worker<B>| state.lane.iter().any(overdue) || frozen(state);
        let Some(state) = self.workers.get_mut(&worker).filter(doomed) else { return false };
        state.stage = Stage::Killed;
        true
    }

    /// When [`tick`](Scheduler::tick) or [`next`](Scheduler::next) may have something to do because time has passed.
    pub(crate) fn alarm(&self) -> Option<u64> {
        if self.ended {
            return None;
        }
        let crew = self.crew();
        let ramps = self.jobs.values().filter_map(Job::ramps_until).filter(|until| *until > self.now);
        self.due.into_iter().chain(self.birth_at(&crew)).chain(self.rests_until(&crew)).chain(ramps).min()
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

impl Progress {
    /// When the task that is being run was begun, if there is one.
    fn begun(&self) -> Option<u64> {
        (self.claimed > self.done && self.since > 0).then_some(self.since)
    }
}
