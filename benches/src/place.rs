//! Which cores the processes run on. Floor and case get the same ones.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores this process may use.
pub fn cores() -> Vec<usize> {
    sched_getaffinity(None).map_or_else(|_| vec![0], |set| (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
}

/// Puts every thread of this process on these cores. Threads that are started later inherit their starter's.
pub fn pin(cores: &[usize]) {
    pin_tasks("/proc/self/task", cores);
}

/// The same with another process of this user.
pub fn pin_process(pid: u32, cores: &[usize]) {
    pin_tasks(&format!("/proc/{pid}/task"), cores);
}

fn pin_tasks(tasks: &str, cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
        let thread = task.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if thread.is_some() {
            let _ = sched_setaffinity(thread, &set);
        }
    }
}

/// Where the two sides of a conversation are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    OneCore,
    TwoCores,
}

impl Sides {
    /// The cores of the near and of the far side, out of those this process began with.
    pub fn of(self, cores: &[usize]) -> (usize, usize) {
        let near = cores.first().copied().unwrap_or(0);
        match self {
            Sides::OneCore => (near, near),
            Sides::TwoCores => (near, cores.last().copied().unwrap_or(near)),
        }
    }
}
