//! A task that takes too long is asked to stop, then killed, alone; one that fails is tried again as often as was said.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{Failure, KillReason, MapError, Outcome, TaskError};
use procession_tests::{PATIENCE, signal, state, wait_until};

/// What a task does with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Deed {
    Square(u64),
    /// Spins for so many milliseconds, whatever it is asked.
    Spin(u64),
    /// Spins until it is asked to stop.
    Heed,
    /// Is never done.
    Hang,
    /// Stops its own process.
    Freeze,
    Panic,
}

#[process_actor]
fn does(deed: Deed) -> u64 {
    let start = Instant::now();
    match deed {
        Deed::Square(x) => return x * x,
        Deed::Spin(millis) => {
            while start.elapsed() < Duration::from_millis(millis) {
                std::hint::spin_loop();
            }
        }
        Deed::Heed => {
            while !procession::current().stop_requested() {
                std::hint::spin_loop();
            }
        }
        Deed::Hang => loop {
            std::hint::spin_loop();
        },
        Deed::Freeze => {
            signal(std::process::id(), libc::SIGSTOP);
        }
        Deed::Panic => panic!("as told"),
    }
    0
}

#[process_actor]
async fn sleeps(millis: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    millis
}

#[process_actor]
fn whoami(_: ()) -> u32 {
    std::process::id()
}

/// A directory that is there as long as its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How often this was called for the same path, this time included.
fn times(path: &PathBuf) -> u64 {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(b"x").unwrap();
    file.metadata().unwrap().len()
}

/// Dies the first times it is called for a path; then says how often it was.
#[process_actor]
fn dies_at_first(path: PathBuf, deaths: u64) -> u64 {
    let times = times(&path);
    if times <= deaths {
        std::process::abort();
    }
    times
}

#[process_actor]
fn fails_at_first(path: PathBuf, failures: u64) -> Result<u64, u64> {
    let times = times(&path);
    if times <= failures { Err(times) } else { Ok(times) }
}

#[process_actor]
fn hangs_at_first(path: PathBuf) -> u64 {
    let times = times(&path);
    if times == 1 { does(Deed::Hang) } else { times }
}

/// Squares, with one other deed among them.
fn deeds(count: u64, at: u64, deed: &Deed) -> Vec<Deed> {
    (0..count).map(|x| if x == at { deed.clone() } else { Deed::Square(x) }).collect()
}

/// All but one are squares; that one's error.
#[track_caller]
fn only_failure(outcomes: Vec<Result<u64, TaskError>>, at: u64) -> TaskError {
    let mut failure = None;
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Err(error) if x == at => failure = Some(error),
            other => assert_eq!(other.unwrap(), x * x),
        }
    }
    failure.expect("one has failed")
}

const SHORT: Duration = Duration::from_millis(150);

// pain 15
#[procession::test]
async fn whoever_stops_when_asked_is_not_killed() {
    let pool = Pool::builder().workers(1).task_grace(PATIENCE).build().unwrap();
    let pid = pool.call(Whoami, ()).await.unwrap();
    let start = Instant::now();
    let error = only_failure(pool.map(Does, deeds(100, 40, &Deed::Heed)).timeout(SHORT).outcomes().await, 40);
    assert!(start.elapsed() >= SHORT);
    let Failure::TimedOut { after: SHORT, report: None } = error.failure else { panic!("{error}") };
    assert_eq!((error.index, error.attempts, error.is_timeout()), (40, 1, true));
    assert_eq!(error.to_string(), "task 40 was not done after 150ms and stopped when asked");
    // A result that comes after its time does not count either.
    let error = only_failure(pool.map(Does, deeds(10, 4, &Deed::Spin(400))).timeout(SHORT).outcomes().await, 4);
    assert!(matches!(error.failure, Failure::TimedOut { report: None, .. }), "{error}");
    assert_eq!(pool.call(Whoami, ()).await.unwrap(), pid);
}

