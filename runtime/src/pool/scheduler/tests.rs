//! Random schedules: whatever happens in whatever order, each task ends once and all of them end.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Held {
    batch: Batch,
    claimed: usize,
    done: usize,
    end: usize,
}

/// Workers, and what has become of each task.
struct World {
    scheduler: Scheduler,
    /// Living workers by id, whether they said they were ready, and their batches.
    workers: BTreeMap<u64, (bool, VecDeque<Held>)>,
    /// How often each task of each job was begun, and how often it ended.
    jobs: BTreeMap<u64, Vec<(u32, u32)>>,
    retired: Vec<u64>,
}

impl World {
    fn new(target: usize) -> World {
        World { scheduler: Scheduler::new(target), workers: BTreeMap::new(), jobs: BTreeMap::new(), retired: Vec::new() }
    }

    fn settle(&mut self, cut: usize) {
        let mut steps = 0;
        while let Some(step) = self.scheduler.next() {
            steps += 1;
            assert!(steps < 100_000, "the scheduler never rests");
            match step {
                Step::Spawn { worker } => {
                    assert!(self.workers.insert(worker, (false, VecDeque::new())).is_none());
                    assert!(self.workers.len() <= self.scheduler.target);
                }
                Step::Send { worker, job, start, most, stride } => {
                    assert!(most >= 1 && stride >= 1);
                    let count = most.min(cut.max(1));
                    let number = self.scheduler.sent(worker, job, start, count);
                    let (ready, lane) = self.workers.get_mut(&worker).unwrap();
                    assert!(*ready, "a worker that is not born was given tasks");
                    let batch = Batch { number, job, start, count };
                    lane.push_back(Held { batch, claimed: 0, done: 0, end: count });
                    assert!(lane.len() <= LANE);
                    assert!(!self.retired.contains(&job));
                }
                Step::TakeBack { worker, batch } => {
                    let (_, lane) = self.workers.get_mut(&worker).unwrap();
                    let held = lane.iter_mut().find(|held| held.batch.number == batch).unwrap();
                    let taken = (held.end - held.claimed).div_ceil(2);
                    held.end -= taken;
                    self.scheduler.took_back(worker, batch, taken);
                }
            }
        }
    }

    fn end(&mut self, job: u64, index: usize) {
        if let Some(tasks) = self.jobs.get_mut(&job) {
            tasks[index].1 += 1;
            assert_eq!(tasks[index].1, 1, "task {index} of job {job} ended twice");
        }
    }

    fn begin(&mut self, job: u64, index: usize) {
        if let Some(tasks) = self.jobs.get_mut(&job) {
            tasks[index].0 += 1;
            assert_eq!(tasks[index].0, 1, "task {index} of job {job} was begun twice");
        }
    }

    /// The nth worker claims, works, or says that it has finished.
    fn work(&mut self, nth: usize, stride: usize, nanos: u64) {
        let Some(id) = self.nth(nth) else { return };
        let Some((ready, lane)) = self.workers.get_mut(&id) else { return };
        if !*ready {
            *ready = true;
            self.scheduler.born(id);
            return;
        }
        let Some(held) = lane.front_mut() else { return };
        let batch = held.batch;
        if held.done < held.claimed {
            let index = batch.start + held.done;
            held.done += 1;
            self.begin(batch.job, index);
            self.end(batch.job, index);
        } else if held.claimed < held.end {
            held.claimed = (held.claimed + stride.max(1)).min(held.end);
        } else {
            let end = held.end;
            lane.pop_front();
            let finished = self.scheduler.finished(id, nanos).unwrap();
            assert_eq!(finished, Batch { count: end, ..batch });
        }
    }

    fn kill(&mut self, nth: usize) {
        let Some(id) = self.nth(nth) else { return };
        let Some((_, lane)) = self.workers.remove(&id) else { return };
        let fates = self.scheduler.died(id, |batch| {
            let held = lane.iter().find(|held| held.batch.number == batch.number).unwrap();
            (held.claimed, held.done)
        });
        assert_eq!(fates.len(), lane.len());
        for fate in fates.iter().filter(|fate| fate.culprit) {
            let index = fate.batch.start + fate.done;
            self.begin(fate.batch.job, index);
            self.end(fate.batch.job, index);
        }
    }

    fn nth(&self, nth: usize) -> Option<u64> {
        self.workers.keys().nth(nth % self.workers.len().max(1)).copied()
    }
}

#[derive(Clone, Debug)]
enum Event {
    Submit(usize, Option<usize>),
    Work(usize, usize, u64),
    Kill(usize),
    Cancel(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => (0..300_usize, proptest::option::of(1..40_usize)).prop_map(|(count, chunk)| Event::Submit(count, chunk)),
        20 => (0..8_usize, 1..20_usize, 1..3_000_000_u64).prop_map(|(nth, stride, nanos)| Event::Work(nth, stride, nanos)),
        1 => (0..8_usize).prop_map(Event::Kill),
        1 => (0..8_usize).prop_map(Event::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn each_task_ends_exactly_once(
        target in 1..6_usize,
        cut in 1..100_usize,
        events in proptest::collection::vec(event(), 1..200),
    ) {
        let mut world = World::new(target);
        let mut next = 0;
        for event in events {
            match event {
                Event::Submit(count, chunk) => {
                    next += 1;
                    world.jobs.insert(next, vec![(0, 0); count]);
                    world.scheduler.submit(next, count, chunk);
                }
                Event::Work(nth, stride, nanos) => world.work(nth, stride, nanos),
                Event::Kill(nth) => world.kill(nth),
                Event::Cancel(nth) => {
                    if let Some(&job) = world.jobs.keys().nth(nth) {
                        world.jobs.remove(&job);
                        world.retired.push(job);
                        world.scheduler.retire(job);
                    }
                }
            }
            world.settle(cut);
        }
        // Everybody works on in peace: everything ends.
        let mut rounds = 0;
        while world.jobs.values().flatten().any(|(_, ended)| *ended == 0) {
            rounds += 1;
            prop_assert!(rounds < 1_000_000, "no progress");
            world.work(rounds, 7, 1000);
            world.settle(cut);
        }
        prop_assert!(world.scheduler.crash_loop().is_none() || world.scheduler.strikes > 0);
    }
}

#[test]
fn batches_follow_the_cost() {
    let mut scheduler = Scheduler::new(1);
    scheduler.submit(1, 10_000_000, None);
    assert_eq!(scheduler.next(), Some(Step::Spawn { worker: 1 }));
    scheduler.born(1);
    let mut sizes = Vec::new();
    for _ in 0..12 {
        let Some(Step::Send { worker, job, start, most, .. }) = scheduler.next() else { panic!("nothing to send") };
        scheduler.sent(worker, job, start, most);
        sizes.push(most);
        scheduler.finished(1, most as u64 * 100);
    }
    assert_eq!(sizes[..6], [1, 8, 64, 512, 4096, 10_000]);
    assert_eq!(sizes[11], 10_000);
}

#[test]
fn workers_that_die_at_birth_are_counted() {
    let mut scheduler = Scheduler::new(1);
    scheduler.submit(1, 3, None);
    for death in 1..=scheduler.limit() {
        let Some(Step::Spawn { worker }) = scheduler.next() else { panic!("no replacement") };
        assert_eq!(scheduler.crash_loop(), None);
        scheduler.died(worker, |_| (0, 0));
        assert_eq!(scheduler.strikes, death);
    }
    assert_eq!(scheduler.crash_loop(), Some(5));
}
