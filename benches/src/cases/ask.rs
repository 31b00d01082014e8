//! One ask at a time, on one core and on two, against a blocking ping-pong placed the same.

use std::time::{Duration, Instant};

use procession::ActorRef;

use super::{placed, runtime};
use crate::actors::{AsyncWorker, Point, SyncWorker, Work};
use crate::floors::Floors;
use crate::place::Sides;
use crate::table::{Row, in_turns};

const COUNT: u32 = 2_000;
const ROUNDS: usize = 9;

pub fn measure(floors: &Floors) -> Vec<Row> {
    let sync = SyncWorker::spawn().blocking().expect("a spawn");
    let other = AsyncWorker::spawn().blocking().expect("a spawn");
    let mut rows = Vec::new();
    let sides = [
        (
            Sides::OneCore,
            "one core",
            ["ask on one core, sync to sync", "ask on one core, async to async"],
            ["at most 1.3x", "at most 2x"],
            [1.3, 2.0],
        ),
        (
            Sides::TwoCores,
            "two cores",
            ["ask on two cores, sync to sync", "ask on two cores, async to async"],
            ["at most 1.15x", "at most 1.15x"],
            [1.15, 1.15],
        ),
    ];
    for (sides, floor, names, must, most) in sides {
        let measured = in_turns(ROUNDS, || floors.time(floor), || from_thread(&sync, sides));
        rows.push(Row::times(names[0], measured.0, measured.1, must[0], most[0]));
        let measured = in_turns(ROUNDS, || floors.time(floor), || from_task(&other, sides));
        rows.push(Row::times(names[1], measured.0, measured.1, must[1], most[1]));
    }
    rows
}

fn from_thread(actor: &ActorRef<Work>, sides: Sides) -> Duration {
    let _placed = placed(actor, sides);
    let ask = |count: u32| {
        for number in 0..count {
            let point = Point { x: number.into(), y: 0 };
            let reply = actor.ask(move |reply| Work::Echo(point, reply)).blocking().expect("a reply");
            assert_eq!(reply.x, point.x);
        }
    };
    ask(COUNT / 10);
    let begin = Instant::now();
    ask(COUNT);
    begin.elapsed() / COUNT
}

fn from_task(actor: &ActorRef<Work>, sides: Sides) -> Duration {
    let _placed = placed(actor, sides);
    let actor = actor.clone();
    // In a task, where a server asks; the future that a runtime blocks on is woken by a system call more.
    let asking = async move {
        let ask = async |count: u32| {
            for number in 0..count {
                let point = Point { x: number.into(), y: 0 };
                let reply = actor.ask(move |reply| Work::Echo(point, reply)).await.expect("a reply");
                assert_eq!(reply.x, point.x);
            }
        };
        ask(COUNT / 10).await;
        let begin = Instant::now();
        ask(COUNT).await;
        begin.elapsed() / COUNT
    };
    runtime().block_on(async { tokio::spawn(asking).await.expect("the task ends") })
}
