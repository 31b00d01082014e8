//! A stream takes its input as fast as its results are taken, gives them in order or as they come, and can be left half-way.

use std::future::{IntoFuture, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use procession::prelude::*;
use procession::{Failure, Progress, TaskError};
use procession_tests::{PATIENCE, wait_until};

#[process_actor]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

/// Dies of 13, panics at 14.
#[process_actor]
fn superstitious(x: u64) -> u64 {
    match x {
        13 => std::process::abort(),
        14 => panic!("as bad"),
        _ => x,
    }
}

#[process_actor]
fn sleeps(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

/// Counts what is taken of an iterator.
fn counted<I: Iterator>(items: I) -> (impl Iterator<Item = I::Item>, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let items = items.inspect(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    (items, taken)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_ascii_whitespace().next()?.parse().ok()).unwrap()
}

// covers 96, 132
#[procession::test]
async fn results_come_in_order_or_as_they_are_there() {
    let pool = Pool::new(3).unwrap();
    let mut squares = pool.stream(Square, 0..50_000);
    for x in 0..50_000 {
        assert_eq!(squares.next().await.unwrap().unwrap(), x * x);
    }
    assert!(squares.next().await.is_none() && squares.next().await.is_none());
    let mut squares = pool.map(Square, 0..50_000).chunk(7).stream().unordered();
    let mut all = Vec::new();
    while let Some(square) = squares.next().await {
        all.push(square.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..50_000).map(|x| x * x).collect::<Vec<u64>>());
    // A slow one holds the others back only where order matters.
    let mut sleepers = pool.map(Sleeps, [300, 1, 2]).chunk(1).stream().unordered();
    assert_ne!(sleepers.next().await.unwrap().unwrap(), 300);
    let mut sleepers = pool.map(Sleeps, [300, 1, 2]).chunk(1).stream();
    assert_eq!(sleepers.next().await.unwrap().unwrap(), 300);
    assert!(pool.stream(Square, []).next().await.is_none());
}

// covers 132, 138
#[procession::test]
async fn failures_are_results_in_their_place() {
    let pool = Pool::new(2).unwrap();
    for ordered in [true, false] {
        let stream = pool.stream(Superstitious, 0..30);
        let mut stream = if ordered { stream } else { stream.unordered() };
        let mut seen = Vec::new();
        while let Some(outcome) = stream.next().await {
            match outcome {
                Ok(x) => seen.push(x),
                Err(TaskError { index: 13, failure: Failure::Died(_), .. }) => seen.push(13),
                Err(TaskError { index: 14, failure: Failure::Panicked(_), .. }) => seen.push(14),
                Err(error) => panic!("{error}"),
            }
        }
        if !ordered {
            seen.sort_unstable();
        }
        assert_eq!(seen, (0..30).collect::<Vec<_>>());
    }
}

// pain 16
#[procession::test]
fn an_endless_input_takes_no_memory() {
    let items: u64 = if cfg!(debug_assertions) { 2_000_000 } else { 10_000_000 };
    let pool = Pool::new(2).unwrap();
    let mut squares = pool.stream(Square, 0..).blocking();
    let mut take = |from: u64, to: u64| {
        for x in from..to {
            assert_eq!(squares.next().unwrap().unwrap(), x * x);
        }
        resident_kib()
    };
    let before = take(0, items / 10);
    let after = take(items / 10, items);
    assert!(after < before + 10 * 1024, "{before} KiB, then {after} KiB");
}

// pain 16
#[procession::test]
async fn a_slow_consumer_holds_the_input_back() {
    let pool = Pool::new(2).unwrap();
    let (items, taken) = counted((0..).map(|_| 1));
    let mut sleepers = pool.stream(Sleeps, items);
    for _ in 0..100 {
        assert_eq!(sleepers.next().await.unwrap().unwrap(), 1);
    }
    // What has been given out has ended, however long nobody asks for more; and no more is taken.
    wait_until("the workers are idle", PATIENCE, || pool.stats().running == 0);
    let before = taken.load(Ordering::Relaxed);
    assert!(before < 400, "{before}");
    pool.map(Square, 0..1000).await.unwrap();
    assert_eq!(taken.load(Ordering::Relaxed), before);
    // One first result that is late holds back those behind it, too.
    let (items, taken) = counted((0..).map(|x| if x == 0 { 700 } else { 1 }));
    let mut sleepers = pool.map(Sleeps, items).chunk(1).stream();
    assert_eq!(sleepers.next().await.unwrap().unwrap(), 700);
    let ahead = taken.load(Ordering::Relaxed);
    assert!(ahead < 400, "{ahead}");
}

// covers 94
#[procession::test]
async fn a_panic_of_the_input_comes_after_what_was_before_it() {
    let pool = Pool::new(2).unwrap();
    let items = || (0..100u64).inspect(|&x| assert!(x < 40, "no more"));
    let says = |panic: Box<dyn std::any::Any + Send>| panic.downcast_ref::<&str>() == Some(&"no more");
    let mut squares = pool.stream(Square, items());
    for x in 0..40 {
        assert_eq!(squares.next().await.unwrap().unwrap(), x * x);
    }
    let mut next = pin!(squares.next());
    let polled = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| next.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(more)) => panic!("{more:?}"),
        Err(panic) => Poll::Ready(panic),
    });
    assert!(says(polled.await));
    let blocking = pool.clone();
    let thread = std::thread::spawn(move || blocking.map(Square, items()).blocking());
    assert!(says(thread.join().unwrap_err()));
    assert_eq!(pool.map(Square, 0..100).await.unwrap().len(), 100);
}