// pains 2, 15
#[procession::test]
async fn whoever_does_not_is_killed_alone() {
    let pool = Pool::builder().workers(2).task_grace(Duration::from_millis(30)).build().unwrap();
    for (deed, chunk) in [(Deed::Hang, 1), (Deed::Hang, 50), (Deed::Freeze, 7)] {
        let outcomes = pool.map(Does, deeds(200, 77, &deed)).chunk(chunk).timeout(SHORT).outcomes().await;
        let error = only_failure(outcomes, 77);
        let report = error.report().expect("it was killed").clone();
        assert_eq!(report.outcome, Outcome::Killed { signal: libc::SIGKILL, reason: KillReason::TaskEscalated });
        assert!(error.to_string().starts_with("task 77 was not done after 150ms, did not stop when asked, and its worker was killed: "));
        wait_until("it is gone", PATIENCE, || !pool.pids().contains(&report.pid));
    }
    let (hung, slept) = (pool.call(Does, Deed::Hang).timeout(SHORT).await, pool.call(Sleeps, 3_600_000).timeout(SHORT).await);
    assert!(hung.unwrap_err().report().is_some() && slept.unwrap_err().is_timeout());
    assert_eq!(pool.call(Sleeps, 1).await.unwrap(), 1);
}

#[procession::test]
async fn the_time_is_each_tasks_own() {
    let pool = Pool::builder().workers(2).task_timeout(Duration::from_secs(2)).build().unwrap();
    // Together they take longer than one may.
    let took = pool.map(Does, vec![Deed::Spin(10); 500]).await.unwrap();
    assert_eq!(took.len(), 500);
    // A map's own word counts more than the pool's.
    assert!(pool.call(Does, Deed::Hang).timeout(SHORT).await.unwrap_err().is_timeout());
    let error = pool.submit(Does, Deed::Hang).await.unwrap().await.unwrap_err();
    assert!(matches!(error.failure, Failure::TimedOut { after, .. } if after == Duration::from_secs(2)), "{error}");
}

// A task that is with a worker that was stopped before it could begin it is late all the same.
#[procession::test]
async fn a_worker_that_was_stopped_while_idle_holds_nothing_up() {
    let pool = Pool::builder().workers(2).task_grace(Duration::from_millis(30)).build().unwrap();
    pool.map(Does, deeds(1000, 1000, &Deed::Panic)).await.unwrap();
    for pid in pool.pids().into_iter().take(1) {
        signal(pid, libc::SIGSTOP);
        wait_until("it is stopped", PATIENCE, || state(pid) == Some('T'));
    }
    let map = pool.map(Does, deeds(10, 10, &Deed::Panic)).timeout(SHORT).retries(1).into_future();
    let squares = tokio::time::timeout(PATIENCE, map).await.expect("nobody waits for the one that was stopped");
    assert_eq!(squares.unwrap(), (0..10).map(|x| x * x).collect::<Vec<_>>());
    pool.terminate().await;
}

