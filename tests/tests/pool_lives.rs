//! Workers are born as they are needed, are replaced when they are worn, and end with their pool; a pool that cannot have any ends with
//! one clear error.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{Failure, KillReason, MapError, Outcome, PoolError, TaskError, worker_state};
use procession_tests::{PATIENCE, is_gone, signal, wait_gone, wait_until};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
fn whoami(_: ()) -> u32 {
    std::process::id()
}

#[process_actor]
fn sleeps(millis: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(millis));
    std::process::id()
}

/// Grows by so many MiB, for good, and returns.
#[process_actor]
fn leaks(mib: usize) -> u32 {
    std::mem::forget(std::hint::black_box(vec![1u8; mib << 20]));
    std::process::id()
}

struct Opened {
    by: u32,
    what: String,
    uses: u32,
}

/// Keeps a value, or does what it is told instead; says that it was begun.
#[process_actor]
fn open(what: String, births: Queue<u32>) -> Result<(), String> {
    births.put(std::process::id()).blocking().unwrap();
    match what.as_str() {
        "fail" => return Err("the disk is full".to_owned()),
        "panic" => panic!("as told"),
        "abort" => std::process::abort(),
        "hang" => std::thread::sleep(Duration::from_secs(3600)),
        "slow" => std::thread::sleep(Duration::from_millis(300)),
        _ => {}
    }
    worker_state::set(Opened { by: std::process::id(), what, uses: 0 });
    Ok(())
}

/// What the initializer kept: its text, whether this process did, and how often it was used.
#[process_actor]
fn uses(_: ()) -> (String, bool, u32, u32) {
    worker_state::with(|opened: &mut Opened| {
        opened.uses += 1;
        (opened.what.clone(), opened.by == std::process::id(), opened.uses, opened.by)
    })
}

/// The error of the pool that a task was not run for.
#[track_caller]
fn pools(error: &TaskError) -> &PoolError {
    match &error.failure {
        Failure::Pool(error) => error,
        other => panic!("{other}"),
    }
}

/// Waits as [`wait_until`] does, and lets other tasks run meanwhile.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "it did not happen that {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn count(births: &Queue<u32>) -> usize {
    births.len().await.unwrap()
}

// covers 134
#[procession::test]
async fn workers_come_with_work_and_go_without_it() {
    let pool = Pool::builder().min_workers(1).max_workers(3).idle_timeout(Duration::from_millis(50)).build().unwrap();
    wait_until("the least are there", PATIENCE, || pool.pids().len() == 1);
    let first = pool.pids()[0];
    let pids: HashSet<u32> = pool.map(Sleeps, [30; 12]).chunk(1).await.unwrap().into_iter().collect();
    assert!(pids.len() == 3 && pids.contains(&first), "{pids:?}");
    wait_until("they are as few as at first", PATIENCE, || pool.pids().len() == 1);
    wait_until("the others are gone", PATIENCE, || pids.iter().filter(|pid| !is_gone(**pid)).count() == 1);
    // Nobody has failed by it.
    assert_eq!((pool.map(Square, 0..100).await.unwrap().len(), pool.stats().restarts), (100, 0));
    // One that is idle is used before another is born.
    let pool = Pool::new(4).unwrap();
    let mut pids = HashSet::new();
    for _ in 0..20 {
        pids.insert(pool.call(Whoami, ()).await.unwrap());
    }
    assert_eq!(pids.len(), 1);
}

// covers 105, 106, 137; pain 17
#[procession::test]
async fn one_that_has_done_enough_is_replaced() {
    assert!(matches!(Pool::builder().max_tasks_per_worker(0).build(), Err(PoolError::NoTasks)));
    let pool = Pool::builder().workers(1).max_tasks_per_worker(3).build().unwrap();
    for _ in 0..4 {
        let pids = [(); 3].map(|()| pool.call(Whoami, ()).into_future());
        let mut life = HashSet::new();
        for pid in pids {
            life.insert(pid.await.unwrap());
        }
        assert_eq!(life.len(), 1);
        wait_gone(&life.into_iter().collect::<Vec<_>>(), PATIENCE);
    }
    let pool = Pool::builder().workers(3).max_tasks_per_worker(10).build().unwrap();
    let pids = pool.map(Whoami, [(); 1000]).await.unwrap();
    let lives: HashSet<&u32> = pids.iter().collect();
    assert!(lives.iter().all(|life| pids.iter().filter(|pid| pid == life).count() <= 10));
    assert_eq!(pool.stats().restarts, 0);
    // Closed early, it ends what it has all the same.
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let items = (0..500).inspect(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let map = tokio::spawn(pool.map(Square, items).into_future());
    until("it has begun", || taken.load(Ordering::Relaxed) > 0).await;
    pool.close().await;
    assert_eq!(map.await.unwrap().unwrap().len(), 500);
}

// pain 24
#[procession::test]
async fn one_that_has_grown_is_replaced_after_its_batch() {
    let pool = Pool::builder().workers(1).recycle_above(64 << 20).build().unwrap();
    let small: HashSet<u32> = pool.map(Leaks, [1; 10]).chunk(1).await.unwrap().into_iter().collect();
    let large = pool.map(Leaks, [80; 8]).chunk(1).await.unwrap();
    assert_eq!((small.len(), pool.stats().restarts), (1, 0));
    // It may have begun the next batch before the pool heard of its size.
    let lives: HashSet<&u32> = large.iter().collect();
    assert!(lives.iter().all(|life| large.iter().filter(|pid| pid == life).count() <= 2), "{large:?}");
}

// pains 24, 25
#[procession::test]
async fn one_past_its_memory_limit_fails_its_task_alone() {
    let limit = 100 << 20;
    let pool = Pool::builder().workers(2).memory_limit(limit).build().unwrap();
    let outcomes = pool.map(Leaks, [1, 1, 1, 500, 1, 1, 1]).outcomes().await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(_) => assert_ne!(index, 3),
            Err(error) => {
                let report = error.report().unwrap();
                assert_eq!(index, 3);
                assert!(
                    matches!(report.outcome, Outcome::Killed { reason: KillReason::MemoryLimit { limit: l, .. }, .. } if l == limit),
                    "{error}"
                );
                assert!(error.to_string().contains("memory limit"), "{error}");
            }
        }
    }
    assert!(outcomes[3].is_err());
    assert_eq!(pool.call(Square, 3).await.unwrap(), 9);
}

