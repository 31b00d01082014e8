//! Tasks that are to stop.

use super::super::*;
use super::{Indices, MS, settings, steps, supply, warm};

const TIMEOUT: u64 = 10 * MS;

/// A worker that has run the first task of two for its time, and what it says of itself.
fn expired(retries: u32) -> (Scheduler<Indices>, Progress) {
    let terms = Terms { cap: MOST, timeout: Some(TIMEOUT), retries, chunk: Some(2) };
    let mut scheduler = warm(settings(1), terms, 1000);
    scheduler.pass(MS);
    supply(&mut scheduler, 0, 2);
    assert_eq!(steps(&mut scheduler), [Step::Send { worker: 1, number: 1 }]);
    assert_eq!((scheduler.batch(1, 1).unwrap().count, scheduler.batch(1, 1).unwrap().stride), (2, 1));
    (scheduler, Progress { claimed: 1, done: 0, since: 2 * MS })
}

fn ring(scheduler: &mut Scheduler<Indices>, progress: Progress) -> u64 {
    let alarm = scheduler.alarm().unwrap();
    scheduler.tick(alarm, |_, _| progress);
    alarm
}

/// The task is asked to stop, and what is behind it taken back.
fn asked(retries: u32) -> (Scheduler<Indices>, Progress) {
    let (mut scheduler, progress) = expired(retries);
    // The alarm is early, as it knows only when the batch was sent.
    assert_eq!((ring(&mut scheduler, progress), scheduler.next()), (10 * MS, None));
    assert_eq!(ring(&mut scheduler, progress), 12 * MS);
    assert_eq!(scheduler.next(), Some(Step::TakeBack { worker: 1, number: 1, all: true }));
    scheduler.took_back(1, 1, 1);
    assert_eq!(steps(&mut scheduler), [Step::Stop { worker: 1, number: 1, place: 0 }]);
    assert_eq!(scheduler.alarm(), Some(112 * MS));
    (scheduler, progress)
}

#[test]
fn a_task_past_its_time_is_asked_and_then_killed() {
    let (mut scheduler, progress) = asked(0);
    scheduler.tick(112 * MS - 1, |_, _| progress);
    assert_eq!(scheduler.next(), None);
    assert_eq!(ring(&mut scheduler, progress), 112 * MS);
    // Another takes its place at once.
    assert_eq!(steps(&mut scheduler), [Step::Kill { worker: 1 }, Step::Spawn { worker: 2 }]);
    let fates = scheduler.died(1, |_| progress);
    let ending = Ending { job: 1, index: 0, attempts: 1, cause: Some(Cause::Timeout) };
    assert_eq!((fates.len(), fates[0].done, fates[0].ending), (1, 0, Some(ending)));
    assert_eq!(scheduler.load(), (1, 0));
}

#[test]
fn one_that_stops_in_time_has_failed_all_the_same() {
    let (mut scheduler, _) = asked(2);
    for attempt in 1..=3 {
        let (_, running, _) = scheduler.find(1, 0).unwrap();
        if attempt > 1 {
            scheduler.stop(1, running, 0, Cause::Timeout);
            steps(&mut scheduler);
        }
        let fate = scheduler.finished(1, running, TIMEOUT, 0).unwrap();
        let ending = Ending { job: 1, index: 0, attempts: 3, cause: Some(Cause::Timeout) };
        assert_eq!((fate.done, fate.late, fate.ending), (1, Some(0), (attempt == 3).then_some(ending)));
        steps(&mut scheduler);
        assert_eq!(scheduler.crew().counting, 1);
    }
    // It takes others again.
    assert_eq!((scheduler.load(), scheduler.workers[&1].lane.len()), ((0, 1), 1));
    assert!(scheduler.jobs[&1].attempts.is_empty());
}

#[test]
fn one_that_ended_before_it_was_asked_has_not_failed() {
    let (mut scheduler, progress) = expired(0);
    scheduler.tick(12 * MS, |_, _| progress);
    // The worker went on: the second was begun before it could be taken back.
    assert_eq!(scheduler.next(), Some(Step::TakeBack { worker: 1, number: 1, all: true }));
    assert_eq!(scheduler.next(), Some(Step::Stop { worker: 1, number: 1, place: 0 }));
    scheduler.missed(1, 1);
    let progress = Progress { claimed: 2, done: 1, since: 12 * MS };
    assert_eq!(scheduler.next(), None);
    // The second has a time of its own.
    assert_eq!(ring(&mut scheduler, progress), 22 * MS);
    assert_eq!(steps(&mut scheduler)[1..], [Step::Stop { worker: 1, number: 1, place: 1 }]);
    let fate = scheduler.finished(1, 1, TIMEOUT, 0).unwrap();
    assert_eq!((fate.done, fate.late, fate.ending.map(|ending| ending.index)), (2, Some(1), Some(1)));
}

