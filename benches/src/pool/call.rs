//! One call at a time, on one core and on two. It stands on an `ask`, placed the same.

use std::time::Instant;

use procession::{ActorRef, Pool};

use super::compare::{Comparison, Must, Sides, Unit, each};
use super::work::{Moved, Particle};
use super::{Bench, WORKERS, warm};
use crate::actors::{Point, SyncWorker, Work};
use crate::cases::placed;
use crate::place::{self, Sides as Placement};
use crate::python::Order;

const COUNT: usize = 3_000;

pub fn measure(bench: &Bench) -> Vec<Comparison> {
    let pool = warm(WORKERS);
    let actor = SyncWorker::spawn().blocking().expect("a spawn");
    let names = [(Placement::OneCore, "call, one at a time, on one core"), (Placement::TwoCores, "call, one at a time, on two cores")];
    names.map(|(placement, case)| row(bench, &pool, &actor, placement, case)).into()
}

fn row(bench: &Bench, pool: &Pool, actor: &ActorRef<Work>, placement: Placement, case: &'static str) -> Comparison {
    let cores = place::cores();
    let (near, far) = placement.of(&cores);
    pool.pids().into_iter().for_each(|pid| place::pin_process(pid, &[far]));
    bench.python.pin(&[near], &[far]);
    let order = Order { case: "call", tasks: COUNT, chunk: 1, length: "" };
    let sides = Sides {
        floor: Some(Box::new(|| ask(actor, placement))),
        python: [Some(order); 2],
        procession: Box::new(|| {
            // This process as for the ask; the workers stay where they are.
            let _placed = placed(actor, placement);
            call(pool)
        }),
    };
    let must = Must { words: "an ask and 20 % (0.83x)", floor: 1.0 / 1.2, ..Must::default() };
    let figures = sides.measure(bench, 9);
    bench.python.pin(&cores, &cores);
    Comparison { case, unit: Unit::Time, figures, must }
}

fn call(pool: &Pool) -> f64 {
    let call = |count: usize| {
        for id in 0..count as u64 {
            let particle = pool.call(Moved, Particle::new(id)).blocking().expect("a result");
            assert_eq!(particle.id, id);
        }
    };
    call(COUNT / 10);
    let begin = Instant::now();
    call(COUNT);
    each(begin.elapsed(), COUNT)
}

fn ask(actor: &ActorRef<Work>, placement: Placement) -> f64 {
    let _placed = placed(actor, placement);
    let ask = |count: usize| {
        for number in 0..count as u64 {
            let point = Point { x: number, y: 0 };
            let reply = actor.ask(move |reply| Work::Echo(point, reply)).blocking().expect("a reply");
            assert_eq!(reply.x, number);
        }
    };
    ask(COUNT / 10);
    let begin = Instant::now();
    ask(COUNT);
    each(begin.elapsed(), COUNT)
}
