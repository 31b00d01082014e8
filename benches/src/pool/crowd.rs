//! Many more workers than cores. It stands on a pool of two.

use std::time::Instant;

use procession::Pool;

use super::compare::{Comparison, Must, Sides, Unit, each};
use super::work::Square;
use super::{Bench, WORKERS, warm};

const CROWD: usize = 64;
const TASKS: usize = 1_000_000;

pub fn measure(bench: &Bench) -> Vec<Comparison> {
    let (few, many) = (warm(WORKERS), warm(CROWD));
    let sides = Sides { floor: Some(Box::new(|| squares(&few))), python: [None; 2], procession: Box::new(|| squares(&many)) };
    let must = Must { words: "within 20 % of the two (0.8x)", floor: 0.8, ..Must::default() };
    let figures = sides.measure(bench, 9);
    many.close().blocking();
    vec![Comparison { case: "map of x^2 by 64 workers; floor: by two", unit: Unit::Rate, figures, must }]
}

fn squares(pool: &Pool) -> f64 {
    let begin = Instant::now();
    let squares = pool.map(Square, 0..TASKS as i64).blocking().expect("the squares");
    let total = begin.elapsed();
    assert_eq!(squares.len(), TASKS);
    each(total, TASKS)
}
