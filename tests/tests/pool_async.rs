//! Async tasks run many at a time in one worker; and several tasks are waited for together.

use std::collections::BTreeSet;
use std::time::Duration;

use procession::prelude::*;
use procession::{Failure, as_completed, try_all, wait_any};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

/// Waits until as many tasks are here as should be.
#[process_actor]
async fn meet(barrier: Queue<u32>, all: Queue<u32>, n: u32) -> u32 {
    barrier.put(n).await.unwrap();
    all.get().await.unwrap();
    std::process::id()
}

#[process_actor]
async fn fate(what: String) -> String {
    match what.as_str() {
        "panic" => panic!("told to"),
        "abort" => std::process::abort(),
        "hang" => std::future::pending().await,
        "stuck" => loop {
            std::thread::park();
        },
        _ => tokio::time::sleep(Duration::from_millis(1)).await,
    }
    what
}

#[process_actor]
async fn echo(bytes: Vec<u8>) -> (usize, Vec<u8>) {
    tokio::task::yield_now().await;
    (bytes.len(), bytes)
}

#[procession::test]
async fn tasks_meet_in_one_worker() {
    let pool = Pool::builder().workers(1).concurrency(50).build().unwrap();
    let (barrier, all) = (Queue::bounded(100), Queue::bounded(100));
    let tasks: Vec<_> = (0..50).map(|n| (barrier.clone(), all.clone(), n)).collect();
    let map = tokio::spawn(pool.map(Meet, tasks).into_future());
    // Every one of them has begun before any may end.
    for _ in 0..50 {
        barrier.get().await.unwrap();
    }
    for n in 0..50 {
        all.put(n).await.unwrap();
    }
    let pids: BTreeSet<u32> = map.await.unwrap().unwrap().into_iter().collect();
    assert_eq!(pids.len(), 1);
}

#[procession::test]
async fn many_at_once_give_what_one_by_one_would() {
    let pool = Pool::builder().workers(2).concurrency(16).build().unwrap();
    assert_eq!(pool.map(Square, 0..5000).await.unwrap(), (0..5000).map(square).collect::<Vec<_>>());
    let sizes = [0, 1, 100, 70_000, 1_000_000, 3];
    let echoed = pool.map(Echo, sizes.map(|size| vec![7; size])).await.unwrap();
    assert_eq!(echoed, sizes.map(|size| (size, vec![7; size])));
    let words: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(pool.map(Fate, words.clone()).await.unwrap(), words);
}

#[procession::test]
async fn a_panic_concerns_one_of_many() {
    let pool = Pool::builder().workers(1).concurrency(8).build().unwrap();
    let outcomes = pool.map(Fate, ["a", "panic", "b", "c"].map(str::to_owned)).outcomes().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    assert!(matches!(&outcomes[1].as_ref().unwrap_err().failure, Failure::Panicked(panic) if panic.message == "told to"));
    assert_eq!(pool.stats().restarts, 0);
}

#[procession::test]
async fn a_task_past_its_time_is_dropped_and_its_neighbours_go_on() {
    let pool = Pool::builder().workers(1).concurrency(8).build().unwrap();
    let tasks = ["a", "hang", "b", "hang"].map(str::to_owned);
    let outcomes = pool.map(Fate, tasks).timeout(Duration::from_millis(200)).outcomes().await;
    for (place, outcome) in outcomes.iter().enumerate() {
        match place % 2 {
            0 => assert!(outcome.is_ok(), "{outcome:?}"),
            _ => {
                let error = outcome.as_ref().unwrap_err();
                assert!(matches!(error.failure, Failure::TimedOut { report: None, .. }), "{error}");
            }
        }
    }
    assert_eq!(pool.stats().restarts, 0);
}

#[procession::test]
async fn a_worker_that_is_stuck_is_killed_and_what_it_ran_is_tried_again() {
    let pool = Pool::builder().workers(1).concurrency(4).retries(1).build().unwrap();
    let tasks = ["a", "b", "stuck", "c"].map(str::to_owned);
    let outcomes = pool.map(Fate, tasks).timeout(Duration::from_millis(300)).outcomes().await;
    assert!(outcomes[2].as_ref().unwrap_err().is_timeout(), "{outcomes:?}");
    assert!([0, 1, 3].iter().all(|&place: &usize| outcomes[place].is_ok()), "{outcomes:?}");
}

#[procession::test]
async fn a_cancelled_one_of_many_is_dropped() {
    let pool = Pool::builder().workers(1).concurrency(4).build().unwrap();
    let hanging = pool.submit(Fate, "hang".to_owned()).await.unwrap();
    assert_eq!(pool.call(Fate, "a".to_owned()).await.unwrap(), "a");
    assert!(hanging.cancel());
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert_eq!(pool.call(Fate, "b".to_owned()).await.unwrap(), "b");
    pool.close().await;
}

// covers 148
#[procession::test]
async fn tasks_of_several_pools_are_waited_for_together() {
    let pools = [Pool::new(1).unwrap(), Pool::new(2).unwrap(), Pool::in_process()];
    let mut tasks = Vec::new();
    for n in 0..300 {
        tasks.push(pools[n as usize % 3].submit(Square, n).await.unwrap());
    }
    let mut completed = as_completed(tasks);
    let mut seen = BTreeSet::new();
    while let Some((place, outcome)) = completed.next().await {
        assert_eq!(outcome.unwrap(), square(place as i64));
        assert!(seen.insert(place));
    }
    assert_eq!(seen.len(), 300);
}

// covers 124, 147, 148
#[procession::test]
fn blocked_threads_wait_for_several_too() {
    let pools = [Pool::new(1).unwrap(), Pool::new(1).unwrap()];
    let submit = |n: i64| pools[n as usize % 2].submit(Square, n).blocking().unwrap();
    assert_eq!(as_completed((0..100).map(submit)).blocking().map(|(_, outcome)| outcome.unwrap()).sum::<i64>(), (0..100).map(square).sum());
    let mut tasks: Vec<_> = (0..20).map(submit).collect();
    let mut sum = 0;
    while let Some(outcome) = wait_any(&mut tasks).blocking() {
        sum += outcome.unwrap();
    }
    assert_eq!(sum, (0..20).map(square).sum());
    assert_eq!(try_all((0..50).map(submit)).blocking().unwrap(), (0..50).map(square).collect::<Vec<_>>());
}

// covers 147
#[procession::test]
async fn the_first_error_ends_the_wait() {
    let pool = Pool::builder().workers(1).concurrency(4).build().unwrap();
    let hanging = pool.submit(Fate, "hang".to_owned()).await.unwrap().cancel_on_drop();
    let failing = pool.submit(Fate, "panic".to_owned()).await.unwrap();
    let error = try_all([hanging, failing]).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Panicked(_)));
    pool.close().await;
}
