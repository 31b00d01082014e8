//! While something kills workers all the time a map gives what it should, fails what was running and nothing else, and afterwards
//! nothing is left of any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{Failure, KillReason, Outcome, TaskError};
use procession_tests::{PATIENCE, children, is_gone, nursery, signal, wait_until};

const WORKERS: usize = 4;
const TASKS: u64 = 100_000;
const KILLS: usize = 1000;
/// How long a task takes.
const SPIN: Duration = Duration::from_micros(60);

/// One storm at a time: each looks at the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a worker's tasks note what they do.
struct Notes(File);

const BEGUN: u32 = 1;
const ENDED: u32 = 2;

#[process_actor]
fn open_notes(path: PathBuf) -> std::io::Result<()> {
    procession::worker_state::set(Notes(OpenOptions::new().append(true).open(path)?));
    Ok(())
}

/// Appends one record of 16 bytes, which is written whole or not at all.
fn note(task: u64, what: u32) {
    let mut record = [0; 16];
    record[..8].copy_from_slice(&task.to_le_bytes());
    record[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    record[12..].copy_from_slice(&what.to_le_bytes());
    procession::worker_state::with(|Notes(file): &mut Notes| file.write_all(&record).unwrap());
}

#[process_actor]
fn noted_square(x: u64) -> u64 {
    note(x, BEGUN);
    let start = Instant::now();
    while start.elapsed() < SPIN {
        std::hint::spin_loop();
    }
    note(x, ENDED);
    x * x
}

/// What the notes of a storm say of each task: who began it, and who ended it.
#[derive(Default)]
struct Story {
    begun: Vec<u32>,
    ended: Vec<u32>,
}

/// A pool whose tasks take notes.
struct Noted {
    path: PathBuf,
    pool: Pool,
}

impl Noted {
    fn new(name: &str) -> Noted {
        let path = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        File::create(&path).unwrap();
        let pool = Pool::builder().workers(WORKERS).initializer(OpenNotes, path.clone()).build().unwrap();
        Noted { path, pool }
    }

    fn stories(&self) -> BTreeMap<u64, Story> {
        let mut stories: BTreeMap<u64, Story> = BTreeMap::new();
        let bytes = std::fs::read(&self.path).unwrap();
        assert!(bytes.len().is_multiple_of(16));
        for record in bytes.as_chunks::<16>().0 {
            let story = stories.entry(u64::from_le_bytes(record[..8].try_into().unwrap())).or_default();
            let pid = u32::from_le_bytes(record[8..12].try_into().unwrap());
            match u32::from_le_bytes(record[12..].try_into().unwrap()) {
                BEGUN => story.begun.push(pid),
                ENDED => story.ended.push(pid),
                what => panic!("{what}"),
            }
        }
        stories
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Path::new(&self.path));
    }
}

/// What this process holds for its pools.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    segments: usize,
}

fn held() -> Held {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    Held {
        descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        segments: maps.lines().filter(|line| line.contains("memfd:")).count(),
    }
}

/// Actors' processes that there are.
fn alive() -> Vec<u32> {
    let nursery = nursery(std::process::id()).unwrap();
    children(nursery).into_iter().filter(|&pid| !is_gone(pid)).collect()
}

/// What a process holds that has had a pool and has none now.
fn before() -> Held {
    let noted = Noted::new("before");
    assert_eq!(noted.pool.map(NotedSquare, 0..2000).blocking().unwrap().len(), 2000);
    noted.pool.close().blocking();
    drop(noted);
    wait_until("the first pool is gone", PATIENCE, || alive().is_empty());
    held()
}

#[track_caller]
fn nothing_is_left(before: Held) {
    wait_until("no process is left", PATIENCE, || alive().is_empty() && procession::children().is_empty());
    wait_until("descriptors and segments are as before", PATIENCE, || {
        let now = held();
        now.descriptors <= before.descriptors && now.segments <= before.segments
    });
}

/// Sends workers a signal, one for every so many tasks that have ended, a random moment later; gives whom.
fn storm(pool: &Pool, ended: &AtomicUsize, number: i32, count: usize, every: usize) -> BTreeSet<u32> {
    let mut struck = BTreeSet::new();
    let mut seed = u64::from(std::process::id());
    let start = Instant::now();
    while struck.len() < count {
        assert!(start.elapsed() < 5 * PATIENCE, "only {} of {count}", struck.len());
        std::thread::sleep(Duration::from_micros(50));
        if ended.load(Ordering::Relaxed) < struck.len() * every {
            continue;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((seed >> 40) % 500));
        let pids: Vec<u32> = pool.pids().into_iter().filter(|pid| !struck.contains(pid)).collect();
        if let Some(&pid) = pids.get((seed >> 20) as usize % pids.len().max(1))
            && signal(pid, number)
        {
            struck.insert(pid);
        }
    }
    struck
}

