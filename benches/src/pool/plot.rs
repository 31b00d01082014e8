//! Tasks in a second by their length, as tab-separated columns: what two busy cores would do, the pool, and Python's two with the best
//! of some chunk sizes.

use std::time::Instant;

use super::compare::{Sides, each};
use super::spin::{self, Length};
use super::work::Toil;
use super::{Bench, WORKERS, warm};
use crate::python::{Kind, Order};

const MICROS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];
/// How long a round takes where nothing but the tasks does.
const SECONDS: f64 = 0.4;
const CHUNKS: &[usize] = &[1, 4, 16, 64, 256, 1_024, 4_096, 16_384];

/// Prints the columns.
pub fn print(bench: &Bench) {
    println!("micros\ttwo cores\tprocession\tPool\tProcessPoolExecutor");
    for &micros in MICROS {
        let cell = |seconds: Option<f64>| seconds.map_or_else(|| "-".into(), |seconds| format!("{:.1}", 1.0 / seconds));
        let figures = point(bench, micros);
        let columns = [Some(micros * 1e-6 / WORKERS as f64), Some(figures.procession), figures.pool, figures.executor].map(cell);
        println!("{micros}\t{}", columns.join("\t"));
    }
}

fn point(bench: &Bench, micros: f64) -> super::compare::Figures {
    let seconds = if bench.quick { SECONDS / 10.0 } else { SECONDS };
    let tasks = (seconds * WORKERS as f64 * 1e6 / micros) as usize;
    let pool = warm(WORKERS);
    let rounds = Length::Micros(micros).rounds(1, spin::rounds_of_a_microsecond())[0];
    let procession = || {
        let begin = Instant::now();
        let done = pool.map(Toil, std::iter::repeat_n(rounds, tasks)).blocking().expect("the tasks");
        let total = begin.elapsed();
        assert_eq!(done.len(), tasks);
        each(total, tasks)
    };
    let word = Length::Micros(micros).word();
    let order = Order { case: "spin", tasks, chunk: 1, length: &word };
    let python = [Kind::Pool, Kind::Executor].map(|kind| {
        let (least, most) = ((200.0 / micros) as usize, tasks / (2 * WORKERS));
        let chunks: Vec<usize> =
            CHUNKS.iter().copied().filter(|&chunk| chunk == 1 && least <= 1 || (least.max(2)..=most).contains(&chunk)).collect();
        Some(Order { chunk: bench.python.best_chunk(kind, Order { tasks: (tasks / 4).max(16), ..order }, &chunks), ..order })
    });
    Sides { floor: None, python, procession: Box::new(procession) }.measure(bench, 3)
}
