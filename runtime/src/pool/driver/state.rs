//! What a pool knows: its workers, its jobs, and who waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use super::crew::{Said, Worker, WorkerProcess};
use super::group::Groups;
use super::seat::Leader;
use super::{Seat, Shared, now};
use crate::exit::ExitReport;
use crate::pool::bundle::Encoded;
use crate::pool::error::{Failure, PoolError, TaskError};
use crate::pool::job::{Function, Job, Sink};
use crate::pool::part::{Body, Odd, Part, ends_at};
use crate::pool::scheduler::{Batch, Bundle, Cause, Ending, Fate, Progress, Scheduler, Settings, Terms};
use crate::pool::stats::Tally;
use crate::pool::worker::Verdict;
use crate::process::unfinished::Unfinished;

/// How often batches that take long are looked at, in nanoseconds.
const PEEK: u64 = 10_000_000;

/// A job, and how many of its tasks have not ended.
pub(super) struct Open {
    pub(super) job: Arc<Job>,
    pub(super) left: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) submitted: bool,
}

pub(crate) struct State {
    pub(super) scheduler: Scheduler<Encoded>,
    pub(super) workers: BTreeMap<u64, Worker>,
    pub(super) jobs: BTreeMap<u64, Open>,
    pub(super) groups: Groups,
    next_job: u64,
    next_seat: u64,
    /// A task of a caller's runtime waits on the doorbell.
    pub(super) reading: bool,
    /// A task of the library thread does.
    pub(super) standing_in: bool,
    /// The library thread will look whether somebody does.
    pub(super) expected: bool,
    /// The thread that waits on the doorbell.
    pub(super) leader: Option<Leader>,
    /// Those who wait and do not drive.
    pub(super) waiting: BTreeMap<u64, Waker>,
    pub(super) ended: Option<Arc<PoolError>>,
    pub(super) closed: bool,
    /// Processes that were started and have not died.
    pub(super) alive: usize,
    /// Who waits for all of them to be gone.
    pub(super) mourners: Vec<Waker>,
    pub(super) wakers: Vec<Waker>,
    /// The leader has to look what came: somebody else took it in.
    pub(super) recall: bool,
    /// When the timer rings.
    pub(super) alarm: Option<u64>,
    pub(super) tally: Tally,
    /// Keeps the pool while it drains without anybody's handle.
    pub(super) keep: Option<(Arc<Shared>, Unfinished)>,
}

/// What collecting a batch's results takes to know of it.
pub(super) struct Share {
    job: u64,
    number: u64,
    start: usize,
    given: Option<Encoded>,
    /// The batch is over.
    last: bool,
}

impl Share {
    fn of(batch: &Batch<Encoded>, jobs: &BTreeMap<u64, Open>, last: bool) -> Share {
        let keeps = jobs.get(&batch.job).is_some_and(|open| open.job.keeps);
        Share { job: batch.job, number: batch.number, start: batch.start, given: keeps.then(|| batch.bundle.clone()), last }
    }
}

/// A worker, as its pool's users may see it.
pub(crate) struct Account {
    pub(crate) pid: u32,
    pub(crate) tasks: u64,
    pub(crate) busy: bool,
    pub(crate) parked: bool,
}

/// The pool's figures at one moment.
pub(crate) struct Sketch {
    pub(crate) waiting: usize,
    pub(crate) given: usize,
    pub(crate) restarts: u64,
    pub(crate) workers: usize,
    pub(crate) tally: Tally,
}

impl State {
    pub(super) fn new(settings: Settings) -> State {
        State {
            scheduler: Scheduler::new(settings),
            workers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            groups: Groups::default(),
            next_job: 1,
            next_seat: 1,
            reading: false,
            standing_in: false,
            expected: false,
            leader: None,
            waiting: BTreeMap::new(),
            ended: None,
            closed: false,
            alive: 0,
            mourners: Vec::new(),
            wakers: Vec::new(),
            recall: false,
            alarm: None,
            tally: Tally::new(now()),
            keep: None,
        }
    }

    /// Whether the pool takes jobs.
    pub(super) fn admit(&self) -> Result<(), Arc<PoolError>> {
        match &self.ended {
            Some(error) => Err(error.clone()),
            None if self.closed => Err(Arc::new(PoolError::Closed)),
            None => Ok(()),
        }
    }

