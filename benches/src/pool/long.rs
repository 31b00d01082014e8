//! Tasks that take their time: both cores should be busy with them, and with nothing else, to the end.

use std::time::Instant;

use super::compare::{Comparison, Must, Sides, Unit, each};
use super::spin::{self, Length};
use super::work::Toil;
use super::{Bench, WORKERS, warm};
use crate::python::{Kind, Order};

pub const SHORT: (usize, Length) = (1_000, Length::Micros(1_000.0));
pub const MIDDLE: (usize, Length) = (200, Length::Micros(10_000.0));
pub const MIXED: (usize, Length) = (300, Length::Mixed);

pub fn measure(bench: &Bench) -> Vec<Comparison> {
    vec![
        row(bench, SHORT, "pool short", "1,000 tasks of 1 ms"),
        row(bench, MIDDLE, "pool middle", "200 tasks of 10 ms"),
        row(bench, MIXED, "pool mixed", "300 tasks of 0.1 to 100 ms"),
    ]
}

fn row(bench: &Bench, (tasks, length): (usize, Length), floor: &str, case: &'static str) -> Comparison {
    let pool = warm(WORKERS);
    let rounds = length.rounds(tasks, spin::rounds_of_a_microsecond());
    let procession = || {
        let begin = Instant::now();
        let done = pool.map(Toil, rounds.iter().copied()).blocking().expect("the tasks");
        let total = begin.elapsed();
        assert_eq!(done.len(), tasks);
        each(total, tasks)
    };
    let word = length.word();
    let order = Order { case: "spin", tasks, chunk: 1, length: &word };
    let python = [Kind::Pool, Kind::Executor].map(|kind| {
        let tried = Order { tasks: tasks / 4, ..order };
        let chunk = if matches!(length, Length::Mixed) { 1 } else { bench.python.best_chunk(kind, tried, &[1, 4, 16]) };
        Some(Order { chunk, ..order })
    });
    let sides = Sides { floor: Some(Box::new(|| bench.floors.seconds(floor))), python, procession: Box::new(procession) };
    let must = Must { words: "97 % of two busy cores (0.97x)", floor: 0.97, ..Must::default() };
    Comparison { case, unit: Unit::Time, figures: sides.measure(bench, 5), must }
}
