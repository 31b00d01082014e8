//! Messages one way until the last is confirmed, against MessagePack in batches by hand.

use std::time::{Duration, Instant};

use procession::ActorRef;

use super::{placed, runtime};
use crate::actors::{AsyncWorker, Point, SyncWorker, Work};
use crate::floors::Floors;
use crate::place::Sides;
use crate::table::{Row, in_turns};

const COUNT: u32 = 500_000;

pub fn measure(floors: &Floors) -> Vec<Row> {
    let sync = SyncWorker::spawn().blocking().expect("a spawn");
    let other = AsyncWorker::spawn().blocking().expect("a spawn");
    let from_thread = in_turns(7, || floors.time("one way"), || from_thread(&sync));
    let from_task = in_turns(7, || floors.time("one way"), || from_task(&other));
    vec![
        Row::rates("tell, sync to sync", from_thread.0, from_thread.1, "5 M/s", 5e6, 0.0),
        Row::rates("tell, async to async", from_task.0, from_task.1, "5 M/s", 5e6, 0.0),
    ]
}

fn from_thread(actor: &ActorRef<Work>) -> Duration {
    let _placed = placed(actor, Sides::TwoCores);
    let before = actor.ask(Work::Total).blocking().expect("a reply");
    let begin = Instant::now();
    for number in 0..COUNT {
        actor.tell(Work::Add(Point { x: 1, y: number.into() })).blocking().expect("a message");
    }
    let after = actor.ask(Work::Total).blocking().expect("a reply");
    let total = begin.elapsed();
    assert_eq!(after - before, u64::from(COUNT));
    total.div_f64(COUNT.into())
}

fn from_task(actor: &ActorRef<Work>) -> Duration {
    let _placed = placed(actor, Sides::TwoCores);
    runtime().block_on(async {
        let before = actor.ask(Work::Total).await.expect("a reply");
        let begin = Instant::now();
        for number in 0..COUNT {
            actor.tell(Work::Add(Point { x: 1, y: number.into() })).await.expect("a message");
        }
        let after = actor.ask(Work::Total).await.expect("a reply");
        let total = begin.elapsed();
        assert_eq!(after - before, u64::from(COUNT));
        total.div_f64(COUNT.into())
    })
}
