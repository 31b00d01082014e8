//! 256 asks in flight from one task each, against windows of 256 written in batches by hand.

use std::time::{Duration, Instant};

use procession::ActorRef;

use super::{placed, runtime};
use crate::actors::{AsyncWorker, Point, Work};
use crate::floors::Floors;
use crate::place::Sides;
use crate::table::{Row, in_turns};

const TASKS: u32 = 256;
const EACH: u32 = 300;

pub fn measure(floors: &Floors) -> Vec<Row> {
    let actor = AsyncWorker::spawn().blocking().expect("a spawn");
    let must = "1 M/s and a quarter of the floor";
    let bytes = in_turns(7, || floors.time("pipelined bytes"), || in_flight(&actor));
    let values = in_turns(7, || floors.time("pipelined values"), || in_flight(&actor));
    vec![
        Row::rates("ask, 256 in flight; floor: raw bytes", bytes.0, bytes.1, must, 1e6, 0.25),
        Row::rates("ask, 256 in flight; floor: MessagePack", values.0, values.1, must, 1e6, 0.25),
    ]
}

fn in_flight(actor: &ActorRef<Work>) -> Duration {
    let _placed = placed(actor, Sides::TwoCores);
    runtime().block_on(async {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let actor = actor.clone();
                tokio::spawn(async move {
                    for number in 0..EACH {
                        let point = Point { x: task.into(), y: number.into() };
                        let reply = actor.ask(move |reply| Work::Echo(point, reply)).await.expect("a reply");
                        assert_eq!((reply.x, reply.y), (point.x, point.y));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a task");
        }
        begin.elapsed() / (TASKS * EACH)
    })
}