/// Runs a map in a storm: what became of its tasks, and who was struck.
fn outcomes_in_a_storm(
    pool: &Pool,
    tasks: u64,
    number: i32,
    strikes: usize,
    terms: impl FnOnce(Squares) -> Squares,
) -> (Vec<Result<u64, TaskError>>, BTreeSet<u32>) {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let map = terms(pool.map(NotedSquare, 0..tasks)).on_progress(move |progress| counted.store(progress.ended, Ordering::Relaxed));
    let every = tasks as usize * 9 / 10 / strikes;
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(pool, &ended, number, strikes, every));
        let outcomes = map.outcomes().blocking();
        (outcomes, storm.join().unwrap())
    })
}

type Squares = procession::Map<NotedSquare, procession::Items<std::ops::Range<u64>>>;

// covers 90, 135, 139; pains 1, 17
#[procession::test]
fn with_retries_every_result_is_right_and_there_once() {
    let _alone = alone();
    let before = before();
    let noted = Noted::new("retries");
    let (outcomes, killed) = outcomes_in_a_storm(&noted.pool, TASKS, libc::SIGKILL, KILLS, |map| map.retries(50));
    assert_eq!((outcomes.len(), killed.len()), (TASKS as usize, KILLS));
    for (x, outcome) in (0..).zip(outcomes) {
        assert_eq!(outcome.unwrap(), x * x);
    }
    let stories = noted.stories();
    assert_eq!(stories.len(), TASKS as usize);
    assert!(stories.values().all(|story| !story.ended.is_empty()));
    // Whoever was killed has cost one task another attempt, and no more than that one.
    let again: Vec<&Story> = stories.values().filter(|story| story.begun.len() > 1).collect();
    let mut blamed: Vec<u32> = again.iter().flat_map(|story| &story.begun[..story.begun.len() - 1]).copied().collect();
    let all = blamed.len();
    blamed.sort_unstable();
    blamed.dedup();
    assert_eq!(blamed.len(), all);
    assert!(blamed.iter().all(|pid| killed.contains(pid)), "{blamed:?}");
    assert!(all > KILLS / 10, "the storm hardly touched anything: {all}");
    assert!(noted.pool.stats().restarts >= KILLS as u64 / 2, "{:?}", noted.pool.stats());
    noted.pool.close().blocking();
    drop(noted);
    nothing_is_left(before);
}

// covers 135, 138, 139; pains 1, 2
#[procession::test]
fn without_retries_exactly_what_was_running_fails() {
    let _alone = alone();
    let before = before();
    let noted = Noted::new("no-retries");
    let (outcomes, killed) = outcomes_in_a_storm(&noted.pool, TASKS, libc::SIGKILL, KILLS, |map| map);
    assert_eq!((outcomes.len(), killed.len()), (TASKS as usize, KILLS));
    let mut stories = noted.stories();
    let mut blamed = BTreeSet::new();
    for (x, outcome) in (0..).zip(outcomes) {
        let story = stories.remove(&x).unwrap_or_default();
        match outcome {
            Ok(square) => {
                assert_eq!(square, x * x);
                // Begun once, by the one that ended it.
                assert_eq!((story.begun.len(), &story.begun), (1, &story.ended), "{x}");
            }
            Err(error) => {
                assert_eq!((error.index, error.attempts), (x as usize, 1));
                let Failure::Died(report) = &error.failure else { panic!("{error}") };
                assert_eq!(report.outcome, Outcome::Signalled { signal: libc::SIGKILL, core: false });
                assert!(killed.contains(&report.pid) && error.to_string().contains("SIGKILL"), "{error}");
                // At most one for each death, and nobody else had it.
                assert!(blamed.insert(report.pid), "{error}");
                assert!(story.begun.iter().all(|pid| *pid == report.pid) && story.begun.len() <= 1, "{:?} {error}", story.begun);
            }
        }
    }
    assert!(blamed.len() > KILLS / 10, "the storm hardly touched anything: {}", blamed.len());
    let stats = noted.pool.stats();
    assert_eq!((stats.done, stats.failed), (TASKS - blamed.len() as u64, blamed.len() as u64));
    noted.pool.close().blocking();
    drop(noted);
    nothing_is_left(before);
}

// A worker that was stopped has not died and says nothing: its task's time runs out.
#[procession::test]
fn whoever_is_stopped_is_killed_when_its_task_is_late() {
    const STOPS: usize = 30;
    let _alone = alone();
    let before = before();
    let noted = Noted::new("stops");
    let timeout = Duration::from_millis(400);
    let (outcomes, stopped) = outcomes_in_a_storm(&noted.pool, TASKS / 5, libc::SIGSTOP, STOPS, |map| map.timeout(timeout));
    assert_eq!((outcomes.len(), stopped.len()), (TASKS as usize / 5, STOPS));
    let mut blamed = BTreeSet::new();
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(square) => assert_eq!(square, x * x),
            Err(error) => {
                assert!(error.is_timeout() && error.index == x as usize, "{error}");
                let report = error.report().expect("it could not stop when asked");
                assert_eq!(report.outcome, Outcome::Killed { signal: libc::SIGKILL, reason: KillReason::TaskEscalated });
                assert!(stopped.contains(&report.pid) && blamed.insert(report.pid), "{error}");
            }
        }
    }
    assert!(blamed.len() > STOPS / 4, "the storm hardly touched anything: {}", blamed.len());
    noted.pool.terminate().blocking();
    drop(noted);
    nothing_is_left(before);
}
