//! What the scheduler does in single cases, and in random schedules.

mod births;
mod schedules;
mod stops;
mod world;

use super::*;
use world::Indices;

const MS: u64 = 1_000_000;

fn settings(most: usize) -> Settings {
    Settings { least: 0, most, idle: None, tasks_per_worker: None, memory: None, restarts: None, grace: 100 * MS, lane: 2 }
}

fn scheduler(settings: Settings) -> Scheduler<Indices> {
    Scheduler::new(settings)
}

fn terms() -> Terms {
    Terms { cap: MOST, ..Terms::default() }
}

/// Supplies tasks `start..start + count` of a new job 1, or of one that is there.
fn supply(scheduler: &mut Scheduler<Indices>, start: usize, count: usize) {
    if !scheduler.jobs.contains_key(&1) {
        scheduler.open(1, terms());
    }
    scheduler.supply(1, start, Indices((start..start + count).collect()), 0);
}

/// A scheduler with one worker that has learned what tasks cost, and has nothing to do.
fn warm(settings: Settings, terms: Terms, cost: u64) -> Scheduler<Indices> {
    let mut scheduler = scheduler(settings);
    scheduler.open(1, terms);
    supply(&mut scheduler, 1000, 1);
    assert_eq!(scheduler.next(), Some(Step::Spawn { worker: 1 }));
    scheduler.born(1);
    assert_eq!(scheduler.next(), Some(Step::Send { worker: 1, number: 0 }));
    scheduler.finished(1, 0, cost, 0);
    assert_eq!(scheduler.next(), None);
    scheduler
}

fn steps(scheduler: &mut Scheduler<Indices>) -> Vec<Step> {
    std::iter::from_fn(|| scheduler.next()).take(1000).collect()
}

#[test]
fn batches_follow_the_cost() {
    let mut scheduler = scheduler(settings(1));
    supply(&mut scheduler, 0, 100_000);
    assert_eq!(scheduler.next(), Some(Step::Spawn { worker: 1 }));
    scheduler.born(1);
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let Some(Step::Send { worker, number }) = scheduler.next() else { panic!("nothing to send") };
        let count = scheduler.batch(worker, number).unwrap().count;
        sizes.push(count);
        scheduler.finished(worker, number, count as u64 * 100, 0);
    }
    assert_eq!(sizes, [1, 8, 64, 512, 4096, 10_000]);
    assert_eq!(scheduler.jobs[&1].stride(), 100);
}

#[test]
fn jobs_take_turns() {
    let mut scheduler = warm(settings(1), terms(), MS);
    scheduler.open(2, terms());
    supply(&mut scheduler, 0, 3);
    scheduler.supply(2, 0, Indices((0..3).collect()), 0);
    let mut jobs = Vec::new();
    for number in 1..7 {
        assert_eq!(scheduler.next(), Some(Step::Send { worker: 1, number }));
        jobs.push(scheduler.batch(1, number).unwrap().job);
        scheduler.finished(1, number, MS, 0);
    }
    jobs.sort_by_key(|job| *job);
    assert_eq!(jobs, [1, 1, 1, 2, 2, 2]);
}

#[test]
fn numbers_of_batches_that_are_there_differ_in_their_remainder() {
    let mut scheduler = warm(Settings { lane: 4, ..settings(1) }, Terms { cap: 1, chunk: Some(1), ..Terms::default() }, MS);
    supply(&mut scheduler, 0, 20);
    for _ in 0..16 {
        steps(&mut scheduler);
        let numbers: Vec<_> = scheduler.workers[&1].lane.iter().map(|batch| batch.number).collect();
        let places: std::collections::BTreeSet<_> = numbers.iter().map(|number| number % 4).collect();
        assert_eq!(places.len(), 4, "{numbers:?}");
        // The first stays where it is, the others come and go.
        scheduler.finished(1, numbers[2], MS, 0);
    }
}

#[test]
fn a_worn_worker_takes_nothing_from_others() {
    let mut scheduler = scheduler(Settings { tasks_per_worker: Some(8), least: 2, ..settings(2) });
    supply(&mut scheduler, 0, 20);
    assert_eq!(steps(&mut scheduler).len(), 2);
    scheduler.born(1);
    assert_eq!(steps(&mut scheduler).len(), 2);
    scheduler.finished(1, 0, 1000, 0);
    scheduler.finished(1, 1, 1000, 0);
    // Six more, and it is worn; what is left is the other's.
    assert_eq!(scheduler.next(), Some(Step::Send { worker: 1, number: 2 }));
    assert_eq!(scheduler.batch(1, 2).unwrap().count, 6);
    scheduler.born(2);
    assert_eq!(steps(&mut scheduler), [Step::Send { worker: 2, number: 0 }]);
    scheduler.finished(1, 2, 6000, 0);
    let after = steps(&mut scheduler);
    assert_eq!(after[..2], [Step::Release { worker: 1 }, Step::Spawn { worker: 3 }], "{after:?}");
}
