//! Random schedules: whatever happens in whatever order, each task ends once, and all of them end.

use proptest::prelude::*;

use super::super::*;
use super::MS;
use super::world::World;

#[derive(Clone, Debug)]
enum Event {
    Open(usize, Terms),
    Feed(u8),
    Born(usize),
    Work(usize, usize, usize),
    Hear(usize, u64, u64),
    Die(usize),
    Pass(u64),
    Cancel(u8, usize, bool),
    Retire(u8),
    Park(usize),
    Unpark(usize),
    Resize(usize),
}

fn terms() -> impl Strategy<Value = Terms> {
    let chunk = prop_oneof![4 => Just(None), 1 => (1..40_usize).prop_map(Some)];
    let cap = prop_oneof![3 => Just(MOST), 1 => 1..20_usize];
    let timeout = prop_oneof![1 => Just(None), 1 => prop_oneof![1..5 * MS, 1..50 * MS].prop_map(Some)];
    (chunk, cap, timeout, 0..3_u32).prop_map(|(chunk, cap, timeout, retries)| Terms { chunk, cap, timeout, retries })
}

fn settings() -> impl Strategy<Value = Settings> {
    let idle = proptest::option::weighted(0.3, 1..20 * MS);
    let tasks_per_worker = proptest::option::weighted(0.2, 1..30_u64);
    let memory = proptest::option::weighted(0.2, 50..100_u64);
    let restarts = proptest::option::weighted(0.1, (1..5_usize, MS..500 * MS));
    let lane = prop_oneof![4 => Just(2_usize), 1 => Just(6)];
    let numbers = (1..7_usize, prop_oneof![2 => Just(0_usize), 1 => 1..7_usize], 0..30 * MS);
    (numbers, idle, tasks_per_worker, memory, restarts, lane).prop_map(
        |((most, least, grace), idle, tasks_per_worker, memory, restarts, lane)| {
            let least = least.min(most);
            Settings { least, most, idle, tasks_per_worker, memory, restarts, grace, lane }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..16_usize;
    prop_oneof![
        3 => (0..300_usize, terms()).prop_map(|(count, terms)| Event::Open(count, terms)),
        10 => any::<u8>().prop_map(Event::Feed),
        12 => who().prop_map(Event::Born),
        60 => (who(), who(), 1..12_usize).prop_map(|(who, choice, times)| Event::Work(who, choice, times)),
        30 => (who(), 1..3 * MS, 0..100_u64).prop_map(|(who, nanos, resident)| Event::Hear(who, nanos, resident)),
        3 => who().prop_map(Event::Die),
        12 => prop_oneof![0..MS, 0..60 * MS].prop_map(Event::Pass),
        4 => (any::<u8>(), 0..300_usize, any::<bool>()).prop_map(|(job, index, stop)| Event::Cancel(job, index, stop)),
        1 => any::<u8>().prop_map(Event::Retire),
        2 => who().prop_map(Event::Park),
        2 => who().prop_map(Event::Unpark),
        1 => (1..8_usize).prop_map(Event::Resize),
    ]
}

fn happen(world: &mut World, event: Event, jobs: &mut u64) {
    let nth = |world: &World, nth: usize| world.processes.keys().nth(nth % world.processes.len().max(1)).copied();
    let job = |world: &World, nth: u8| world.orders.keys().nth(nth as usize % world.orders.len().max(1)).copied();
    // As the pool's driver does: these it takes in together, everything else with what follows from it.
    if !matches!(event, Event::Born(_) | Event::Work(..) | Event::Hear(..) | Event::Die(_) | Event::Pass(_)) {
        world.settle();
    }
    match event {
        Event::Open(count, terms) => {
            *jobs += 1;
            world.open(*jobs, count, terms);
            world.feed(*jobs);
        }
        Event::Feed(job) => world.feed(u64::from(job) % (*jobs + 1)),
        Event::Born(who) => nth(world, who).into_iter().for_each(|id| _ = world.born(id)),
        Event::Work(who, choice, times) => {
            let Some(id) = nth(world, who) else { return };
            (0..times).for_each(|time| _ = world.work(id, choice + time));
        }
        Event::Hear(who, nanos, resident) => {
            nth(world, who).into_iter().for_each(|id| _ = world.hear(id, nanos, resident));
        }
        Event::Die(who) => nth(world, who).into_iter().for_each(|id| world.die(id)),
        Event::Pass(nanos) => {
            world.pass(nanos);
            world.ring();
        }
        Event::Cancel(nth, index, stop) => {
            let Some(id) = job(world, nth) else { return };
            let order = &world.orders[&id];
            if index < order.supplied {
                world.cancel(id, index, stop);
            }
        }
        Event::Retire(nth) => job(world, nth).into_iter().for_each(|job| world.retire(job)),
        Event::Park(who) => nth(world, who).into_iter().for_each(|id| world.park(id)),
        Event::Unpark(who) => nth(world, who).into_iter().for_each(|id| world.unpark(id)),
        Event::Resize(most) => world.scheduler.resize(most),
    }
}

/// Everybody works on in peace.
fn rest(world: &mut World) {
    let ids = |world: &World| world.processes.keys().copied().collect::<Vec<_>>();
    world.settle();
    for round in 0.. {
        assert!(round < 200_000, "no progress: {:?}", world.scheduler);
        for job in world.orders.keys().copied().collect::<Vec<_>>() {
            world.feed(job);
        }
        let mut busy = false;
        for id in ids(world) {
            while world.processes.get(&id).is_some_and(|process| process.is_parked()) {
                world.unpark(id);
            }
            if world.processes[&id].is_doomed() {
                world.die(id);
                busy = true;
                continue;
            }
            busy |= world.born(id) | world.work(id, round) | world.hear(id, 1000, 0);
        }
        busy |= world.settle();
        if world.left() == 0 || world.given_up {
            return;
        }
        if !busy {
            // Only time can change anything.
            let timer = world.timer().expect("nothing goes on, and nothing is to happen");
            world.pass(timer.saturating_sub(world.now));
            world.ring();
            world.settle();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_task_ends_exactly_once(
        settings in settings(),
        meddling in proptest::collection::vec(any::<u8>(), 1..50),
        events in proptest::collection::vec((event(), 0..3_u8), 1..250),
    ) {
        let mut world = World::new(settings, meddling);
        let mut jobs = 0;
        world.settle();
        for (event, pause) in events {
            happen(&mut world, event, &mut jobs);
            if pause > 0 {
                world.settle();
            }
            if world.given_up {
                return Ok(());
            }
        }
        rest(&mut world);
        if !world.given_up {
            world.check_tasks();
        }
    }
}
