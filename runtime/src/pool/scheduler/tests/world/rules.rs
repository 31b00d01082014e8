//! What holds of each step, and where the scheduler rests.

use std::collections::BTreeSet;

use super::super::super::*;
use super::{Held, Process, World};

impl World {
    pub(super) fn obey(&mut self, step: Step) {
        let (lane, many) = (self.scheduler.settings.lane, self.many());
        if let Step::Spawn { worker } = step {
            assert!(self.processes.insert(worker, Process::default()).is_none());
            return;
        }
        let process = self.processes.get_mut(&step.worker()).expect("a step for a worker that is gone");
        assert!(!process.released, "{step:?} for one that was let go");
        match step {
            Step::Spawn { .. } => {}
            Step::Send { worker, number } => {
                assert!(process.born && !process.killed && process.parked == 0 && process.lane.len() < lane);
                assert!(process.lane.iter().all(|held| held.number % lane as u64 != number % lane as u64));
                let batch = self.scheduler.batch(worker, number).unwrap();
                assert!(batch.count > 0 && batch.count == batch.bundle.count() && batch.count <= self.orders[&batch.job].terms.cap);
                assert_eq!(batch.bundle.0, (batch.start..batch.start + batch.count).collect::<Vec<_>>());
                let order = &self.orders[&batch.job];
                let suspects = batch.bundle.0.iter().filter(|&&index| order.tasks[index].failed > 0).count();
                assert!(suspects == 0 || batch.count == 1, "one that has failed before is not alone");
                process.lane.push(Held {
                    number,
                    job: batch.job,
                    tasks: batch.bundle.0.clone(),
                    stride: batch.stride,
                    timeout: batch.timeout,
                    end: batch.count,
                    claimed: 0,
                    done: 0,
                    since: 0,
                    started: false,
                    finished: false,
                    stopped: None,
                });
            }
            Step::TakeBack { worker, number, all } => {
                let held = process.held(number);
                let left = held.end - held.claimed;
                let taken = if all { left } else { left.div_ceil(2) };
                held.end -= taken;
                if taken > 0 {
                    self.took_back(worker, number, taken);
                }
            }
            Step::Stop { worker, number, place } => {
                let now = self.now;
                let held = process.held(number);
                assert!(held.stride == 1 && held.claimed > place && held.stopped.is_none());
                if held.done > place && !many {
                    self.scheduler.missed(worker, number);
                } else {
                    assert_eq!(held.end, place + 1, "more could be begun");
                    held.stopped = Some((place, now));
                }
            }
            Step::Kill { .. } => {
                assert!(!process.killed && process.lane.iter().any(|held| held.stopped.is_some()));
                process.killed = true;
            }
            Step::Release { .. } => {
                assert!(process.lane.is_empty() && process.outbox.is_empty() && process.parked == 0 && !process.killed);
                process.released = true;
            }
        }
    }

    pub(super) fn took_back(&mut self, worker: u64, number: u64, count: usize) {
        let job = self.scheduler.batch(worker, number).unwrap().job;
        if let Some(order) = self.orders.get_mut(&job) {
            order.returned += 1;
        }
        self.scheduler.took_back(worker, number, count);
    }

    /// What always holds where the scheduler rests.
    pub(super) fn check(&mut self) {
        if self.given_up {
            return;
        }
        let Scheduler { settings, workers, jobs, parked, .. } = &self.scheduler;
        assert!(self.scheduler.steps.is_empty());
        assert!(workers.keys().eq(self.processes.keys()));
        assert_eq!(*parked, self.processes.values().filter(|process| process.parked > 0).count());
        let crew = self.scheduler.crew();
        assert!(crew.counting <= settings.most && crew.unborn <= 4);
        for (id, state) in workers {
            let process = &self.processes[id];
            assert_eq!(state.lane.len(), process.lane.len());
            assert_eq!(
                state.stopping,
                state.lane.iter().filter(|batch| batch.stopped.is_some_and(|stopped| stopped.deadline.is_some())).count()
            );
            for (batch, held) in state.lane.iter().zip(&process.lane) {
                assert_eq!((batch.number, batch.count, batch.bundle.count()), (held.number, held.end, held.end));
                assert_eq!(batch.stopped.map(|stopped| stopped.place), held.stopped.map(|(place, _)| place));
            }
            assert_eq!(state.given as usize, process.ran + process.lane.iter().map(|held| held.end).sum::<usize>());
            let full = settings.tasks_per_worker.is_none_or(|most| state.given <= most);
            assert!(full, "a worker was given more than it may run");
        }
        // Whatever is to happen with time, the timer rings for it.
        let rings = |at: u64| assert!(self.timer.is_some_and(|timer| timer <= at), "{:?} is later than {at}", self.timer);
        for process in self.processes.values().filter(|process| !process.killed) {
            for held in process.lane.iter().filter(|held| held.done < held.claimed) {
                match (held.stopped, held.timeout) {
                    (Some((_, at)), _) => rings(at + settings.grace),
                    (None, Some(timeout)) => rings(held.since + timeout),
                    (None, None) => {}
                }
            }
        }
        let waiting: usize = jobs.values().map(|job| job.waiting).sum();
        if waiting > 0 && crew.counting < settings.most && crew.unborn == 0 {
            rings(self.now + 1280 * 1_000_000);
        }
        self.changes += 1;
        if self.changes.is_multiple_of(5) {
            self.check_tasks();
        }
    }

    /// Each task that has not ended is somewhere, once.
    pub(in super::super) fn check_tasks(&self) {
        for (id, order) in &self.orders {
            let waiting = self.scheduler.jobs[id].waiting_bundles().flat_map(|bundle| &bundle.0);
            let counts = self.scheduler.jobs[id].waiting_bundles().map(Bundle::count);
            assert_eq!(self.scheduler.jobs[id].waiting, counts.sum::<usize>());
            let lanes = self.scheduler.workers.values().flat_map(|worker| &worker.lane).filter(|batch| batch.job == *id);
            let mut all = BTreeSet::new();
            for index in waiting.chain(lanes.flat_map(|batch| &batch.bundle.0)) {
                assert!(all.insert(*index), "task {index} is in two places");
            }
            let open = (0..order.supplied).filter(|&index| !order.tasks[index].ended);
            assert!(all.into_iter().eq(open), "a task was lost");
        }
    }
}