#[procession::test]
async fn what_killed_its_worker_is_tried_again() {
    let (pool, scratch) = (Pool::new(2).unwrap(), Scratch::new("deaths"));
    let items = |round: &str, deaths: &[u64]| -> Vec<(PathBuf, u64)> {
        (0..).zip(deaths).map(|(task, deaths)| (scratch.0.join(format!("{round}{task}")), *deaths)).collect()
    };
    let deaths = [0, 1, 2, 0, 3, 0, 1, 0, 0];
    let times = pool.map(DiesAtFirst, items("a", &deaths)).retries(3).await.unwrap();
    assert_eq!(times, deaths.map(|deaths| deaths + 1));
    let outcomes = pool.map(DiesAtFirst, items("b", &deaths)).retries(1).outcomes().await;
    for (task, (outcome, deaths)) in outcomes.into_iter().zip(deaths).enumerate() {
        if deaths < 2 {
            assert_eq!(outcome.unwrap(), deaths + 1);
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!((error.index, error.attempts), (task, 2));
        assert!(matches!(error.report().unwrap().outcome, Outcome::Signalled { signal: libc::SIGABRT, .. }));
        assert!(error.to_string().ends_with("(the last of 2 attempts)"), "{error}");
    }
    let pool = Pool::builder().workers(2).retries(2).build().unwrap();
    let path = scratch.0.join("submitted");
    assert_eq!(pool.submit(DiesAtFirst, (path.clone(), 2)).await.unwrap().await.unwrap(), 3);
    assert_eq!(pool.call(DiesAtFirst, (path, 4)).retries(0).await.unwrap_err().attempts, 1);
}

#[procession::test]
async fn what_took_too_long_is_tried_again() {
    let pool = Pool::builder().workers(2).task_grace(Duration::from_millis(30)).build().unwrap();
    let scratch = Scratch::new("late");
    assert_eq!(pool.call(HangsAtFirst, scratch.0.join("one")).timeout(SHORT).retries(1).await.unwrap(), 2);
    for deed in [Deed::Hang, Deed::Heed] {
        let error = pool.call(Does, deed).timeout(SHORT).retries(2).await.unwrap_err();
        assert_eq!((error.attempts, error.is_timeout()), (3, true));
    }
    // A panic is the function's answer.
    let error = pool.call(Does, Deed::Panic).retries(5).await.unwrap_err();
    assert!(matches!((&error.failure, error.attempts), (Failure::Panicked(_), 1)), "{error}");
}

#[procession::test]
async fn what_was_returned_may_be_a_reason_to_try_again() {
    let (pool, scratch) = (Pool::new(2).unwrap(), Scratch::new("results"));
    let failures = [0, 1, 5, 0, 2];
    let items = |round: &'static str| {
        let path = scratch.0.clone();
        (0..).zip(failures).map(move |(task, failures)| (path.join(format!("{round}{task}")), failures)).collect::<Vec<_>>()
    };
    let results = pool.map(FailsAtFirst, items("map")).retries(2).retry_if(Result::is_err).await.unwrap();
    assert_eq!(results, [Ok(1), Ok(2), Err(3), Ok(1), Ok(3)]);
    let mut stream = pool.map(FailsAtFirst, items("stream")).retries(2).retry_if(Result::is_err).stream();
    for expected in [Ok(1), Ok(2), Err(3), Ok(1), Ok(3)] {
        assert_eq!(stream.next().await.unwrap().unwrap(), expected);
    }
    assert!(stream.next().await.is_none());
    // Without retries there are none.
    let results = pool.map(FailsAtFirst, items("none")).retry_if(Result::is_err).await.unwrap();
    assert_eq!(results, failures.map(|failures| if failures == 0 { Ok(1) } else { Err(1) }));
}

// covers 101
#[procession::test]
async fn a_map_may_end_with_its_first_failure() {
    let (pool, scratch) = (Pool::new(2).unwrap(), Scratch::new("fast"));
    let deeds = (0..).map(|x| if x == 1000 { Deed::Panic } else { Deed::Square(x) });
    let error: MapError<u64> = pool.map(Does, deeds.take(5_000_000)).fail_fast().await.unwrap_err();
    assert_eq!(error.first().unwrap().index, 1000);
    assert_eq!(error.failures().count(), 1);
    let ended = error.outcomes.iter().filter(|outcome| outcome.is_some()).count();
    assert!(ended < 2_500_000, "{ended} of {}", error.outcomes.len());
    // The same with a death; and what is not begun is not run.
    let paths = |count: usize| (0..count).map(|task| (scratch.0.join(task.to_string()), if task == 3 { u64::MAX } else { 0 }));
    let error = pool.map(DiesAtFirst, paths(5000)).chunk(1).fail_fast().await.unwrap_err();
    assert!(matches!(error.first().unwrap().failure, Failure::Died(_)));
    assert_eq!(pool.map(Does, (0..100).map(Deed::Square)).fail_fast().await.unwrap().len(), 100);
    let run = std::fs::read_dir(&scratch.0).unwrap().count();
    assert!(run < 4000, "{run}");
    let pids: HashSet<u32> = pool.map(Whoami, [(); 100]).await.unwrap().into_iter().collect();
    assert!(pids.len() <= 2);
}
