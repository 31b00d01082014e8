//! An actor that waits for messages: its memory, and that nothing wakes it.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::actors::{AsyncWorker, Point, SyncWorker, Work};
use crate::floors::Floors;
use crate::table::Row;

const MIB: f64 = 1024.0 * 1024.0;

pub fn measure(floors: &Floors) -> Vec<Row> {
    let sync = SyncWorker::spawn().blocking().expect("a spawn");
    let other = AsyncWorker::spawn().blocking().expect("a spawn");
    for actor in [sync.reference(), other.reference()] {
        actor.ask(|reply| Work::Echo(Point { x: 1, y: 2 }, reply)).blocking().expect("a reply");
    }
    let floor = floors.number("idle") as f64 / MIB;
    // They have answered; a moment to fall asleep again, and then a second in which nothing may happen.
    thread::sleep(Duration::from_millis(100));
    let before = [switches(sync.pid()), switches(other.pid())];
    thread::sleep(Duration::from_secs(1));
    let after = [switches(sync.pid()), switches(other.pid())];
    let row = |case, pid, woken: u64| {
        let memory = proportional_memory(pid) as f64 / MIB;
        Row {
            case,
            floor: format!("{floor:.2} MiB"),
            procession: format!("{memory:.2} MiB"),
            ratio: memory / floor,
            must: "1.5 MiB, no wake-up in a second",
            reached: memory <= 1.5 && woken == 0,
        }
    };
    vec![row("an idle actor, sync", sync.pid(), after[0] - before[0]), row("an idle actor, async", other.pid(), after[1] - before[1])]
}

/// How often the threads of a process have gone to sleep so far: each wake-up adds one.
fn switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("status")).ok())
        .map(|status| field(&status, "voluntary_ctxt_switches:"))
        .sum()
}

/// The memory of a process, what it shares counted in parts; in bytes.
pub fn proportional_memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    field(&rollup, "Pss:") * 1024
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
