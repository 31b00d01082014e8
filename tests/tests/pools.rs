//! A pool gives what a serial map would have given, whatever dies on the way.

use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{Failure, MapError, Outcome, PoolError, TaskError};

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[process_actor]
fn shout(text: String, times: usize) -> String {
    text.to_uppercase().repeat(times)
}

#[process_actor]
fn half(x: u8) -> Result<u8, String> {
    if x.is_multiple_of(2) { Ok(x / 2) } else { Err(format!("{x} is odd")) }
}

#[process_actor]
async fn slow_square(x: i64) -> i64 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    x * x
}

#[process_actor]
fn whoami(_: ()) -> u32 {
    std::process::id()
}

/// Does with its process what it is told.
#[process_actor]
fn fate(what: String) -> String {
    match what.as_str() {
        "segfault" => {
            reset(libc::SIGSEGV);
            unsafe { libc::raise(libc::SIGSEGV) };
        }
        "abort" => std::process::abort(),
        "exit" => std::process::exit(7),
        "panic" => panic!("told to"),
        "kill" => {
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
        _ => {}
    }
    what
}

fn reset(signal: i32) {
    // The standard library's handler for stack overflows would print and return.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// A number whose serialiser refuses 13, and whose deserialiser refuses 14.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Picky(u32);

impl Serialize for Picky {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 { Err(serde::ser::Error::custom("13 is unlucky")) } else { serializer.serialize_u32(self.0) }
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        match u32::deserialize(deserializer)? {
            14 => Err(serde::de::Error::custom("14 is no better")),
            n => Ok(Picky(n)),
        }
    }
}

#[process_actor]
fn picky_result(n: u32) -> Picky {
    Picky(n)
}

#[process_actor]
fn picky_argument(n: Picky) -> u32 {
    n.0
}

#[process_actor]
fn spin(micros: u64) -> u32 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    std::process::id()
}

/// Gives the time at its end, in microseconds.
#[process_actor]
fn spin_until(micros: u64) -> u64 {
    spin(micros);
    std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64
}

#[process_actor]
fn blob(size: usize) -> Vec<u8> {
    vec![7; size]
}

#[process_actor]
async fn nested(n: i64) -> i64 {
    let pool = Pool::new(2).unwrap();
    pool.map(Square, 0..n).await.unwrap().into_iter().sum()
}

#[process_actor]
fn nested_blocking(n: i64) -> i64 {
    let pool = Pool::new(2).unwrap();
    pool.map(Square, 0..n).blocking().unwrap().into_iter().sum()
}

// covers 97
#[procession::test]
async fn a_pool_of_none_is_refused() {
    assert!(matches!(Pool::new(0), Err(PoolError::NoWorkers)));
    assert!(Pool::builder().build().unwrap().pids().is_empty());
}

// covers 89, 90, 93
#[procession::test]
async fn a_map_equals_the_serial_one() {
    let pool = Pool::new(3).unwrap();
    for size in [0, 1, 2, 7, 1000, 100_000] {
        let expected: Vec<i64> = (0..size).map(square).collect();
        assert_eq!(pool.map(Square, 0..size).await.unwrap(), expected, "{size}");
    }
    for chunk in [1, 2, 7, 999, 1000, 1001, 100_000_000] {
        let expected: Vec<i64> = (0..5000).map(square).collect();
        assert_eq!(pool.map(Square, 0..5000).chunk(chunk).await.unwrap(), expected, "{chunk}");
    }
    assert_eq!(pool.call(Square, -9).await.unwrap(), 81);
    assert_eq!(pool.pids().len(), 3);
}

