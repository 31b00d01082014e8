//! Tasks that take next to nothing: what is measured is the pool.

use std::time::Instant;

use super::compare::{Comparison, Must, Sides, Unit, each};
use super::work::{Moved, Particle, Square, TINY};
use super::{Bench, WORKERS, warm};
use crate::python::{Kind, Order};

const SINGLES: usize = 100_000;
const CHUNKS: &[usize] = &[1_000, 4_000, 16_000, 64_000, 250_000];

/// x² over two million integers, each side with the batches that suit it best.
pub fn map(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let procession = || {
        let begin = Instant::now();
        let squares = pool.map(Square, 0..TINY as i64).blocking().expect("the squares");
        let total = begin.elapsed();
        assert_eq!((squares.len(), squares.last().copied()), (TINY, Some((TINY as i64 - 1).pow(2))));
        each(total, TINY)
    };
    let order = Order { case: "square", tasks: TINY, chunk: 1, length: "" };
    let sides = Sides {
        floor: Some(Box::new(|| bench.floors.seconds("pool numbers"))),
        python: best(bench, order),
        procession: Box::new(procession),
    };
    let must = Must { words: "100 M/s, 20x Pool", rate: 100e6, pool: 20.0, ..Must::default() };
    vec![Comparison { case: "map of x^2 over 2 million i64", unit: Unit::Rate, figures: sides.measure(bench, 9), must }]
}

/// The same with a small struct, there and back.
pub fn particles(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let procession = || {
        let begin = Instant::now();
        let particles = pool.map(Moved, (0..TINY as u64).map(Particle::new)).blocking().expect("the particles");
        let total = begin.elapsed();
        assert_eq!((particles.len(), particles.last().map(|last| last.id)), (TINY, Some(TINY as u64 - 1)));
        each(total, TINY)
    };
    let order = Order { case: "particles", tasks: TINY / 10, chunk: 1, length: "" };
    let sides = Sides {
        floor: Some(Box::new(|| bench.floors.seconds("pool particles"))),
        python: best(bench, order),
        procession: Box::new(procession),
    };
    let must = Must { words: "12 M/s", rate: 12e6, ..Must::default() };
    vec![Comparison { case: "map of a small struct to another", unit: Unit::Rate, figures: sides.measure(bench, 9), must }]
}

/// Python's pools with the chunk size that suits each best.
fn best<'a>(bench: &Bench, order: Order<'a>) -> [Option<Order<'a>>; 2] {
    [Kind::Pool, Kind::Executor].map(|kind| {
        let tried = Order { tasks: order.tasks / 4, ..order };
        Some(Order { chunk: bench.python.best_chunk(kind, tried, CHUNKS), ..order })
    })
}

/// Workers take one task at a time.
pub fn chunk_of_one(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let procession = || {
        let begin = Instant::now();
        let squares = pool.map(Square, 0..SINGLES as i64).chunk(1).blocking().expect("the squares");
        let total = begin.elapsed();
        assert_eq!(squares.len(), SINGLES);
        each(total, SINGLES)
    };
    let order = Order { case: "square", tasks: SINGLES, chunk: 1, length: "" };
    let sides = Sides {
        floor: Some(Box::new(|| bench.floors.seconds("pool singles"))),
        python: [Some(order), Some(Order { tasks: SINGLES / 5, ..order })],
        procession: Box::new(procession),
    };
    let must = Must { words: "500 k/s, 12x Pool", rate: 500e3, pool: 12.0, ..Must::default() };
    vec![Comparison { case: "map of x^2 over 100,000, chunks of one", unit: Unit::Rate, figures: sides.measure(bench, 7), must }]
}

/// All are submitted, then all are waited for.
pub fn submit(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let procession = || {
        let begin = Instant::now();
        let submit = |x| pool.submit(Square, x).blocking().expect("a task");
        let tasks: Vec<_> = (0..SINGLES as i64).map(submit).collect();
        let squares: Vec<_> = tasks.into_iter().map(|task| task.blocking().expect("a square")).collect();
        let total = begin.elapsed();
        assert_eq!(squares.last().copied(), Some((SINGLES as i64 - 1).pow(2)));
        each(total, SINGLES)
    };
    let order = Order { case: "submit", tasks: SINGLES, chunk: 1, length: "" };
    let sides = Sides {
        floor: Some(Box::new(|| bench.floors.seconds("pool singles"))),
        python: [Some(order), Some(Order { tasks: SINGLES / 5, ..order })],
        procession: Box::new(procession),
    };
    let must = Must { words: "500 k/s, 25x Pool (apply_async)", rate: 500e3, pool: 25.0, ..Must::default() };
    vec![Comparison { case: "submit of 100,000, all in flight", unit: Unit::Rate, figures: sides.measure(bench, 7), must }]
}
