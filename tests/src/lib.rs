//! What the tests share: waiting for an event with a deadline, looking at processes from outside, and helper programs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails: far longer than it ever does.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `happened`; panics, with `what` was waited for, when it has not within the time.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < within, "within {within:?} it did not happen that {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// The state of a process as `ps` shows it; none where there is none.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Whether nothing of a process runs any more. A zombie whose adoptive parent is slow to reap it counts as gone.
pub fn is_gone(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// Waits until all of these are gone.
#[track_caller]
pub fn wait_gone(pids: &[u32], within: Duration) {
    wait_until(&format!("{pids:?} were gone"), within, || pids.iter().all(|&pid| is_gone(pid)));
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The children of a process, zombies included.
pub fn children(of: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| parent(pid) == Some(of)).collect()
}

/// The nursery of the family whose root is `root`.
pub fn nursery(root: u32) -> Option<u32> {
    // The thread's name: under the test harness it is not the process's first one.
    let is_nursery = |pid: &u32| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let mut names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        !is_gone(*pid) && names.any(|name| name.trim_end() == "nursery")
    };
    children(root).into_iter().find(is_nursery)
}

/// Sends a signal; false where there is no such process.
pub fn signal(pid: u32, signal: i32) -> bool {
    // SAFETY: kill takes two integers.
    unsafe { libc::kill(pid.cast_signed(), signal) == 0 }
}

/// A helper program: a family of its own, whose lines are read and which never outlives the test.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts one of this package's programs: `env!("CARGO_BIN_EXE_...")`.
    pub fn start(path: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(path);
        command.args(arguments);
        Program::run(command)
    }

    /// Starts a command whose standard output is to be read.
    pub fn run(mut command: Command) -> Program {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the helper program starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let (sender, lines) = channel();
        // It ends with the last process that holds the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Program { child, lines }
    }

    /// The next line.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the program says something more")
    }

    /// Lines until one is `last`, without it.
    #[track_caller]
    pub fn lines_until(&self, last: &str) -> Vec<String> {
        std::iter::repeat_with(|| self.line()).take_while(|line| line != last).collect()
    }

    /// Everything that comes until the last process of the family has closed its output.
    #[track_caller]
    pub fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("somebody still holds the program's output: {lines:?}"),
            }
        }
    }

    /// The pids that it prints, one a line, before `ready`.
    #[track_caller]
    pub fn pids(&self) -> Vec<u32> {
        self.lines_until("ready").iter().map(|line| line.parse().expect("a pid")).collect()
    }

    /// The root's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the root a signal.
    pub fn signal(&self, number: i32) {
        assert!(signal(self.pid(), number));
    }

    /// Waits for the root's end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of this process") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the program does not end");
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
