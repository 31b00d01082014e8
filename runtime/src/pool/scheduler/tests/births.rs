//! When workers are started, and when no more are.

use super::super::*;
use super::{MS, scheduler, settings, steps, supply, terms, warm};

fn spawned(steps: &[Step]) -> Vec<u64> {
    steps.iter().filter_map(|step| if let Step::Spawn { worker } = step { Some(*worker) } else { None }).collect()
}

fn dies(scheduler: &mut Scheduler<super::Indices>, worker: u64) {
    let fates = scheduler.died(worker, |_| Progress::default());
    assert!(fates.iter().all(|fate| fate.done == 0 && fate.ending.is_none()));
}

#[test]
fn births_that_fail_wait_longer_each_time_and_end_the_pool() {
    let mut scheduler = scheduler(settings(8));
    supply(&mut scheduler, 0, 50);
    let mut now = 0;
    assert_eq!(spawned(&steps(&mut scheduler)), [1, 2, 3, 4]);
    (1..4).for_each(|worker| dies(&mut scheduler, worker));
    // One is still on its way; from now on they come one by one.
    assert_eq!(steps(&mut scheduler), []);
    dies(&mut scheduler, 4);
    assert_eq!((steps(&mut scheduler), scheduler.given_up()), (vec![], None));
    assert_eq!(scheduler.alarm(), Some(80 * MS));
    now += 80 * MS;
    scheduler.pass(now - 1);
    assert_eq!(scheduler.next(), None);
    scheduler.pass(now);
    assert_eq!(spawned(&steps(&mut scheduler)), [5]);
    dies(&mut scheduler, 5);
    assert_eq!((scheduler.given_up(), scheduler.restarts()), (Some(GivenUp::Strikes(5)), 5));
}

#[test]
fn a_pool_whose_tasks_make_progress_is_not_given_up() {
    let mut scheduler = warm(settings(2), terms(), 500 * MS);
    supply(&mut scheduler, 0, 50);
    let mut now = 0;
    for worker in 2..20 {
        now += 2000 * MS;
        scheduler.pass(now);
        assert_eq!(spawned(&steps(&mut scheduler)), [worker]);
        dies(&mut scheduler, worker);
        assert_eq!((scheduler.given_up(), scheduler.next()), (None, None));
        let number = scheduler.workers[&1].lane[0].number;
        scheduler.finished(1, number, 500 * MS, 0);
    }
    // Its task waits for the others, of whom none comes to life.
    assert!(scheduler.park(1));
    steps(&mut scheduler);
    assert_eq!(scheduler.given_up(), Some(GivenUp::Strikes(18)));
}

#[test]
fn deaths_of_idle_workers_end_nothing_and_are_no_storm() {
    let mut scheduler = scheduler(Settings { least: 2, ..settings(2) });
    let (mut now, mut births) = (0, 0);
    while now < 10_000 * MS {
        births += spawned(&steps(&mut scheduler)).len();
        let all: Vec<_> = scheduler.workers.keys().copied().collect();
        all.iter().for_each(|&worker| scheduler.born(worker));
        all.into_iter().for_each(|worker| dies(&mut scheduler, worker));
        assert_eq!(scheduler.given_up(), None);
        now += MS;
        scheduler.pass(now);
    }
    assert!((5..30).contains(&births), "{births} births");
}

#[test]
fn a_task_that_was_begun_makes_a_worker_good() {
    let mut scheduler = scheduler(settings(1));
    supply(&mut scheduler, 0, 50);
    for worker in 1..40 {
        assert_eq!(spawned(&steps(&mut scheduler)), [worker]);
        scheduler.born(worker);
        steps(&mut scheduler);
        let fates = scheduler.died(worker, |batch| Progress { claimed: usize::from(batch.number == 0), done: 0, since: 0 });
        assert_eq!(fates.iter().filter(|fate| fate.ending.is_some()).count(), 1);
        assert_eq!(scheduler.given_up(), None);
    }
}

#[test]
fn the_budget_counts_deaths_within_its_time() {
    let mut scheduler = scheduler(Settings { restarts: Some((2, 100 * MS)), ..settings(1) });
    supply(&mut scheduler, 0, 50);
    for (worker, at) in [(1, 0), (2, 90), (3, 195), (4, 240)] {
        scheduler.pass(at * MS);
        scheduler.births.proven();
        assert_eq!(spawned(&steps(&mut scheduler)), [worker]);
        assert_eq!(scheduler.given_up(), None);
        dies(&mut scheduler, worker);
    }
    assert_eq!(scheduler.given_up(), None);
    scheduler.births.proven();
    steps(&mut scheduler);
    scheduler.pass(250 * MS);
    dies(&mut scheduler, 5);
    assert_eq!(scheduler.given_up(), Some(GivenUp::Budget(3, 100 * MS)));
}

