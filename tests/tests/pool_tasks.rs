//! A submitted task is run by itself, waited for by anybody, once, and can be taken back or stopped.

use std::collections::HashSet;
use std::future::IntoFuture;
use std::time::Duration;

use procession::prelude::*;
use procession::{Failure, Outcome, PoolError, Task, TaskError};
use procession_tests::{PATIENCE, wait_gone, wait_until};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
fn whoami(_: ()) -> u32 {
    std::process::id()
}

/// Says that it has begun, and waits for what it is to return.
#[process_actor]
fn held(begun: Queue<u32>, gate: Queue<u32>) -> u32 {
    begun.put(std::process::id()).blocking().unwrap();
    gate.get().blocking().unwrap()
}

#[process_actor]
fn leaves(mark: u32, marks: Queue<u32>) {
    marks.put(mark).blocking().unwrap();
}

/// Spins until it is asked to stop, and says so; with `deaf` it is never done.
#[process_actor]
fn spins(begun: Queue<u32>, stopped: Queue<u32>, deaf: bool) {
    begun.put(std::process::id()).blocking().unwrap();
    while deaf || !procession::current().stop_requested() {
        std::hint::spin_loop();
    }
    stopped.put(std::process::id()).blocking().unwrap();
}

#[process_actor]
fn fails(how: String) -> u32 {
    if how == "abort" { std::process::abort() } else { panic!("{how}") }
}

/// The queues that a held task is given, and those of its caller.
fn gates() -> (Queue<u32>, Queue<u32>) {
    (Queue::unbounded(), Queue::unbounded())
}

async fn get(queue: &Queue<u32>) -> u32 {
    queue.get().timeout(PATIENCE).await.expect("something comes")
}

/// A pool of one worker that runs a held task, and that task.
async fn occupied(builder: procession::PoolBuilder) -> (Pool, Task<u32>, Queue<u32>) {
    let (begun, gate) = gates();
    let pool = builder.workers(1).build().unwrap();
    let task = pool.submit(Held, (begun.clone(), gate.clone())).await.unwrap();
    get(&begun).await;
    (pool, task, gate)
}

// covers 89, 131, 149
#[procession::test]
async fn what_was_submitted_is_waited_for_when_it_suits() {
    let pool = Pool::new(2).unwrap();
    let tasks: Vec<Task<i64>> = futures(&pool, 10).await;
    let ids: HashSet<_> = tasks.iter().map(Task::id).collect();
    assert_eq!(ids.len(), 10);
    // Nobody waits, and they end.
    wait_until("all are done", PATIENCE, || tasks.iter().all(Task::is_done));
    assert!(!tasks[0].cancel());
    for (x, task) in tasks.into_iter().enumerate().rev() {
        assert_eq!(task.await.unwrap(), (x * x) as i64);
    }
}

async fn futures(pool: &Pool, count: i64) -> Vec<Task<i64>> {
    let mut tasks = Vec::new();
    for x in 0..count {
        tasks.push(pool.submit(Square, x).await.unwrap());
    }
    tasks
}