#[test]
fn a_worker_that_is_done_with_it_is_not_killed() {
    let (mut scheduler, _) = asked(0);
    let done = Progress { claimed: 1, done: 1, since: 2 * MS };
    assert_eq!(ring(&mut scheduler, done), 112 * MS);
    assert!(!steps(&mut scheduler).contains(&Step::Kill { worker: 1 }));
    let fate = scheduler.finished(1, 1, TIMEOUT, 0).unwrap();
    assert_eq!((fate.late, fate.ending.map(|ending| ending.attempts)), (Some(0), Some(1)));
}

#[test]
fn one_that_ends_at_the_last_moment_is_not_killed() {
    let (mut scheduler, progress) = asked(0);
    assert_eq!(ring(&mut scheduler, progress), 112 * MS);
    assert_eq!(scheduler.finished(1, 1, TIMEOUT, 0).unwrap().late, Some(0));
    assert_eq!(steps(&mut scheduler), [Step::Send { worker: 1, number: 2 }]);
}

#[test]
fn a_worker_that_dies_before_it_is_asked_has_no_late_task() {
    let (mut scheduler, progress) = expired(0);
    scheduler.tick(12 * MS, |_, _| progress);
    let fates = scheduler.died(1, |_| Progress { claimed: 2, done: 1, since: 12 * MS });
    assert_eq!((fates[0].done, fates[0].late), (1, None));
    assert_eq!(fates[0].ending, Some(Ending { job: 1, index: 1, attempts: 1, cause: None }));
    // What was to be done about it is not done to anybody else.
    assert_eq!(steps(&mut scheduler), []);
}

#[test]
fn a_task_that_nobody_wants_is_not_tried_again() {
    let (mut scheduler, progress) = asked(5);
    scheduler.stop(1, 1, 0, Cause::Cancelled);
    assert_eq!(scheduler.next(), None);
    ring(&mut scheduler, progress);
    let fates = scheduler.died(1, |_| progress);
    assert_eq!(fates[0].ending, Some(Ending { job: 1, index: 0, attempts: 1, cause: Some(Cause::Cancelled) }));
    assert_eq!(scheduler.load(), (1, 0));
    assert!(scheduler.jobs[&1].attempts.is_empty());
}

#[test]
fn of_many_tasks_at_once_each_has_its_time() {
    let terms = Terms { cap: 1, timeout: Some(TIMEOUT), retries: 1, chunk: Some(1) };
    let mut scheduler = warm(Settings { lane: 6, ..settings(1) }, terms, 1000);
    scheduler.pass(MS);
    supply(&mut scheduler, 0, 3);
    steps(&mut scheduler);
    let since = |batch: &Batch<Indices>| Progress { claimed: 1, done: 0, since: batch.number * MS };
    scheduler.tick(11 * MS, |_, batch| since(batch));
    let stops = |steps: Vec<Step>| steps.into_iter().filter(|step| matches!(step, Step::Stop { .. })).collect::<Vec<_>>();
    assert_eq!(stops(steps(&mut scheduler)), [Step::Stop { worker: 1, number: 1, place: 0 }]);
    assert_eq!(scheduler.alarm(), Some(12 * MS));
    scheduler.tick(12 * MS, |_, batch| since(batch));
    assert_eq!(stops(steps(&mut scheduler)), [Step::Stop { worker: 1, number: 2, place: 0 }]);
    // The first stops, the second does not; the third dies with it, and all of them are tried again.
    assert!(scheduler.finished(1, 1, TIMEOUT, 0).unwrap().ending.is_none());
    scheduler.tick(112 * MS, |_, batch| since(batch));
    assert!(steps(&mut scheduler).contains(&Step::Kill { worker: 1 }));
    let fates = scheduler.died(1, since);
    assert!(fates.len() == 2 && fates.iter().all(|fate| fate.ending.is_none()));
    assert_eq!(scheduler.load(), (3, 0));
}

#[test]
fn one_that_ended_after_it_was_asked_is_late_when_its_worker_dies() {
    let (mut scheduler, _) = asked(0);
    let fates = scheduler.died(1, |_| Progress { claimed: 1, done: 1, since: 2 * MS });
    assert_eq!((fates[0].done, fates[0].late, fates[0].ending.map(|ending| ending.index)), (1, Some(0), Some(0)));
}