// covers 108, 143
#[procession::test]
async fn an_initializer_prepares_each_worker() {
    let births = Queue::unbounded();
    let pool = Pool::builder().workers(2).initializer(Open, ("slow".to_owned(), births.clone())).build().unwrap();
    let used = pool.map(Uses, [(); 200]).await.unwrap();
    assert!(used.iter().all(|(what, same, _, _)| what == "slow" && *same));
    let lives: HashSet<u32> = used.iter().map(|used| used.3).collect();
    for life in &lives {
        let mut counts: Vec<u32> = used.iter().filter(|used| used.3 == *life).map(|used| used.2).collect();
        counts.sort_unstable();
        assert_eq!(counts, (1..=counts.len() as u32).collect::<Vec<_>>());
    }
    // A successor begins anew.
    for pid in pool.pids() {
        signal(pid, libc::SIGKILL);
    }
    wait_until("they are dead", PATIENCE, || !pool.pids().iter().any(|pid| lives.contains(pid)));
    let (what, same, uses, by) = pool.call(Uses, ()).await.unwrap();
    assert_eq!((what.as_str(), same, uses, lives.contains(&by)), ("slow", true, 1, false));
    assert!(count(&births).await >= 2);
}

// covers 108, 109, 143; pains 13, 26
#[procession::test]
async fn a_pool_whose_workers_cannot_begin_ends_with_one_error() {
    for (how, says) in [("fail", "the disk is full"), ("panic", "as told"), ("abort", "SIGABRT")] {
        let births = Queue::unbounded();
        let pool = Pool::builder().workers(2).initializer(Open, (how.to_owned(), births.clone())).build().unwrap();
        let map = pool.map(Square, 0..1000).into_future();
        let error: MapError<i64> = tokio::time::timeout(PATIENCE, map).await.expect("the pool gives up").unwrap_err();
        assert_eq!(error.failures().count(), 1000);
        for error in error.failures() {
            match (how, pools(error)) {
                ("abort", PoolError::CrashLoop { deaths: 5.., .. }) => {}
                ("fail" | "panic", PoolError::Initializer { attempts: 5.., .. }) => {}
                (_, other) => panic!("{other}"),
            }
            assert!(error.to_string().contains(says), "{error}");
        }
        let births = count(&births).await;
        assert!((5..=16).contains(&births), "{how}: {births}");
        assert!(pool.submit(Square, 1).await.unwrap_err().to_string().contains(says));
        assert!(pool.pids().is_empty());
        tokio::time::timeout(PATIENCE, pool.close().into_future()).await.expect("it is closed at once");
    }
}

// covers 135
#[procession::test]
async fn a_pool_that_loses_too_many_ends() {
    let pool = Pool::builder().workers(2).max_restarts(3, Duration::from_secs(3600)).build().unwrap();
    for _ in 0..3 {
        let pid = pool.call(Whoami, ()).await.unwrap();
        signal(pid, libc::SIGKILL);
        wait_gone(&[pid], PATIENCE);
    }
    assert_eq!(pool.call(Square, 3).await.unwrap(), 9);
    // It may be done with a task before its birth is announced.
    until("it is listed", || !pool.pids().is_empty()).await;
    let last = pool.pids()[0];
    signal(last, libc::SIGKILL);
    wait_until("it is dead", PATIENCE, || pool.pids().is_empty());
    let error = pool.call(Square, 3).await.unwrap_err();
    assert!(matches!(pools(&error), PoolError::Restarts { deaths: 4, last: report, .. } if report.pid == last), "{error}");
    assert!(error.to_string().contains("max_restarts"), "{error}");
}