#[procession::test]
fn it_goes_on_where_nobody_waits() {
    let pool = Pool::new(2).unwrap();
    let marks = Queue::unbounded();
    for mark in 0..50 {
        drop(pool.submit(Leaves, (mark, marks.clone())).blocking().unwrap());
    }
    let mut seen: Vec<u32> = (0..50).map(|_| marks.get().timeout(PATIENCE).blocking().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    assert_eq!(pool.submit(Square, 12).blocking().unwrap().blocking().unwrap(), 144);
}

// covers 95, 150
#[procession::test]
async fn a_wait_may_be_too_short_and_is_repeated() {
    let (pool, mut task, gate) = occupied(Pool::builder()).await;
    assert!(task.within(Duration::from_millis(10)).await.is_none());
    assert!(task.within(Duration::ZERO).await.is_none() && !task.is_done());
    gate.put(5).await.unwrap();
    assert_eq!(task.within(PATIENCE).await.unwrap().unwrap(), 5);
    let blocking = tokio::task::spawn_blocking(move || {
        let (begun, gate) = gates();
        let mut task = pool.submit(Held, (begun.clone(), gate.clone())).blocking().unwrap();
        assert!(task.within(Duration::from_millis(10)).blocking().is_none());
        gate.put(6).blocking().unwrap();
        assert_eq!(task.within(PATIENCE).blocking().unwrap().unwrap(), 6);
    });
    blocking.await.unwrap();
}

// covers 149
#[procession::test]
async fn what_is_not_begun_is_taken_back() {
    let (pool, first, gate) = occupied(Pool::builder()).await;
    let marks = Queue::unbounded();
    let mut tasks = Vec::new();
    for mark in 0..6 {
        tasks.push(pool.submit(Leaves, (mark, marks.clone())).await.unwrap());
    }
    // Some of them are with the worker already.
    for task in tasks.iter().step_by(2) {
        assert!(task.cancel() && task.is_done());
        assert!(!task.cancel());
    }
    let second = tasks.remove(2);
    assert!(second.await.unwrap_err().is_cancelled());
    gate.put(1).await.unwrap();
    assert_eq!(first.await.unwrap(), 1);
    for (mark, task) in [0, 1, 3, 4, 5].into_iter().zip(tasks) {
        assert_eq!(task.await.is_ok(), mark % 2 == 1, "{mark}");
    }
    assert_eq!(pool.call(Square, 3).await.unwrap(), 9);
    let seen = [get(&marks).await, get(&marks).await, get(&marks).await];
    assert_eq!(seen, [1, 3, 5]);
    assert!(marks.is_empty().await.unwrap());
}

// covers 149; pain 15
#[procession::test]
async fn what_runs_is_asked_to_stop_and_then_killed() {
    let pool = Pool::builder().workers(1).task_grace(Duration::from_millis(500)).build().unwrap();
    let (begun, stopped) = gates();
    let polite = pool.submit(Spins, (begun.clone(), stopped.clone(), false)).await.unwrap();
    let pid = get(&begun).await;
    let neighbours = futures(&pool, 5).await;
    assert!(polite.cancel());
    assert!(matches!(polite.await, Err(TaskError { failure: Failure::Cancelled, .. })));
    assert_eq!(get(&stopped).await, pid);
    // It stopped when asked, so the worker lives.
    assert_eq!(pool.call(Whoami, ()).await.unwrap(), pid);

    let deaf = pool.submit(Spins, (begun.clone(), stopped.clone(), true)).await.unwrap();
    assert_eq!(get(&begun).await, pid);
    let more = futures(&pool, 5).await;
    assert!(deaf.cancel());
    assert!(deaf.await.unwrap_err().is_cancelled());
    for (x, task) in (0..5).chain(0..5).zip(neighbours.into_iter().chain(more)) {
        assert_eq!(task.await.unwrap(), x * x);
    }
    wait_gone(&[pid], PATIENCE);
    assert_ne!(pool.call(Whoami, ()).await.unwrap(), pid);
}

#[procession::test]
async fn a_dropped_handle_cancels_only_where_that_was_said() {
    let pool = Pool::builder().workers(1).task_grace(Duration::from_millis(20)).build().unwrap();
    let ((begun, stopped), marks) = (gates(), Queue::unbounded());
    let running = pool.submit(Spins, (begun.clone(), stopped, true)).await.unwrap().cancel_on_drop();
    let pid = get(&begun).await;
    drop(pool.submit(Leaves, (1, marks.clone())).await.unwrap().cancel_on_drop());
    drop(pool.submit(Leaves, (2, marks.clone())).await.unwrap());
    drop(running);
    assert_eq!(get(&marks).await, 2);
    wait_gone(&[pid], PATIENCE);
    assert_eq!(pool.call(Square, 3).await.unwrap(), 9);
    assert!(marks.is_empty().await.unwrap());
    // One whose result is there is none to cancel.
    let done = pool.submit(Leaves, (3, marks.clone())).await.unwrap().cancel_on_drop();
    assert_eq!(get(&marks).await, 3);
    done.await.unwrap();
}

#[procession::test]
async fn a_dropped_call_is_taken_back() {
    let (pool, first, gate) = occupied(Pool::builder().task_grace(Duration::from_millis(20))).await;
    let marks = Queue::unbounded();
    let polled_once = async |call: procession::Call<Leaves>| {
        assert!(tokio::time::timeout(Duration::from_millis(1), call.into_future()).await.is_err());
    };
    polled_once(pool.call(Leaves, (1, marks.clone()))).await;
    polled_once(pool.call(Leaves, (2, marks.clone())).cancel_on_drop()).await;
    gate.put(0).await.unwrap();
    first.await.unwrap();
    // One that has begun goes on; with `cancel_on_drop` it does not.
    let (begun, gate) = gates();
    let running = tokio::spawn(pool.call(Held, (begun.clone(), gate.clone())).into_future());
    let pid = get(&begun).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    gate.put(0).await.unwrap();
    assert_eq!(pool.call(Whoami, ()).await.unwrap(), pid);
    let running = tokio::spawn(pool.call(Spins, (begun.clone(), gate.clone(), true)).cancel_on_drop().into_future());
    get(&begun).await;
    running.abort();
    assert_ne!(pool.call(Whoami, ()).await.unwrap(), pid);
    assert!(marks.is_empty().await.unwrap());
    wait_gone(&[pid], PATIENCE);
}

// pain 16
#[procession::test]
async fn submitting_waits_while_too_many_have_not_ended() {
    let (pool, first, gate) = occupied(Pool::builder().max_pending(3)).await;
    let (begun, second_gate) = gates();
    let second = pool.submit(Held, (begun.clone(), second_gate.clone())).await.unwrap();
    let third = pool.submit(Square, 3).await.unwrap();
    assert!(matches!(pool.try_submit(Square, 4), Err(PoolError::Full)));
    let mut fourth = Box::pin(pool.submit(Square, 4).into_future());
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut fourth).await.is_err());
    // A task that is taken back makes room as one that ends does.
    assert!(third.cancel());
    let fourth = tokio::time::timeout(PATIENCE, fourth).await.unwrap().unwrap();
    let blocked = tokio::task::spawn_blocking({
        let pool = pool.clone();
        move || pool.submit(Square, 5).blocking().unwrap().blocking().unwrap()
    });
    gate.put(1).await.unwrap();
    assert_eq!(first.await.unwrap(), 1);
    get(&begun).await;
    second_gate.put(2).await.unwrap();
    assert_eq!((second.await.unwrap(), fourth.await.unwrap(), blocked.await.unwrap()), (2, 16, 25));
    assert_eq!(pool.try_submit(Square, 6).unwrap().await.unwrap(), 36);
    // Far more than fit, from one that never waits for any.
    let tasks = futures(&pool, 500).await;
    for (x, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap(), x * x);
    }
}