/// Numbers that come from time to time.
struct Ticks {
    left: u64,
    asked: bool,
}

impl Stream for Ticks {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<u64>> {
        self.asked = !self.asked;
        if self.asked && self.left.is_multiple_of(3) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(self.left))
    }
}

/// What others send, and nothing between.
struct Sent(tokio::sync::mpsc::Receiver<u64>);

impl Stream for Sent {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<u64>> {
        self.0.poll_recv(context)
    }
}

#[procession::test]
async fn the_input_may_be_a_stream() {
    let pool = Pool::new(2).unwrap();
    let squares = pool.map_stream(Square, Ticks { left: 5000, asked: false }).await.unwrap();
    assert_eq!(squares, (0..5000).rev().map(|x| x * x).collect::<Vec<u64>>());
    // A result is there before the next item is sent.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut squares = pool.map_stream(Square, Sent(receiver)).stream();
    for x in 0..100 {
        sender.send(x).await.unwrap();
        let next = tokio::time::timeout(PATIENCE, squares.next()).await.expect("it does not wait for more items");
        assert_eq!(next.unwrap().unwrap(), x * x);
    }
    drop(sender);
    assert!(squares.next().await.is_none());
    // It is a stream itself.
    let mut squares = pool.stream(Square, 0..10);
    let mut sum = 0;
    while let Some(square) = poll_fn(|context| Pin::new(&mut squares).poll_next(context)).await {
        sum += square.unwrap();
    }
    assert_eq!(sum, 285);
}

#[procession::test]
async fn what_is_left_half_way_is_taken_back() {
    let pool = Pool::new(2).unwrap();
    for round in 0..10 {
        let (items, taken) = counted((0..).map(|_| 1));
        let mut sleepers = pool.stream(Sleeps, items);
        for _ in 0..round {
            sleepers.next().await.unwrap().unwrap();
        }
        drop(sleepers);
        let before = taken.load(Ordering::Relaxed);
        wait_until("the workers are idle", PATIENCE, || pool.workers().iter().all(|worker| !worker.busy));
        assert_eq!((pool.stats().queued, pool.stats().running, taken.load(Ordering::Relaxed)), (0, 0, before));
        assert_eq!(pool.map(Square, 0..100).await.unwrap(), (0..100).map(|x| x * x).collect::<Vec<u64>>());
    }
    let mut blocking = pool.clone();
    let thread = std::thread::spawn(move || {
        for _ in 0..10 {
            let some: Vec<u64> = blocking.stream(Square, 0..).blocking().take(5).map(Result::unwrap).collect();
            assert_eq!(some, [0, 1, 4, 9, 16]);
            blocking = blocking.clone();
        }
    });
    thread.join().unwrap();
    assert_eq!(pool.stats().restarts, 0);
}

// pain 31
#[procession::test]
async fn progress_is_told_of_each_task() {
    let pool = Pool::new(2).unwrap();
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let tell = || {
        let told = told.clone();
        move |progress: &Progress| told.lock().unwrap().push(progress.clone())
    };
    pool.map(Superstitious, 0..30).on_progress(tell()).outcomes().await;
    let seen = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(seen.iter().map(|progress| progress.ended).collect::<Vec<_>>(), (1..=30).collect::<Vec<_>>());
    assert!(seen.iter().all(|progress| progress.total == Some(30)));
    assert!(seen.is_sorted_by_key(|progress| progress.failed));
    assert_eq!((seen[29].failed, seen[29].restarts), (2, 1));
    let mut stream = pool.map(Square, (0..).take_while(|x| *x < 20)).on_progress(tell()).stream();
    while let Some(square) = stream.next().await {
        square.unwrap();
    }
    let seen = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!((seen.len(), seen[19].ended, seen[19].total), (20, 20, None));
}

// The same without processes; pain 30
#[procession::test]
async fn a_pool_of_no_processes_has_the_same_face() {
    static HERE: AtomicU64 = AtomicU64::new(0);
    #[process_actor]
    fn counts(x: u64) -> u64 {
        HERE.fetch_add(1, Ordering::Relaxed);
        if x == 5 { panic!("as told") } else { x }
    }
    let pool = Pool::in_process();
    let outcomes = pool.map(Counts, 0..10).outcomes().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 9);
    assert!(matches!(&outcomes[5], Err(TaskError { index: 5, failure: Failure::Panicked(panic), .. }) if panic.message == "as told"));
    assert_eq!(HERE.load(Ordering::Relaxed), 10);
    let mut squares = pool.stream(Square, 0..);
    for x in 0..1000 {
        assert_eq!(squares.next().await.unwrap().unwrap(), x * x);
    }
    let task = pool.submit(Square, 7).await.unwrap();
    assert!(task.is_done() && !task.cancel());
    assert_eq!((task.await.unwrap(), pool.call(Square, 8).await.unwrap()), (49, 64));
    assert!(pool.map_stream(Square, Ticks { left: 10, asked: false }).into_future().await.is_ok());
    assert!(pool.pids().is_empty());
    pool.close().await;
    std::thread::spawn(|| assert_eq!(Pool::in_process().map(Square, 0..3).blocking().unwrap(), [0, 1, 4])).join().unwrap();
}