#[procession::test]
fn blocking_callers_need_no_runtime() {
    let pool = Pool::new(2).unwrap();
    for size in [0, 1, 1000] {
        assert_eq!(pool.map(Square, 0..size).blocking().unwrap(), (0..size).map(square).collect::<Vec<_>>());
    }
    assert_eq!(pool.call(Square, 3).blocking().unwrap(), 9);
    let threads: Vec<_> = (0..6)
        .map(|thread| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                for round in 0..20 {
                    let from = thread * 1000 + round;
                    assert_eq!(pool.map(Square, from..from + 50).blocking().unwrap(), (from..from + 50).map(square).collect::<Vec<_>>());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[procession::test]
async fn blocking_and_async_callers_share_a_pool() {
    let pool = Pool::new(2).unwrap();
    let other = pool.clone();
    let thread = std::thread::spawn(move || {
        for _ in 0..50 {
            assert_eq!(other.map(Square, 0..300).blocking().unwrap().len(), 300);
        }
    });
    while !thread.is_finished() {
        assert_eq!(pool.map(Square, 0..300).await.unwrap().len(), 300);
    }
    thread.join().unwrap();
}

#[procession::test]
async fn several_parameters_are_tuples_and_values_are_any() {
    let pool = Pool::new(2).unwrap();
    let shouted = pool.map(Shout, (0..100).map(|n| (format!("a{n}"), n % 3))).await.unwrap();
    assert_eq!(shouted, (0..100).map(|n| shout(format!("a{n}"), n % 3)).collect::<Vec<_>>());
    let halves = pool.map(Half, 0..=255u8).await.unwrap();
    assert_eq!(halves, (0..=255u8).map(half).collect::<Vec<_>>());
    // A returned error is a value.
    assert_eq!(halves[3], Err("3 is odd".to_owned()));
}

#[procession::test]
async fn results_of_every_size_arrive() {
    let pool = Pool::new(2).unwrap();
    let sizes = [0, 1, 100_000, 3, 300_000, 262_140, 5, 1_000_000, 0, 65_536];
    for chunk in [1, 3, 10] {
        let blobs = pool.map(Blob, sizes).chunk(chunk).await.unwrap();
        assert_eq!(blobs.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
    }
    assert!(pool.map(Blob, vec![200; 5000]).await.unwrap().iter().all(|blob| blob == &[7; 200]));
}

/// What begins with a 1 is the worker's end.
#[process_actor]
fn heavy(bytes: Vec<u8>) -> usize {
    if bytes.first() == Some(&1) {
        std::process::abort();
    }
    bytes.len()
}

// covers 140, 141; pain 17
#[procession::test]
async fn a_death_while_much_is_on_its_way_fails_one_task() {
    const SIZE: usize = 4 << 20;
    let pool = Pool::new(2).unwrap();
    // The next argument is being written when the worker dies: it is larger than what a socket takes.
    let items = (0..16).map(|n| {
        let mut bytes = vec![0; SIZE];
        bytes[0] = u8::from(n % 4 == 1);
        bytes
    });
    let map = tokio::spawn(pool.map(Heavy, items).outcomes().into_future());
    gone(|| pool.stats().queued + pool.stats().running > 0).await;
    // The deaths come after the close, and it ends all the same.
    let closing = pool.close().into_future();
    for (n, outcome) in map.await.unwrap().into_iter().enumerate() {
        match outcome {
            Ok(length) => assert_eq!((length, n % 4 == 1), (SIZE, false)),
            Err(error) => assert!(n % 4 == 1 && matches!(error.failure, Failure::Died(_)), "{error}"),
        }
    }
    tokio::time::timeout(Duration::from_secs(30), closing).await.expect("it is closed");
}

#[procession::test]
async fn async_tasks_work() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(SlowSquare, 0..50).await.unwrap(), (0..50).map(square).collect::<Vec<_>>());
}

// covers 101, 135, 139; pains 1, 2
#[procession::test]
async fn a_task_that_kills_its_worker_fails_alone() {
    let pool = Pool::new(3).unwrap();
    for (how, signal, code) in [("segfault", Some(11), None), ("abort", Some(6), None), ("kill", Some(9), None), ("exit", None, Some(7))] {
        for at in [0, 3, 7] {
            let fates = (0..8).map(|task| if task == at { how.to_owned() } else { format!("fine {task}") });
            let outcomes = pool.map(Fate, fates).outcomes().await;
            for (task, outcome) in outcomes.iter().enumerate() {
                if task != at {
                    assert_eq!(outcome.as_ref().unwrap(), &format!("fine {task}"), "{how}");
                    continue;
                }
                let Err(TaskError { index, failure: Failure::Died(report), .. }) = outcome else { panic!("{how}: {outcome:?}") };
                assert_eq!(*index, at);
                assert_eq!(report.signal(), signal);
                assert_eq!(report.code(), code.or(signal.map(|signal| -signal)));
                assert!(outcome.as_ref().unwrap_err().to_string().contains(&format!("task {at}")), "{outcome:?}");
            }
        }
    }
    assert_eq!(pool.map(Square, 0..10).await.unwrap().len(), 10);
}

#[procession::test]
async fn eight_of_eight_may_die() {
    let pool = Pool::new(3).unwrap();
    let outcomes = pool.map(Fate, vec!["abort".to_owned(); 8]).outcomes().await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(TaskError { failure: Failure::Died(_), .. }))));
    assert_eq!(pool.call(Square, 4).await.unwrap(), 16);
}