// covers 131, 142; pain 17
#[procession::test]
async fn ten_thousand_are_in_flight_at_once() {
    let pool = Pool::new(3).unwrap();
    let tasks = futures(&pool, 10_000).await;
    for (x, task) in tasks.into_iter().enumerate().rev() {
        assert_eq!(task.await.unwrap(), (x * x) as i64);
    }
    let stats = pool.stats();
    assert_eq!((stats.queued, stats.running, stats.done, stats.failed), (0, 0, 10_000, 0));
}

#[procession::test]
async fn threads_and_tasks_submit_and_wait_at_once() {
    let pool = Pool::new(3).unwrap();
    let threads: Vec<_> = (0..6)
        .map(|thread: i64| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                for round in 0..20 {
                    let tasks: Vec<_> = (0..10).map(|x| pool.submit(Square, thread * 1000 + round * 10 + x).blocking().unwrap()).collect();
                    for (x, task) in (0..).zip(tasks) {
                        let x = thread * 1000 + round * 10 + x;
                        assert_eq!(task.blocking().unwrap(), x * x);
                    }
                }
            })
        })
        .collect();
    for _ in 0..50 {
        for (x, task) in (0..).zip(futures(&pool, 20).await) {
            assert_eq!(task.await.unwrap(), x * x);
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

// Whoever has waited for a while, or looks at a stream now and then, does not stand in the way of others.
#[procession::test]
fn one_who_stopped_waiting_holds_nobody_up() {
    let (pool, (begun, gate)) = (Pool::new(2).unwrap(), gates());
    let mut stuck = pool.submit(Held, (begun.clone(), gate.clone())).blocking().unwrap();
    assert!(stuck.within(Duration::from_millis(5)).blocking().is_none());
    assert_eq!(pool.submit(Square, 3).blocking().unwrap().blocking().unwrap(), 9);
    let mut squares = pool.stream(Square, 0..).blocking();
    assert_eq!(squares.next().unwrap().unwrap(), 0);
    assert_eq!(pool.map(Square, 0..100).blocking().unwrap().len(), 100);
    let other = pool.clone();
    assert_eq!(std::thread::spawn(move || other.call(Square, 4).blocking().unwrap()).join().unwrap(), 16);
    assert_eq!(squares.next().unwrap().unwrap(), 1);
    gate.put(7).blocking().unwrap();
    assert_eq!(stuck.blocking().unwrap(), 7);
}

/// A runtime of its own that is given up while its task waits.
#[procession::test]
fn a_runtime_that_goes_away_takes_nobody_with_it() {
    let (pool, (begun, gate)) = (Pool::new(2).unwrap(), gates());
    let tasks: Vec<_> = (0..2).map(|_| pool.submit(Held, (begun.clone(), gate.clone())).blocking().unwrap()).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, other) = (runtime(), runtime());
    let [mut one, two] = <[Task<u32>; 2]>::try_from(tasks).unwrap();
    assert!(first.block_on(async { one.within(Duration::from_millis(5)).await }).is_none());
    let waiting = other.spawn(two);
    drop(first);
    gate.put(1).blocking().unwrap();
    gate.put(1).blocking().unwrap();
    assert_eq!(other.block_on(async { tokio::time::timeout(PATIENCE, waiting).await }).unwrap().unwrap().unwrap(), 1);
    assert_eq!(one.blocking().unwrap(), 1);
}

// covers 138, 144
#[procession::test]
async fn its_handle_tells_what_went_wrong() {
    let pool = Pool::new(1).unwrap();
    let (aborted, panicked) =
        (pool.submit(Fails, "abort".to_owned()).await.unwrap(), pool.submit(Fails, "as told".to_owned()).await.unwrap());
    let error = aborted.await.unwrap_err();
    assert!(matches!(error.report().unwrap().outcome, Outcome::Signalled { signal: libc::SIGABRT, .. }), "{error}");
    let error = panicked.await.unwrap_err();
    assert!(matches!(&error.failure, Failure::Panicked(panic) if panic.message == "as told"), "{error}");
    pool.close().await;
    assert!(matches!(pool.submit(Square, 1).await, Err(PoolError::Closed)));
}