    pub(super) fn open(&mut self, function: Function, terms: Terms, keeps: bool, sink: Sink) -> Arc<Job> {
        let id = self.next_job;
        self.next_job += 1;
        let submitted = matches!(sink, Sink::Tasks(_));
        let job = Arc::new(Job { id, function, keeps, sink });
        let timeout = terms.timeout.map(Duration::from_nanos);
        self.jobs.insert(id, Open { job: job.clone(), left: 0, timeout, submitted });
        self.scheduler.open(id, terms);
        job
    }

    pub(super) fn seat(&mut self, pool: &Weak<Shared>, job: u64, owner: bool) -> Seat {
        self.next_seat += 1;
        Seat::new(pool.upgrade(), self.next_seat, job, owner)
    }

    /// More of a job's tasks.
    pub(super) fn supply(&mut self, job: u64, start: usize, bundle: Encoded, following: usize) {
        let Some(open) = self.jobs.get_mut(&job) else { return };
        open.left += bundle.count();
        self.scheduler.supply(job, start, bundle, following);
    }

    pub(super) fn send(&mut self, id: u64, number: u64) {
        let (Some(batch), Some(worker)) = (self.scheduler.batch(id, number), self.workers.get_mut(&id)) else { return };
        let Some(open) = self.jobs.get(&batch.job) else { return };
        worker.send(batch, open.job.function.entry, open.job.function.plain);
    }

