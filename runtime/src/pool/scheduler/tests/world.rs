//! A world of workers with shared pages, and what has become of each task in it.

mod rules;

use super::super::*;

/// Encoded arguments: the tasks' numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Indices(pub(super) Vec<usize>);

impl Bundle for Indices {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn head(&mut self, count: usize) -> Indices {
        assert!(0 < count && count < self.0.len());
        let rest = self.0.split_off(count);
        Indices(std::mem::replace(&mut self.0, rest))
    }

    fn tail(&mut self, keep: usize) -> Indices {
        Indices(self.0.split_off(keep))
    }

    fn again(&mut self, place: usize) -> Indices {
        Indices(vec![self.0[place]])
    }

    fn join(&mut self, mut next: Indices) -> Result<(), Indices> {
        // Some cannot be joined.
        if next.0[0].is_multiple_of(7) {
            return Err(next);
        }
        self.0.append(&mut next.0);
        Ok(())
    }
}

/// A batch in a worker's page.
#[derive(Debug)]
pub(super) struct Held {
    number: u64,
    job: u64,
    tasks: Vec<usize>,
    stride: usize,
    timeout: Option<u64>,
    /// Tasks from the front that have not been taken back.
    end: usize,
    claimed: usize,
    done: usize,
    since: u64,
    started: bool,
    finished: bool,
    /// The place that was asked to stop in time, when, and whether the pool has killed for it.
    stopped: Option<(usize, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Process {
    born: bool,
    killed: bool,
    released: bool,
    parked: usize,
    /// Tasks of batches that are done.
    ran: usize,
    lane: Vec<Held>,
    /// Ends of batches that the pool has not read.
    outbox: VecDeque<u64>,
}

impl Process {
    pub(super) fn is_parked(&self) -> bool {
        self.parked > 0
    }

    /// Its death is to follow.
    pub(super) fn is_doomed(&self) -> bool {
        self.killed || self.released
    }

    fn running(&self) -> Vec<usize> {
        (0..self.lane.len()).filter(|&place| self.lane[place].started && !self.lane[place].finished).collect()
    }

    fn held(&mut self, number: u64) -> &mut Held {
        self.lane.iter_mut().find(|held| held.number == number).expect("a step for a batch that is gone")
    }
}

/// What is known of a task.
#[derive(Debug, Default)]
pub(super) struct Task {
    begun: u32,
    failed: u32,
    ended: bool,
    /// It was cancelled while it ran.
    unwanted: bool,
}

#[derive(Debug)]
pub(super) struct Order {
    pub(super) terms: Terms,
    pub(super) tasks: Vec<Task>,
    pub(super) supplied: usize,
    /// Bundles that came back.
    returned: usize,
}

pub(super) struct World {
    pub(super) scheduler: Scheduler<Indices>,
    pub(super) processes: BTreeMap<u64, Process>,
    pub(super) orders: BTreeMap<u64, Order>,
    pub(super) now: u64,
    pub(super) given_up: bool,
    timer: Option<u64>,
    /// Who does what between two steps.
    meddling: Vec<u8>,
    meddled: usize,
    changes: usize,
}

/// How far a worker has come with a batch, as the pool sees it.
fn look(processes: &BTreeMap<u64, Process>, many: bool, id: u64, batch: &Batch<Indices>) -> Progress {
    let held = processes[&id].lane.iter().find(|held| held.number == batch.number);
    let held = held.expect("a batch that the worker does not have");
    Progress { claimed: held.claimed, done: if many { 0 } else { held.done }, since: held.since }
}

impl World {
    pub(super) fn new(settings: Settings, meddling: Vec<u8>) -> World {
        World {
            scheduler: Scheduler::new(settings),
            processes: BTreeMap::new(),
            orders: BTreeMap::new(),
            now: 1,
            given_up: false,
            timer: None,
            meddling,
            meddled: 0,
            changes: 0,
        }
    }

    fn many(&self) -> bool {
        self.scheduler.settings.lane > 2
    }

    fn nth(&self, nth: usize) -> Option<u64> {
        self.processes.keys().nth(nth % self.processes.len().max(1)).copied()
    }

    pub(super) fn open(&mut self, job: u64, count: usize, terms: Terms) {
        let terms = if self.many() { Terms { cap: 1, chunk: Some(1), ..terms } } else { terms };
        let tasks = (0..count).map(|_| Task::default()).collect();
        self.orders.insert(job, Order { terms: terms.clone(), tasks, supplied: 0, returned: 0 });
        self.scheduler.open(job, terms);
    }

    /// The job's owner supplies what is wanted.
    pub(super) fn feed(&mut self, job: u64) {
        let Some(order) = self.orders.get_mut(&job) else { return };
        while order.supplied < order.tasks.len()
            && let Some(most) = self.scheduler.hunger(job)
        {
            assert!(most > 0 && most <= order.terms.cap);
            let bundles = self.scheduler.jobs[&job].bundles();
            let Settings { most: workers, lane, .. } = self.scheduler.settings;
            assert!(bundles < (workers * lane).min(256) + order.returned, "{bundles} bundles wait");
            let start = order.supplied;
            order.supplied = (start + most).min(order.tasks.len());
            let following = order.tasks.len() - order.supplied;
            self.scheduler.supply(job, start, Indices((start..order.supplied).collect()), following);
        }
    }

    /// Does what the scheduler says until it says nothing, while others go on; false where it says nothing at all.
    pub(super) fn settle(&mut self) -> bool {
        self.scheduler.pass(self.now);
        let mut steps = 0;
        while let Some(step) = self.scheduler.next() {
            steps += 1;
            assert!(steps < 20_000, "it never rests: {step:?}");
            self.meddle(step.worker());
            self.obey(step);
            self.meddle(step.worker());
        }
        if let Some(alarm) = self.scheduler.alarm() {
            self.timer = Some(self.timer.map_or(alarm, |timer| timer.min(alarm)));
        }
        self.check();
        steps > 0
    }

    /// This worker or another works.
    fn meddle(&mut self, worker: u64) {
        self.meddled += 1;
        let meddler = usize::from(self.meddling[self.meddled % self.meddling.len()]);
        let who = if meddler.is_multiple_of(3) { Some(worker) } else { self.nth(meddler) };
        if let (0..128, Some(id)) = (meddler, who) {
            (0..meddler / 16 % 4 + 1).for_each(|time| _ = self.work(id, meddler / 8 + time));
        }
    }

    pub(super) fn born(&mut self, id: u64) -> bool {
        let process = self.processes.get_mut(&id).filter(|process| !process.born && !process.released);
        let Some(process) = process else { return false };
        process.born = true;
        self.scheduler.born(id);
        true
    }

    /// The process does one thing; false where there is none to do.
    pub(super) fn work(&mut self, id: u64, choice: usize) -> bool {
        let (abreast, now) = (self.scheduler.settings.lane / 2, self.now);
        let Some(process) = self.processes.get_mut(&id) else { return false };
        let running = process.running();
        let next = process.lane.iter().position(|held| !held.started).filter(|_| running.len() < abreast);
        let place = match (next, running.len()) {
            (Some(next), others) if others == 0 || choice.is_multiple_of(2) => next,
            (_, 0) => return false,
            (_, others) => running[choice / 2 % others],
        };
        let held = &mut process.lane[place];
        held.started = true;
        let before = held.done;
        if held.done < held.claimed {
            held.done += 1;
        } else {
            held.claimed = (held.claimed + held.stride).min(held.end);
        }
        if held.done < held.claimed {
            held.since = now;
            let (job, index) = (held.job, held.tasks[held.done]);
            assert!(held.stopped.is_none(), "something was begun behind what was stopped");
            if let Some(order) = self.orders.get_mut(&job) {
                let task = &mut order.tasks[index];
                task.begun += 1;
                assert!(!task.ended && !task.unwanted && task.begun == task.failed + 1, "task {index} of {job} is begun: {task:?}");
                assert!(task.begun <= order.terms.retries + 1);
            }
        } else if held.done == before {
            held.finished = true;
            process.outbox.push_back(held.number);
        }
        true
    }

    /// The pool reads that a batch is done.
    pub(super) fn hear(&mut self, id: u64, nanos: u64, resident: u64) -> bool {
        let Some(process) = self.processes.get_mut(&id) else { return false };
        let Some(number) = process.outbox.pop_front() else { return false };
        let place = process.lane.iter().position(|held| held.number == number).unwrap();
        let held = process.lane.remove(place);
        process.ran += held.end;
        let fate = self.scheduler.finished(id, number, nanos, resident).expect("a batch that the scheduler does not know");
        assert_eq!(fate.done, held.end);
        assert_eq!(fate.late, held.stopped.map(|(place, _)| place));
        self.account(&fate, fate.late);
        true
    }

    /// The process dies, and the pool learns of it after it has read what it said.
    pub(super) fn die(&mut self, id: u64) {
        while self.hear(id, 1000, 0) {}
        let many = self.many();
        let processes = &self.processes;
        let fates = self.scheduler.died(id, |batch| look(processes, many, id, batch));
        let process = self.processes.remove(&id).unwrap();
        assert_eq!(fates.len(), process.lane.len());
        for (fate, held) in fates.iter().zip(&process.lane) {
            assert_eq!((fate.batch.number, fate.batch.job), (held.number, held.job));
            assert_eq!(fate.done, if many { 0 } else { held.done });
            if let Some(ending) = fate.ending {
                let place = ending.index - fate.batch.start;
                let running = if many { held.claimed > 0 } else { held.claimed > held.done && place == held.done };
                match held.stopped {
                    Some((stopped, _)) => assert_eq!(place, stopped, "another than the stopped task is the culprit"),
                    None => assert!(running && ending.cause.is_none(), "a task that was not running has failed"),
                }
            }
            if !many && let Some((place, _)) = held.stopped {
                assert!(held.claimed == place + 1 && held.done <= place + 1);
            }
            let culprit = held.stopped.map(|(place, _)| place).or((held.claimed > fate.done).then_some(fate.done));
            assert_eq!(fate.late, held.stopped.map(|(place, _)| place).filter(|&place| place < fate.done));
            self.account(fate, culprit);
        }
        if let Some(why) = self.scheduler.given_up() {
            let busy = |process: &Process| process.born && !process.killed && process.parked == 0 && !process.lane.is_empty();
            if matches!(why, GivenUp::Strikes(_)) {
                assert!(!self.processes.values().any(busy), "given up with tasks at work");
            }
            self.given_up = true;
            self.scheduler.end();
            assert_eq!((self.scheduler.next(), self.scheduler.alarm()), (None, None));
        }
    }

    /// Takes down what became of a batch's tasks, and which of them has failed.
    fn account(&mut self, fate: &Fate<Indices>, culprit: Option<usize>) {
        let Some(order) = self.orders.get_mut(&fate.batch.job) else {
            assert!(fate.ending.is_none());
            return;
        };
        order.returned += 2;
        for place in (0..fate.done).filter(|place| fate.late != Some(*place)) {
            let task = &mut order.tasks[fate.batch.start + place];
            assert!(!task.ended && task.begun == task.failed + 1);
            task.ended = true;
        }
        let Some(place) = culprit else { return assert!(fate.ending.is_none(), "nothing was running and something failed") };
        let task = &mut order.tasks[fate.batch.start + place];
        task.failed += 1;
        assert!(!task.ended && task.begun == task.failed, "a task failed that was not begun");
        match fate.ending {
            Some(ending) => {
                assert_eq!((ending.job, ending.index, ending.attempts), (fate.batch.job, fate.batch.start + place, task.failed));
                let last = ending.attempts == order.terms.retries + 1;
                assert!(last || ending.cause == Some(Cause::Cancelled) && task.unwanted);
                task.ended = true;
            }
            None => assert!(task.failed <= order.terms.retries && !task.unwanted),
        }
    }

    /// Time passes.
    pub(super) fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        self.scheduler.pass(self.now);
    }

    /// The timer rings, if it is to.
    pub(super) fn ring(&mut self) {
        if self.timer.is_none_or(|timer| timer > self.now) {
            return;
        }
        self.timer = None;
        let (processes, many) = (&self.processes, self.many());
        self.scheduler.tick(self.now, |id, batch| look(processes, many, id, batch));
    }

    pub(super) fn timer(&self) -> Option<u64> {
        self.timer
    }

    pub(super) fn cancel(&mut self, job: u64, index: usize, stop: bool) {
        let found = self.scheduler.find(job, index);
        if let Some((worker, number, _)) = found {
            let held = self.processes.get_mut(&worker).unwrap().held(number);
            let taken = held.end - held.claimed;
            held.end = held.claimed;
            if taken > 0 {
                self.took_back(worker, number, taken);
            }
        }
        let many = self.many();
        let Some(order) = self.orders.get_mut(&job) else { return };
        if self.scheduler.take_out(job, index) {
            order.returned += 1;
            assert!(!order.tasks[index].ended);
            order.tasks[index].ended = true;
        } else if let (true, Some((worker, number, place))) = (stop, found) {
            let batch = self.scheduler.batch(worker, number).unwrap();
            let progress = look(&self.processes, many, worker, batch);
            if progress.done == place && progress.claimed > place {
                order.tasks[index].unwanted |= batch.stride == 1;
                self.scheduler.stop(worker, number, place, Cause::Cancelled);
            }
        }
    }

    pub(super) fn retire(&mut self, job: u64) {
        self.orders.remove(&job);
        self.scheduler.retire(job);
    }

    pub(super) fn park(&mut self, id: u64) {
        let taken = self.processes.values().filter(|process| process.parked > 0).count();
        let Some(process) = self.processes.get_mut(&id).filter(|process| !process.running().is_empty()) else { return };
        assert_eq!(self.scheduler.park(id), process.parked > 0 || taken < PARKED);
        process.parked += 1;
    }

    pub(super) fn unpark(&mut self, id: u64) {
        if let Some(process) = self.processes.get_mut(&id).filter(|process| process.parked > 0) {
            process.parked -= 1;
            self.scheduler.unpark(id);
        }
    }

    /// Tasks that have been supplied and have not ended.
    pub(super) fn left(&self) -> usize {
        self.orders.values().map(|order| order.tasks.iter().filter(|task| !task.ended).count()).sum()
    }
}