// covers 99, 103, 144, 146; pain 14
#[procession::test]
async fn closing_drains_and_dropping_does_too() {
    let pool = Pool::new(2).unwrap();
    let mut tasks = Vec::new();
    for _ in 0..60 {
        tasks.push(pool.submit(Sleeps, 2).await.unwrap());
    }
    let map = tokio::spawn(pool.map(Square, 0..1000).into_future());
    until("the map has begun", || map.is_finished() || pool.stats().queued + pool.stats().running > 60).await;
    let closing = pool.close();
    assert!(matches!(pool.submit(Square, 1).await, Err(PoolError::Closed)));
    assert_eq!(map.await.unwrap().unwrap(), (0..1000).map(|x| x * x).collect::<Vec<_>>());
    tokio::time::timeout(PATIENCE, closing.into_future()).await.expect("it drains");
    let mut pids = HashSet::new();
    for task in tasks {
        assert!(task.is_done());
        pids.insert(task.await.unwrap());
    }
    assert!(pids.iter().all(|pid| is_gone(*pid)) && pool.pids().is_empty());

    let (pool, births) = (Pool::new(2).unwrap(), Queue::unbounded());
    for _ in 0..40 {
        drop(pool.submit(Open, ("fine".to_owned(), births.clone())).await.unwrap());
    }
    drop(pool);
    let mut last = HashSet::new();
    for _ in 0..40 {
        last.insert(births.get().timeout(PATIENCE).await.expect("what was submitted is done"));
    }
    wait_gone(&last.into_iter().collect::<Vec<_>>(), PATIENCE);
}

// covers 98, 141, 152
#[procession::test]
async fn terminating_takes_no_time() {
    let pool = Pool::new(3).unwrap();
    let map = tokio::spawn(pool.map(Sleeps, vec![3_600_000; 10_000]).into_future());
    let task = pool.submit(Sleeps, 3_600_000).await.unwrap();
    until("three are at work", || pool.workers().iter().filter(|worker| worker.busy).count() == 3).await;
    let pids = pool.pids();
    let start = Instant::now();
    pool.terminate().await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    wait_gone(&pids, PATIENCE);
    let error = map.await.unwrap().unwrap_err();
    assert_eq!(error.failures().filter(|error| matches!(pools(error), PoolError::Terminated)).count(), 10_000);
    assert!(matches!(pools(&task.await.unwrap_err()), PoolError::Terminated));
    assert!(matches!(pool.submit(Square, 1).await, Err(PoolError::Terminated)));
    // Also where workers are on their way, and will never begin.
    let births = Queue::unbounded();
    let pool = Pool::builder().min_workers(2).max_workers(2).initializer(Open, ("hang".to_owned(), births.clone())).build().unwrap();
    tokio::time::timeout(PATIENCE, pool.terminate().into_future()).await.expect("those being born end too");
    let pool = Pool::builder().min_workers(2).max_workers(2).initializer(Open, ("hang".to_owned(), births.clone())).build().unwrap();
    births.get().timeout(PATIENCE).await.unwrap();
    tokio::time::timeout(PATIENCE, pool.terminate().into_future()).await.expect("those that prepare themselves end too");
}

#[procession::test]
async fn a_pool_is_as_large_as_it_was_told_last() {
    let pool = Pool::new(1).unwrap();
    let busy = async |pool: &Pool| pool.map(Sleeps, [20; 24]).chunk(1).await.unwrap().into_iter().collect::<HashSet<u32>>().len();
    assert_eq!(busy(&pool).await, 1);
    pool.resize(4);
    assert_eq!(busy(&pool).await, 4);
    pool.resize(2);
    wait_until("two have left", PATIENCE, || pool.pids().len() == 2);
    assert_eq!(busy(&pool).await, 2);
    pool.resize(0);
    assert_eq!((busy(&pool).await, pool.stats().restarts), (1, 0));
}

#[procession::test]
async fn a_pool_tells_what_it_does() {
    let pool = Pool::new(2).unwrap();
    assert_eq!((pool.workers().len(), pool.stats().done, pool.stats().workers), (0, 0, 0));
    pool.map(Square, 0..500).await.unwrap();
    pool.call(Leaks, usize::MAX >> 20).await.unwrap_err();
    let mut tasks = Vec::new();
    for _ in 0..10 {
        tasks.push(pool.submit(Sleeps, 200).await.unwrap());
    }
    until("both are at work", || pool.workers().iter().filter(|worker| worker.busy).count() == 2).await;
    let stats = pool.stats();
    assert_eq!((stats.done as usize + stats.queued + stats.running, stats.failed, stats.workers), (510, 1, 2), "{stats:?}");
    for task in tasks {
        task.await.unwrap();
    }
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.queued, stats.running), (510, 1, 0, 0), "{stats:?}");
    assert!(stats.median <= stats.p90 && stats.p90 <= stats.p99 && stats.busy > 0.0 && stats.busy <= 1.0, "{stats:?}");
    let workers = pool.workers();
    assert!(workers.iter().all(|worker| !worker.busy && !worker.parked));
    assert_eq!(pool.pids(), workers.iter().map(|worker| worker.pid).collect::<Vec<_>>());
}