    /// Takes tasks of a batch back that nobody has begun; they wait again, if their job is still there.
    pub(super) fn take_back(&mut self, id: u64, number: u64, want: impl Fn(usize) -> usize) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let count = worker.page.slot(number).take_back(want);
        if count > 0 {
            self.scheduler.took_back(id, number, count);
        }
    }

    /// How far the worker has come with the batch.
    fn progress(workers: &BTreeMap<u64, Worker>, id: u64, batch: &Batch<Encoded>) -> Progress {
        workers.get(&id).map(|worker| worker.progress(batch.number, batch.count)).unwrap_or_default()
    }

    pub(super) fn tick(&mut self) {
        let workers = &self.workers;
        self.scheduler.tick(now(), |id, batch| State::progress(workers, id, batch));
    }

    /// When the timer has to ring, if that is earlier than it does.
    pub(super) fn next_alarm(&self) -> Option<u64> {
        // Somebody may wait for the first results of a batch that takes long.
        let peek = self.scheduler.has_large_batches().then(|| self.scheduler.now().saturating_add(PEEK));
        let next = self.scheduler.alarm().into_iter().chain(peek).min()?;
        self.alarm.is_none_or(|alarm| next < alarm).then_some(next)
    }

    /// Takes in what a worker said; an error where that is not the protocol.
    pub(super) fn understand(&mut self, id: u64, verdict: Option<Verdict>) -> Result<(), &'static str> {
        loop {
            let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
            match worker.hear()? {
                None => return Ok(()),
                Some(Said::Unfit(why)) => worker.unfit = Some(why),
                Some(Said::Ready(flags, value)) => match verdict.map_or(Ok(()), |verdict| verdict(flags, &value)) {
                    Ok(()) => self.scheduler.born(id),
                    Err(why) => {
                        worker.unfit = Some(why);
                        self.doom(id, WorkerProcess::kill);
                    }
                },
                Some(Said::Done { number, nanos, resident }) => {
                    let batch = self.scheduler.batch(id, number).ok_or("an unknown batch")?;
                    if worker.progress(number, batch.count).done != batch.count {
                        return Err("a batch that is not done");
                    }
                    worker.done += batch.count as u64;
                    self.tally.ran(batch.count, nanos);
                    let Some(fate) = self.scheduler.finished(id, number, nanos, resident) else { continue };
                    self.accept(id, &fate, None);
                    if let Some(worker) = self.workers.get_mut(&id) {
                        worker.batches.remove(&number);
                    }
                }
            }
        }
    }

    /// Takes in what became of a batch.
    fn accept(&mut self, id: u64, fate: &Fate<Encoded>, report: Option<&Arc<ExitReport>>) {
        self.collect(id, Share::of(&fate.batch, &self.jobs, true), fate.done, fate.late);
        if let Some(ending) = fate.ending {
            self.conclude(ending, report);
        }
    }

    /// What is there of batches that take long: with which workers, and how many results. Those that came by themselves may still be
    /// in the sockets.
    pub(super) fn peek(&self) -> Vec<(u64, Share, usize)> {
        let mut found = Vec::new();
        for (&id, worker) in self.workers.iter().filter(|(_, worker)| worker.process.is_some()) {
            for (&number, sent) in &worker.batches {
                let Some(batch) = self.scheduler.batch(id, number).filter(|batch| batch.bundle.count() > 1) else { continue };
                let progress = worker.progress(number, batch.count);
                // Whether one that is to stop counts is known when it has ended.
                let done = batch.stopped_at().map_or(progress.done, |place| progress.done.min(place));
                if done > sent.collected {
                    found.push((id, Share::of(batch, &self.jobs, false), done));
                }
            }
        }
        found
    }

    /// Delivers the first `done` results of a batch, as far as they are not delivered yet, but for the one that does not count.
    pub(super) fn collect(&mut self, id: u64, share: Share, done: usize, late: Option<usize>) {
        let Share { job, number, start, given, last } = share;
        let (Some(worker), Some(open)) = (self.workers.get_mut(&id), self.jobs.get(&job)) else { return };
        let take = open.job.take();
        // Plain numbers have no names.
        let names = if take.is_none() { worker.names(number) } else { Arc::default() };
        let Some(sent) = worker.batches.get_mut(&number).filter(|sent| sent.collected < done) else { return };
        let (from, slot) = (sent.collected, worker.page.slot(number));
        let mut odd = std::mem::take(&mut sent.odd);
        sent.odd = odd.split_off(&done);
        let mut odd: BTreeMap<usize, Odd> = odd.into_iter().filter_map(|(place, odd)| Some((place.checked_sub(from)?, odd))).collect();
        if let Some(late) = late {
            odd.insert(late - from, Odd::Void);
        }
        let body = match take {
            Some(take) => Body::Numbers(take(slot, from, done - from)),
            None => {
                let bytes = slot.copy(sent.bytes, open.job.function.width.map(|width| width * done));
                if !last {
                    sent.bytes += ends_at(&bytes, open.job.function.width, done - from);
                }
                Body::Bytes(Arc::new(bytes), names)
            }
        };
        sent.collected = done;
        let failed = odd.values().filter(|odd| matches!(odd, Odd::Failed(_))).count();
        let ended = done - from - usize::from(late.is_some());
        self.tally.failed += failed as u64;
        self.tally.done += (ended - failed) as u64;
        let given = given.map(|mut given| if from > 0 { given.tail(from) } else { given });
        let part = Part::Results { job, start: start + from, done: done - from, body, odd, given };
        self.post(job, part, ended);
    }

    /// A task has failed for good.
    fn conclude(&mut self, ending: Ending, report: Option<&Arc<ExitReport>>) {
        let after = self.jobs.get(&ending.job).and_then(|open| open.timeout).unwrap_or_default();
        let failure = match (ending.cause, report) {
            (Some(Cause::Timeout), report) => Failure::TimedOut { after, report: report.cloned() },
            (Some(Cause::Cancelled), _) | (None, None) => Failure::Cancelled,
            (None, Some(report)) => Failure::Died(report.clone()),
        };
        self.tally.failed += 1;
        let error = TaskError::new(ending.job, ending.index, ending.attempts, failure);
        self.post(ending.job, Part::Failed(error), 1);
    }

    /// Leaves results for a job's owner; so many tasks end with them.
    pub(super) fn post(&mut self, job: u64, part: Part, ending: usize) {
        let Some(open) = self.jobs.get_mut(&job) else { return };
        open.left = open.left.saturating_sub(ending);
        if open.submitted {
            self.groups.ended(ending, &mut self.wakers);
        }
        open.job.post(part, &mut self.wakers);
        self.recall |= self.leader.is_some();
        self.rest();
    }

    /// A worker has died, or was never born. What it said of itself before, if it could not work.
    pub(super) fn bury(&mut self, id: u64, report: Option<&Arc<ExitReport>>) -> Option<String> {
        self.alive -= 1;
        let workers = &self.workers;
        let fates = self.scheduler.died(id, |batch| State::progress(workers, id, batch));
        for fate in fates {
            self.accept(id, &fate, report);
        }
        if self.alive == 0 {
            self.wakers.append(&mut self.mourners);
        }
        self.workers.remove(&id).and_then(|worker| worker.unfit)
    }

    /// A worker is to die.
    pub(super) fn doom(&mut self, id: u64, kill: fn(&WorkerProcess)) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match &worker.process {
            Some(process) => kill(process),
            // As soon as it is known.
            None => worker.doomed = Some(kill),
        }
    }

    pub(super) fn kill_all(&mut self) {
        for worker in self.workers.values() {
            if let Some(process) = &worker.process {
                process.kill();
            }
        }
    }

    /// Nobody wants the job any more, or all of it has ended.
    pub(super) fn retire(&mut self, job: u64) {
        if self.jobs.remove(&job).is_some() {
            self.scheduler.retire(job);
            self.rest();
        }
    }

    /// Whether there is anything that somebody has to wait on the doorbell for.
    pub(super) fn has_business(&self) -> bool {
        let working = || self.jobs.values().any(|open| open.left > 0) || self.scheduler.is_busy();
        let ending = || (self.closed || self.ended.is_some()) && self.alive > 0;
        self.alarm.is_some() || working() || ending()
    }

    /// Whether somebody drives who waits for something himself.
    pub(super) fn is_driven(&self) -> bool {
        self.leader.is_some() || self.reading && !self.waiting.is_empty()
    }

    /// The worker runs this task, if it has not ended meanwhile, and is to stop it.
    pub(super) fn stop(&mut self, worker: u64, number: u64, place: usize) {
        let Some(batch) = self.scheduler.batch(worker, number) else { return };
        let progress = State::progress(&self.workers, worker, batch);
        if progress.done == place && progress.claimed > place {
            self.scheduler.stop(worker, number, place, Cause::Cancelled);
        }
    }

    /// Asks the task at this place to stop, if it has not ended meanwhile.
    pub(super) fn ask_to_stop(&mut self, id: u64, number: u64, place: usize) {
        let (Some(batch), Some(worker)) = (self.scheduler.batch(id, number), self.workers.get_mut(&id)) else { return };
        worker.stop(number, place);
        if worker.progress(number, batch.count).done > place {
            self.scheduler.missed(id, number);
        }
    }

    /// A task has ended of which nobody is to hear.
    pub(super) fn ended_unseen(&mut self, job: u64) {
        if let Some(open) = self.jobs.get_mut(&job) {
            open.left = open.left.saturating_sub(1);
            self.groups.ended(1, &mut self.wakers);
        }
        self.rest();
    }

    /// A closed pool's workers end with its last job.
    pub(super) fn rest(&mut self) {
        if self.closed && self.ended.is_none() && !self.jobs.values().any(|open| open.left > 0 || !open.submitted) {
            self.end(PoolError::Closed);
        }
    }

    /// The pool is over: every job ends, and the workers go.
    pub(super) fn end(&mut self, error: PoolError) {
        let error = self.ended.get_or_insert_with(|| Arc::new(error)).clone();
        self.scheduler.end();
        for open in std::mem::take(&mut self.jobs).into_values() {
            open.job.end(&error, &mut self.wakers);
        }
        self.groups.end(&mut self.wakers);
        self.recall |= self.leader.is_some();
        self.discharge();
        if self.alive == 0 {
            self.wakers.append(&mut self.mourners);
        }
        // Whoever holds this lock holds the pool too.
        self.keep = None;
    }

    /// Lets the workers go: they end with what they are running.
    pub(super) fn discharge(&mut self) {
        for worker in self.workers.values() {
            for number in worker.batches.keys() {
                worker.page.slot(*number).take_back(|left| left);
            }
        }
        self.workers.clear();
    }

    /// The workers that have started.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        let account = |(&id, worker): (&u64, &Worker)| {
            let pid = worker.process.as_ref()?.pid();
            let (busy, parked) = self.scheduler.condition(id);
            Some(Account { pid, tasks: worker.done, busy, parked })
        };
        let mut accounts: Vec<_> = self.workers.iter().filter_map(account).collect();
        accounts.sort_unstable_by_key(|account| account.pid);
        accounts
    }

    pub(crate) fn sketch(&self) -> Sketch {
        let (waiting, given) = self.scheduler.load();
        let waiting = waiting + self.groups.waiting();
        let (restarts, workers) = (self.scheduler.restarts(), self.workers.values().filter(|worker| worker.process.is_some()).count());
        Sketch { waiting, given, restarts, workers, tally: self.tally.clone() }
    }
}