// covers 100, 136
#[procession::test]
async fn a_panic_is_its_tasks_error_and_the_worker_lives_on() {
    let pool = Pool::new(1).unwrap();
    let before = pool.call(Whoami, ()).await.unwrap();
    let tasks = ["a", "panic", "b"].map(str::to_owned);
    let error: MapError<String> = pool.map(Fate, tasks).await.unwrap_err();
    assert_eq!(error.outcomes.iter().filter(|outcome| matches!(outcome, Some(Ok(_)))).count(), 2);
    let Some(TaskError { index: 1, failure: Failure::Panicked(panic), .. }) = error.first() else { panic!("{error}") };
    assert_eq!(panic.message, "told to");
    assert!(panic.place.as_deref().unwrap().contains("pools.rs"));
    assert!(error.to_string().starts_with("task 1 panicked at "), "{error}");
    assert_eq!(pool.call(Whoami, ()).await.unwrap(), before);
}

// covers 92, 104, 138, 139; pain 12
#[procession::test]
async fn what_cannot_be_sent_or_read_fails_alone() {
    let pool = Pool::new(2).unwrap();
    let outcomes = pool.map(PickyResult, 10..20).chunk(10).outcomes().await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match index {
            3 => assert!(matches!(outcome, Err(TaskError { index: 3, failure: Failure::Unsendable(_), .. })), "{outcome:?}"),
            4 => assert!(matches!(outcome, Err(TaskError { index: 4, failure: Failure::Decode(_), .. })), "{outcome:?}"),
            _ => assert_eq!(outcome.as_ref().unwrap(), &Picky(10 + index as u32)),
        }
    }
    let outcomes = pool.map(PickyArgument, (10..20).map(Picky)).outcomes().await;
    for (index, outcome) in outcomes.iter().enumerate() {
        match index {
            3 => assert!(matches!(outcome, Err(TaskError { index: 3, failure: Failure::Encode(_), .. })), "{outcome:?}"),
            4 => assert!(matches!(outcome, Err(TaskError { index: 4, failure: Failure::Rejected(_), .. })), "{outcome:?}"),
            _ => assert_eq!(*outcome.as_ref().unwrap(), 10 + index as u32),
        }
    }
}

// covers 135; pains 1, 2
#[procession::test]
async fn killed_at_random_exactly_the_running_tasks_fail() {
    const WORKERS: usize = 3;
    let pool = Pool::new(WORKERS).unwrap();
    pool.map(Spin, [1; 10]).await.unwrap();
    let map = tokio::spawn({
        let pool = pool.clone();
        async move { pool.map(Spin, vec![40; 10_000]).outcomes().await }
    });
    let mut killed = Vec::new();
    let mut seed = std::process::id() as usize;
    while !map.is_finished() && killed.len() < 12 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_micros((seed >> 40) as u64 % 20_000)).await;
        let pids: Vec<u32> = pool.pids().into_iter().filter(|pid| !killed.contains(pid)).collect();
        if let Some(&pid) = pids.get((seed >> 20) % pids.len().max(1)) {
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            killed.push(pid);
        }
    }
    let outcomes = map.await.unwrap();
    assert_eq!(outcomes.len(), 10_000);
    let mut blamed: Vec<u32> = Vec::new();
    for (task, outcome) in outcomes.iter().enumerate() {
        if let Err(error) = outcome {
            let TaskError { index, failure: Failure::Died(report), .. } = error else { panic!("{error}") };
            assert_eq!((*index, report.signal()), (task, Some(9)));
            blamed.push(report.pid);
        }
    }
    // At most one task a worker, and only of those that were killed.
    let all = blamed.len();
    blamed.sort_unstable();
    blamed.dedup();
    assert_eq!(blamed.len(), all);
    assert!(blamed.iter().all(|pid| killed.contains(pid)));
}

#[procession::test]
async fn maps_share_the_workers() {
    let pool = Pool::new(2).unwrap();
    let (a, b, c) = tokio::join!(pool.map(Square, 0..20_000), pool.map(Shout, (0..500).map(|n| (n.to_string(), 2))), pool.call(Square, 5));
    assert_eq!(a.unwrap(), (0..20_000).map(square).collect::<Vec<_>>());
    assert_eq!(b.unwrap()[7], "77");
    assert_eq!(c.unwrap(), 25);
    let tasks: Vec<_> = (0..40)
        .map(|n: i64| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.map(Square, n..n + 100).await.unwrap() })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap(), (n..n + 100).map(square).collect::<Vec<_>>());
    }
}