#[test]
fn little_work_is_left_to_those_who_are_there_unless_they_do_not_do_it() {
    let mut scheduler = warm(settings(4), terms(), 20_000);
    scheduler.pass(100 * MS);
    supply(&mut scheduler, 0, 1);
    supply(&mut scheduler, 1, 1);
    // Forty microseconds of work, in one batch.
    assert_eq!(spawned(&steps(&mut scheduler)).len(), 0);
    let alarm = scheduler.alarm().unwrap();
    assert_eq!(alarm, 102 * MS);
    // The first takes longer than ever one did.
    scheduler.pass(alarm);
    assert_eq!(spawned(&steps(&mut scheduler)), [2]);
    scheduler.born(2);
    assert_eq!(steps(&mut scheduler), [Step::TakeBack { worker: 1, number: 1, all: false }]);
    scheduler.took_back(1, 1, 1);
    assert_eq!(steps(&mut scheduler), [Step::Send { worker: 2, number: 0 }]);
    assert_eq!(scheduler.alarm(), None);
}

#[test]
fn long_tasks_do_not_queue_behind_each_other() {
    let mut scheduler = warm(settings(4), terms(), 10_000 * MS);
    supply(&mut scheduler, 0, 1);
    assert_eq!(spawned(&steps(&mut scheduler)).len(), 0);
    supply(&mut scheduler, 1, 1);
    assert_eq!(spawned(&steps(&mut scheduler)), [2]);
}

#[test]
fn those_who_are_too_many_leave_unborn_ones_too() {
    let mut scheduler = scheduler(settings(6));
    supply(&mut scheduler, 0, 50);
    steps(&mut scheduler);
    scheduler.born(1);
    steps(&mut scheduler);
    scheduler.resize(1);
    let released: Vec<_> = steps(&mut scheduler).into_iter().filter(|step| matches!(step, Step::Release { .. })).collect();
    assert_eq!(released.len(), 4);
    assert_eq!(scheduler.crew().counting, 1);
    // Their deaths mean nothing.
    (2..6).for_each(|worker| dies(&mut scheduler, worker));
    assert_eq!((scheduler.restarts(), scheduler.given_up()), (0, None));
}

#[test]
fn the_least_comes_back_with_the_most() {
    let mut scheduler = scheduler(Settings { least: 3, ..settings(3) });
    scheduler.resize(1);
    assert_eq!(spawned(&steps(&mut scheduler)).len(), 1);
    scheduler.resize(5);
    assert_eq!(spawned(&steps(&mut scheduler)).len(), 2);
}

#[test]
fn idle_workers_above_the_least_are_let_go() {
    let mut scheduler = scheduler(Settings { least: 1, idle: Some(10 * MS), ..settings(3) });
    supply(&mut scheduler, 0, 3);
    steps(&mut scheduler);
    (1..4).for_each(|worker| scheduler.born(worker));
    steps(&mut scheduler);
    scheduler.pass(5 * MS);
    for worker in 1..4 {
        scheduler.finished(worker, 0, 1000, 0);
        steps(&mut scheduler);
    }
    assert_eq!(scheduler.alarm(), Some(15 * MS));
    scheduler.pass(15 * MS);
    assert_eq!(steps(&mut scheduler), [Step::Release { worker: 3 }, Step::Release { worker: 2 }]);
    assert_eq!(scheduler.alarm(), None);
}

#[test]
fn so_many_may_be_parked() {
    let mut scheduler = scheduler(settings(1));
    supply(&mut scheduler, 0, 3 * PARKED);
    for worker in 1..=PARKED as u64 {
        steps(&mut scheduler);
        scheduler.born(worker);
        steps(&mut scheduler);
        assert!(scheduler.park(worker));
        // What it has not begun, another runs.
        assert!(matches!(scheduler.next(), Some(Step::TakeBack { all: true, .. })));
        // None of them ends soon, so they are long.
        scheduler.pass(2 * worker * MS);
    }
    let worker = PARKED as u64 + 1;
    steps(&mut scheduler);
    scheduler.born(worker);
    steps(&mut scheduler);
    assert!(!scheduler.park(worker));
    // One that is parked may wait for more than one thing.
    assert!(scheduler.park(1));
    scheduler.unpark(1);
    assert!(!scheduler.park(worker));
    scheduler.unpark(1);
    assert!(scheduler.park(worker));
    dies(&mut scheduler, worker);
    assert_eq!(scheduler.parked, PARKED - 1);
    assert!(steps(&mut scheduler).iter().all(|step| step.worker() != worker));
}
