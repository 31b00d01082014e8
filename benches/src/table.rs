//! The table's rows, and the median that every figure in it is.

use std::fmt;
use std::time::Duration;

/// One row.
pub struct Row {
    pub case: &'static str,
    pub floor: String,
    pub procession: String,
    pub ratio: f64,
    pub must: &'static str,
    pub reached: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { case, floor, procession, ratio, must, reached } = self;
        let verdict = if *reached { "yes" } else { "no" };
        write!(f, "| {case:<44} | {floor:>14} | {procession:>14} | {ratio:>6.2} | {must:<34} | {verdict:<7} |")
    }
}

/// The line above the rows.
pub fn heading() -> String {
    let names =
        format!("| {:<44} | {:>14} | {:>14} | {:>6} | {:<34} | {:<7} |", "case", "floor", "procession", "ratio", "must reach", "reached");
    format!("{names}\n|{:-<46}|{:->16}|{:->16}|{:->8}|{:-<36}|{:-<9}|", "", ":", ":", ":", "", "")
}

impl Row {
    /// A row of times: less is better, and the ratio is how many floors it takes.
    pub fn times(case: &'static str, floor: Duration, procession: Duration, must: &'static str, most: f64) -> Row {
        let ratio = procession.as_secs_f64() / floor.as_secs_f64();
        Row { case, floor: time(floor), procession: time(procession), ratio, must, reached: ratio <= most }
    }

    /// A row of rates, given as the time of one: more is better, and the ratio is the part of the floor's rate that is reached.
    pub fn rates(case: &'static str, floor: Duration, procession: Duration, must: &'static str, least: f64, part: f64) -> Row {
        let ratio = floor.as_secs_f64() / procession.as_secs_f64();
        let reached = 1.0 / procession.as_secs_f64() >= least && ratio >= part;
        Row { case, floor: rate(floor), procession: rate(procession), ratio, must, reached }
    }
}

fn time(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    match nanos {
        ..1e4 => format!("{:.2} us", nanos / 1e3),
        ..1e6 => format!("{:.1} us", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

fn rate(each: Duration) -> String {
    format!("{:.2} M/s", 1e-6 / each.as_secs_f64())
}

/// The one in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Measures the two in turns: one round of each that does not count, then so many that do; the medians.
pub fn in_turns(rounds: usize, mut floor: impl FnMut() -> Duration, mut case: impl FnMut() -> Duration) -> (Duration, Duration) {
    floor();
    case();
    let (floors, cases) = (0..rounds).map(|_| (floor(), case())).unzip();
    (median(floors), median(cases))
}
