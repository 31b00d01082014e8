//! Large items: sent as bytes, or handed over as blobs.

use std::time::{Duration, Instant};

use procession::Blob;

use super::compare::{Comparison, Must, Sides, Unit, each};
use super::work::{BLOB, Echo, HandBack, Look};
use super::{Bench, WORKERS, warm};
use crate::python::{Kind, Order};

const ITEMS: usize = 200;
const BYTES: usize = 1 << 20;

/// 200 items of a mebibyte, there and back, as `Vec<u8>`.
pub fn echoed(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let items = items();
    let procession = || {
        let sent = items.clone();
        let begin = Instant::now();
        let back = pool.map(Echo, sent).blocking().expect("the items");
        let total = begin.elapsed();
        assert!(back == items);
        each(total, ITEMS)
    };
    let sides =
        Sides { floor: Some(Box::new(|| bench.floors.seconds("pool echoed"))), python: best(bench), procession: Box::new(procession) };
    let must = Must { words: "3x Pool", pool: 3.0, ..Must::default() };
    vec![Comparison { case: "200 items of 1 MiB, echoed", unit: Unit::Bytes(BYTES), figures: sides.measure(bench, 7), must }]
}

/// The same items as blobs that are there already.
pub fn handed_over(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let items: Vec<Blob> = items().iter().map(|item| Blob::new(item).expect("a blob")).collect();
    let procession = || {
        let sent = items.clone();
        let begin = Instant::now();
        let back = pool.map(HandBack, sent).blocking().expect("the blobs");
        let total = begin.elapsed();
        assert_eq!(back.last().map(|blob| blob[BYTES - 1]), Some((ITEMS - 1) as u8));
        each(total, ITEMS)
    };
    let sides =
        Sides { floor: Some(Box::new(|| bench.floors.seconds("pool echoed"))), python: best(bench), procession: Box::new(procession) };
    let must = Must { words: "50x Pool", pool: 50.0, ..Must::default() };
    vec![Comparison { case: "the same 200 MiB as blobs that are ready", unit: Unit::Bytes(BYTES), figures: sides.measure(bench, 7), must }]
}

fn items() -> Vec<Vec<u8>> {
    (0..ITEMS).map(|item| vec![item as u8; BYTES]).collect()
}

fn best(bench: &Bench) -> [Option<Order<'static>>; 2] {
    let order = Order { case: "bytes", tasks: ITEMS, chunk: 1, length: "" };
    [Kind::Pool, Kind::Executor].map(|kind| {
        let chunk = bench.python.best_chunk(kind, Order { tasks: ITEMS / 4, ..order }, &[1, 2, 4, 12]);
        Some(Order { chunk, ..order })
    })
}

/// 64 MiB out of a `Vec` made into a blob and handed over, again and again.
pub fn made(bench: &Bench) -> Vec<Comparison> {
    const TIMES: usize = 10;
    let pool = warm(WORKERS);
    let bytes = vec![7_u8; BLOB];
    let one = || {
        let blob = Blob::new(&bytes).expect("a blob");
        let pages = pool.call(Look, blob).blocking().expect("a look");
        assert_eq!(pages, BLOB / 4096);
    };
    // The first ones find no memory that was used before.
    (0..5).for_each(|_| one());
    let procession = || {
        let mut total = Duration::ZERO;
        for _ in 0..TIMES {
            let begin = Instant::now();
            one();
            total += begin.elapsed();
        }
        each(total, TIMES)
    };
    let sides =
        Sides { floor: Some(Box::new(|| bench.floors.seconds("pool copied"))), python: [None; 2], procession: Box::new(procession) };
    let must = Must { words: "5 GB/s", rate: 5e9 / BLOB as f64, ..Must::default() };
    let case = "blobs of 64 MiB made of a Vec; floor: memcpy";
    vec![Comparison { case, unit: Unit::Bytes(BLOB), figures: sides.measure(bench, 7), must }]
}