#[procession::test]
async fn a_future_that_is_not_polled_holds_nobody_up() {
    let pool = Pool::new(2).unwrap();
    let mut idle = Box::pin(pool.map(Spin, vec![100; 100]).into_future());
    // Polled once, so that it has begun, and then left alone.
    tokio::select! {
        biased;
        _ = &mut idle => panic!("too fast"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(pool.call(Square, 6).await.unwrap(), 36);
    assert_eq!(idle.await.unwrap().len(), 100);
}

#[procession::test]
async fn one_long_task_keeps_nothing_behind_it() {
    let pool = Pool::new(2).unwrap();
    pool.map(SpinUntil, vec![1; 2000]).await.unwrap();
    let mut items = vec![1; 200];
    items[0] = 400_000;
    // By what tasks cost so far, each worker has many of the short ones ahead.
    let ends = pool.map(SpinUntil, items).await.unwrap();
    assert!(ends[1..].iter().filter(|end| **end < ends[0]).count() > 190, "{ends:?}");
}

/// The 30th task ends when it is told to.
#[process_actor]
fn held_up(n: u32, release: Queue<u32>) -> String {
    if n == 30 { release.get().blocking().unwrap().to_string() } else { n.to_string() }
}

#[procession::test]
async fn what_is_done_is_there_before_its_batch_is() {
    let pool = Pool::new(1).unwrap();
    let release = Queue::bounded(1);
    let mut results = pool.stream(HeldUp, (0..100).map(|n| (n, release.clone())));
    for n in 0..30 {
        assert_eq!(results.next().await.unwrap().unwrap(), n.to_string());
    }
    release.put(7).await.unwrap();
    assert_eq!(results.next().await.unwrap().unwrap(), "7");
    for n in 31..100 {
        assert_eq!(results.next().await.unwrap().unwrap(), n.to_string());
    }
    assert!(results.next().await.is_none());
}

#[procession::test]
async fn a_dropped_map_leaves_the_pool_as_it_was() {
    let pool = Pool::new(2).unwrap();
    for round in 0..20 {
        let map = pool.map(Spin, vec![200; 5000]).into_future();
        let dropped = tokio::time::timeout(Duration::from_millis(round), map).await;
        assert!(dropped.is_err());
        assert_eq!(pool.map(Square, 0..100).await.unwrap(), (0..100).map(square).collect::<Vec<_>>());
    }
}

// covers 25; pain 27
#[procession::test]
async fn a_pool_works_in_a_child() {
    assert_eq!(Nested::spawn(100).await.unwrap().join().await.unwrap(), (0..100).map(square).sum());
    assert_eq!(NestedBlocking::spawn(100).await.unwrap().join().await.unwrap(), (0..100).map(square).sum());
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(Nested, [10, 20]).await.unwrap(), [285, 2470]);
}

// covers 99
#[procession::test]
async fn a_closed_pool_takes_no_more() {
    let pool = Pool::builder().workers(2).name("closing").build().unwrap();
    let under_way = tokio::spawn(pool.map(Spin, vec![1000; 50]).into_future());
    pool.call(Square, 1).await.unwrap();
    pool.close();
    let refused = pool.map(Square, 0..3).await.unwrap_err();
    assert!(matches!(refused.first(), Some(TaskError { index: 0, failure: Failure::Pool(_), .. })), "{refused}");
    // What came before is still done.
    assert_eq!(under_way.await.unwrap().unwrap().len(), 50);
    gone(|| named("closing") == 0).await;
}

// covers 107
#[procession::test]
async fn a_dropped_pool_ends_its_workers() {
    let pool = Pool::builder().workers(3).name("dropping").build().unwrap();
    pool.map(Square, 0..10_000).await.unwrap();
    gone(|| named("dropping") == 3).await;
    let busy = pool.map(Spin, vec![1000; 3000]).into_future();
    assert!(tokio::time::timeout(Duration::from_millis(5), busy).await.is_err());
    drop(pool);
    gone(|| named("dropping") == 0).await;
}

/// How many children have a name that begins like this.
fn named(name: &str) -> usize {
    procession::children().iter().filter(|child| child.name.starts_with(name)).count()
}

#[procession::test]
async fn a_worker_killed_while_idle_is_replaced() {
    let pool = Pool::new(1).unwrap();
    for _ in 0..8 {
        let pid = pool.call(Whoami, ()).await.unwrap();
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        gone(|| !pool.pids().contains(&pid)).await;
    }
    assert!(matches!(pool.call(Fate, "abort".to_owned()).await, Err(TaskError { failure: Failure::Died(report), .. })
        if matches!(report.outcome, Outcome::Signalled { signal: 6, .. })));
}

/// Waits for `done` to be true, which it has to be soon.
async fn gone(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "still there");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
