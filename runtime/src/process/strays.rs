//! Processes that actors started by other means than this library, and left behind.
//!
//! Every actor adopts its own orphans (it is a subreaper), so as long as it lives they stay below it. When it ends they all
//! become children of the nursery at once. A child that the nursery did not fork is therefore an orphan of a member that
//! has ended, and is ended too; its own children follow by the same rule.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// The children of this process, of all its threads.
fn children() -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        match fs::read_to_string(task?.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) => return scan(),
        }
    }
    Ok(found)
}

/// The same where the kernel keeps no list: every process whose parent this one is.
fn scan() -> io::Result<Vec<i32>> {
    let me = std::process::id();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let name = process?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // `pid (command) state parent ...`; the command may hold spaces and parentheses.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).and_then(|parent| parent.parse::<u32>().ok());
        if parent == Some(me) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Ends every child that `is_ours` does not know, and what they leave, until there is none.
pub(crate) fn end(mut is_ours: impl FnMut(i32) -> bool) {
    // Each round ends one level of a tree; a stray that forks faster than this is met again at the family's end.
    for _ in 0..64 {
        let Ok(children) = children() else { return };
        let strays: Vec<Pid> = children.into_iter().filter(|&pid| !is_ours(pid)).filter_map(Pid::from_raw).collect();
        if strays.is_empty() {
            return;
        }
        for &stray in &strays {
            let _ = kill_process(stray, Signal::KILL);
        }
        for stray in strays {
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(stray), WaitOptions::empty()));
        }
    }
}
