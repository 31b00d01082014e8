//! The pool's table: a figure for each side, and how many times as fast the pool is as the others.

use std::fmt;
use std::time::Duration;

use super::Bench;
use crate::python::{Kind, Order};

/// One side: measures one round and gives the seconds of one task.
pub type Side<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Those who are measured in turns.
pub struct Sides<'a> {
    pub floor: Option<Side<'a>>,
    /// For `multiprocessing.Pool`, and for `ProcessPoolExecutor`.
    pub python: [Option<Order<'a>>; 2],
    pub procession: Side<'a>,
}

impl Sides<'_> {
    /// One round of each that does not count, then those that do; the medians. Python is slow, and takes part in the first three.
    pub fn measure(mut self, bench: &Bench, rounds: usize) -> Figures {
        let rounds = if bench.quick { 1 } else { rounds };
        let mut all: [Vec<f64>; 4] = Default::default();
        for round in 0..=rounds {
            let python = |kind, order: Option<Order<'_>>| {
                let takes_part = round <= 3 && !(bench.quick && round == 0) && !bench.alone;
                order.filter(|_| takes_part).and_then(|order| bench.python.measure(kind, order))
            };
            let measured = [
                self.floor.as_mut().filter(|_| !bench.alone).map(|floor| floor()),
                python(Kind::Pool, self.python[0]),
                python(Kind::Executor, self.python[1]),
                Some((self.procession)()),
            ];
            if round > 0 {
                all.iter_mut().zip(measured).for_each(|(all, one)| all.extend(one));
            }
        }
        let [floor, pool, executor, procession] = all.map(median);
        Figures { floor, pool, executor, procession: procession.unwrap_or(f64::NAN) }
    }
}

fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// The seconds of one task.
pub struct Figures {
    pub floor: Option<f64>,
    pub pool: Option<f64>,
    pub executor: Option<f64>,
    pub procession: f64,
}

/// How a figure is shown.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Tasks in a second.
    Rate,
    /// The time of one.
    Time,
    /// Bytes in a second, of so many in one task.
    Bytes(usize),
}

impl Unit {
    fn show(self, seconds: f64) -> String {
        let rate = 1.0 / seconds;
        match self {
            Unit::Rate if rate >= 1e6 => format!("{:.1} M/s", rate / 1e6),
            Unit::Rate => format!("{:.1} k/s", rate / 1e3),
            Unit::Time if seconds < 1e-3 => format!("{:.1} us", seconds * 1e6),
            Unit::Time => format!("{:.2} ms", seconds * 1e3),
            Unit::Bytes(bytes) => format!("{:.2} GB/s", bytes as f64 * rate / 1e9),
        }
    }
}

/// What must be reached: so many tasks in a second, and so many times as fast as the others.
#[derive(Default)]
pub struct Must {
    pub words: &'static str,
    pub rate: f64,
    pub floor: f64,
    pub pool: f64,
}

/// One row.
pub struct Comparison {
    pub case: &'static str,
    pub unit: Unit,
    pub figures: Figures,
    pub must: Must,
}

impl Comparison {
    /// Whether it is reached. Where there is no Python, nothing is to be reached beside it.
    fn reached(&self) -> bool {
        let Figures { floor, pool, procession, .. } = self.figures;
        let beside = |other: Option<f64>, least: f64| other.is_none_or(|other| other / procession >= least);
        1.0 / procession >= self.must.rate && beside(floor, self.must.floor) && beside(pool, self.must.pool)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { case, unit, figures, must } = self;
        let Figures { floor, pool, executor, procession } = *figures;
        write!(f, "| {case:<46} | {:>10} ", unit.show(procession))?;
        for other in [floor, pool, executor] {
            match other {
                Some(other) => write!(f, "| {:>18} ", format!("{} ({})", unit.show(other), times(other / procession)))?,
                None => write!(f, "| {:>18} ", "")?,
            }
        }
        let verdict = match self.reached() {
            // Measured alone: nothing to judge by.
            _ if must.floor > 0.0 && floor.is_none() => "",
            true => "yes",
            false => "no",
        };
        write!(f, "| {:<40} | {verdict:<7} |", must.words)
    }
}

/// How many times as fast.
fn times(ratio: f64) -> String {
    match ratio {
        ..10.0 => format!("{ratio:.2}x"),
        ..100.0 => format!("{ratio:.1}x"),
        _ => format!("{ratio:.0}x"),
    }
}

/// The lines above the rows; they say whether there is a Python.
pub fn heading(bench: &Bench) -> String {
    let [pool, executor] = match bench.python.is_there() {
        true => ["Pool", "ProcessPoolExec."],
        false => ["no python3"; 2],
    };
    let line = format!(
        "| {:<46} | {:>10} | {:>18} | {pool:>18} | {executor:>18} | {:<40} | {:<7} |",
        "pool of two (how many times as fast as ..)", "procession", "floor", "must reach", "reached"
    );
    format!("{line}\n|{:-<48}|{:->12}|{:->20}|{:->20}|{:->20}|{:-<42}|{:-<9}|", "", ":", ":", ":", ":", "", "")
}

/// The seconds of one of so many tasks.
pub fn each(total: Duration, tasks: usize) -> f64 {
    total.as_secs_f64() / tasks as f64
}
