//! Python's own pools, measured by `python/pool.py`, which runs as a child: one line asks, one line answers.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Which of Python's two pools.
#[derive(Clone, Copy)]
pub enum Kind {
    Pool,
    Executor,
}

/// One order: what is to be measured. The answer is the time of one task.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub case: &'a str,
    pub tasks: usize,
    pub chunk: usize,
    pub length: &'a str,
}

/// The child; or none, where there is no Python.
pub struct Python(Option<RefCell<Running>>);

struct Running {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Nobody to ask.
    pub fn none() -> Python {
        Python(None)
    }

    /// Starts it, if there is a `python3` to start.
    pub fn start() -> Python {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/pool.py");
        let mut command = Command::new("python3");
        let Ok(mut child) = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else { return Python(None) };
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else { return Python(None) };
        let running = Running { child, orders: Some(orders), answers: BufReader::new(answers) };
        Python(Some(RefCell::new(running)))
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn answer(&self, order: &str) -> Option<f64> {
        let mut running = self.0.as_ref()?.borrow_mut();
        writeln!(running.orders.as_mut()?, "{order}").expect("the script listens");
        let mut answer = String::new();
        running.answers.read_line(&mut answer).expect("the script answers");
        Some(answer.trim().parse().expect("the script answers with seconds"))
    }

    /// The seconds of one task.
    pub fn measure(&self, kind: Kind, order: Order<'_>) -> Option<f64> {
        let Order { case, tasks, chunk, length } = order;
        let kind = match kind {
            Kind::Pool => "pool",
            Kind::Executor => "executor",
        };
        Some(self.answer(&format!("{kind} {case} {tasks} {chunk} {length}"))? / tasks as f64)
    }

    /// Of these chunk sizes the one that is quickest.
    pub fn best_chunk(&self, kind: Kind, order: Order<'_>, chunks: &[usize]) -> usize {
        let measured = chunks.iter().map(|&chunk| (chunk, self.measure(kind, Order { chunk, ..order })));
        measured.min_by(|(_, one), (_, other)| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal)).map_or(1, |(chunk, _)| chunk)
    }

    /// Puts the process that calls and the workers of its pools on these cores.
    pub fn pin(&self, here: &[usize], there: &[usize]) {
        let list = |cores: &[usize]| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        self.answer(&format!("pin {} {}", list(here), list(there)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}
