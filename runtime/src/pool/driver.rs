//! The scheduler's hands: sockets, shared pages, births and deaths.
//!
//! All workers' sockets and a bell are in one `epoll` instance, the [`Doorbell`]. Whoever waits for a map drives the pool: a
//! blocked thread waits on the doorbell itself (it *leads*); for async callers one task of the first caller's runtime does, and when
//! that goes away another caller's takes over. The library thread takes no part but to bring news of births and deaths: it leaves
//! them in a list and rings the bell.
//!
//! A death is believed when its report is here. The dead worker's socket is then read until it would block, and its page says
//! which tasks were done and which one was running.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::Instant;

use rustix::event::{EventfdFlags, epoll, eventfd};
use tokio::io::Interest;
use tokio::runtime::Handle;

use super::error::{PoolError, TaskError};
use super::job::{Encoded, Feed, Job, Odd, Part};
use super::page::Page;
use super::scheduler::{Batch, Scheduler, Step};
use super::worker::{ODD, PREFIX, PoolWorker, tag};
use crate::exit::{ExitReport, Panic};
use crate::link::assemble::{Assembler, Frame};
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Flags, HEADER, Header, Kind};
use crate::link::library::{self, lock};
use crate::link::socket::{self, Received, Wait};
use crate::link::value;
use crate::process::builder::{Options, spawn};
use crate::process::error::SpawnError;
use crate::process::handle::Process;
use crate::wait::{self, Lead};

/// The bell's token among the doorbell's events; workers count from 1.
const BELL: u64 = 0;
/// Events taken at once.
const EVENTS: usize = 32;

/// Who has something to say, and whether it has room for more to be written.
type Events = Vec<(u64, bool)>;

type WorkerProcess = Process<Result<(), String>>;

/// What a pool waits on.
pub(crate) struct Doorbell {
    epoll: OwnedFd,
    bell: OwnedFd,
}

impl Doorbell {
    fn new() -> io::Result<Doorbell> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Doorbell { epoll, bell })
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Waits for events, no longer than to the deadline.
    fn wait(&self, events: &mut Events, deadline: Option<Instant>, block: bool) {
        events.clear();
        let timeout = match (block, deadline) {
            (false, _) => Some(socket::timespec(std::time::Duration::ZERO)),
            (true, Some(deadline)) => Some(socket::timespec(deadline.saturating_duration_since(Instant::now()))),
            (true, None) => None,
        };
        // Interrupted is as good as nothing: whoever waits comes again.
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS];
        if let Ok((taken, _)) = epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            events.extend(taken.iter().map(|event| {
                let flags = event.flags;
                (event.data.u64(), flags.intersects(epoll::EventFlags::OUT))
            }));
        }
    }
}

/// The doorbell as an event loop's source of readiness.
struct Source(Arc<Doorbell>);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.epoll.as_raw_fd()
    }
}

impl socket::Owner for Source {}

/// What the library thread tells.
enum News {
    Started(u64, WorkerProcess),
    Died(u64, Arc<ExitReport>),
    Failed(u64, SpawnError),
}

/// A batch as it was sent.
struct Sent {
    start: usize,
    encoded: Encoded,
    /// Results that did not come with the others.
    odd: BTreeMap<usize, Odd>,
}

/// A frame on its way to a worker: its head, and how much of head and body is written.
struct Outbound {
    number: u64,
    head: [u8; HEADER + PREFIX],
    written: usize,
}

struct Worker {
    socket: OwnedFd,
    page: Page,
    assembler: Assembler,
    batches: HashMap<u64, Sent>,
    outbound: VecDeque<Outbound>,
    /// The doorbell rings when the socket has room, too.
    full: bool,
    /// Its socket ended or carried nonsense; its death is to follow.
    silent: bool,
    doomed: bool,
    process: Option<WorkerProcess>,
}

/// A pool.
pub(crate) struct Shared {
    doorbell: Arc<Doorbell>,
    state: Mutex<State>,
    news: Mutex<Vec<News>>,
    name: String,
    me: Weak<Shared>,
}

struct State {
    scheduler: Scheduler,
    workers: HashMap<u64, Worker>,
    jobs: BTreeMap<u64, Arc<Job>>,
    /// Encoded arguments of tasks that came back, by job and first task.
    returned: BTreeMap<(u64, usize), Encoded>,
    next_job: u64,
    /// A task waits on the doorbell.
    reading: bool,
    /// The job of the thread that waits on the doorbell.
    leader: Option<u64>,
    ended: Option<Arc<PoolError>>,
    closed: bool,
    wakers: Vec<Waker>,
    /// The leader's job is over, and somebody else found out.
    recall: bool,
}

impl Shared {
    pub(crate) fn new(workers: usize, name: String) -> io::Result<Arc<Shared>> {
        let doorbell = Arc::new(Doorbell::new()?);
        let state = State {
            scheduler: Scheduler::new(workers),
            workers: HashMap::new(),
            jobs: BTreeMap::new(),
            returned: BTreeMap::new(),
            next_job: 1,
            reading: false,
            leader: None,
            ended: None,
            closed: false,
            wakers: Vec::new(),
            recall: false,
        };
        Ok(Arc::new_cyclic(|me| Shared { doorbell, state: Mutex::new(state), news: Mutex::default(), name, me: me.clone() }))
    }

    /// Changes the state, does what follows from it, and wakes whom it concerns.
    fn change<R>(&self, leading: bool, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, wakers, recall) = {
            let mut state = lock(&self.state);
            let result = change(&mut state);
            self.settle(&mut state);
            (result, std::mem::take(&mut state.wakers), std::mem::take(&mut state.recall))
        };
        wakers.into_iter().for_each(Waker::wake);
        if recall && !leading {
            self.doorbell.ring();
        }
        result
    }

    /// Takes in a job of so many tasks.
    pub(crate) fn submit(
        &self,
        entry: u32,
        count: usize,
        chunk: Option<usize>,
        cap: usize,
        feed: Box<dyn Feed>,
    ) -> Result<Arc<Job>, Arc<PoolError>> {
        self.change(false, |state| {
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            if state.closed {
                return Err(Arc::new(PoolError::Closed));
            }
            let id = state.next_job;
            state.next_job += 1;
            let job = Job::new(id, entry, count, cap, feed);
            if count > 0 {
                state.jobs.insert(id, job.clone());
                state.scheduler.submit(id, count, chunk);
            }
            Ok(job)
        })
    }

    /// The job's caller found nothing and waits: sees that somebody drives. False where something came in between.
    pub(crate) fn attend(&self, job: &Job) -> bool {
        let Some(me) = self.me.upgrade() else { return true };
        let mut state = lock(&self.state);
        // Mail comes under this lock only. One who leads is deaf to all but the doorbell, so it must not begin with mail waiting.
        if job.has_mail() {
            return false;
        }
        if wait::is_blocking() {
            if state.leader.is_none_or(|leader| leader == job.id) {
                state.leader = Some(job.id);
                drop(state);
                wait::lead(me);
            }
        } else if state.leader.is_none() && !state.reading {
            let runtime = Handle::try_current().ok().or_else(|| library::handle().ok().cloned());
            if let Some(runtime) = runtime {
                state.reading = true;
                drop(state);
                runtime.spawn(read(self.me.clone(), self.doorbell.clone(), Seat(self.me.clone())));
            }
        }
        true
    }

    /// The job's caller waits no longer: what is not begun is taken back, and somebody else drives.
    pub(crate) fn leave(&self, job: u64) {
        self.change(false, |state| {
            state.retire(job);
            if state.leader == Some(job) {
                state.leader = None;
            }
            state.hand_over();
        });
    }

    /// Takes no more jobs; the workers end with the last one.
    pub(crate) fn close(&self) {
        self.change(false, |state| {
            state.closed = true;
            state.rest();
        });
    }

    /// The processes of the workers that have started.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let state = lock(&self.state);
        let mut pids: Vec<_> = state.workers.values().filter_map(|worker| Some(worker.process.as_ref()?.pid())).collect();
        pids.sort_unstable();
        pids
    }

    /// Takes in what has happened; false where nothing has.
    fn drive(&self, events: &mut Events, deadline: Option<Instant>, leading: bool) -> bool {
        self.doorbell.wait(events, deadline, leading);
        if events.is_empty() {
            return false;
        }
        self.change(leading, |state| {
            for &(who, room) in events.iter() {
                match who {
                    BELL => {
                        self.doorbell.silence();
                        let news = std::mem::take(&mut *lock(&self.news));
                        for news in news {
                            self.heed(state, news);
                        }
                    }
                    worker => {
                        if room {
                            self.flush(state, worker);
                        }
                        self.receive(state, worker);
                    }
                }
            }
        });
        true
    }

    /// Does what the scheduler says until it says nothing.
    fn settle(&self, state: &mut State) {
        while let Some(step) = state.scheduler.next() {
            match step {
                Step::Spawn { worker } => match self.start(worker) {
                    Ok(started) => {
                        state.workers.insert(worker, started);
                    }
                    Err(error) => state.end(error.into()),
                },
                Step::Send { worker, job, start, most, stride } => {
                    state.send(worker, job, start, most, stride);
                    self.flush(state, worker);
                }
                Step::TakeBack { worker, batch } => state.take_back(worker, batch, |left| left.div_ceil(2)),
            }
        }
    }

    /// Starts a worker's process, on the library thread.
    fn start(&self, id: u64) -> io::Result<Worker> {
        let (mine, theirs) = socket::pair()?;
        let (page, memory) = Page::create()?;
        epoll::add(&self.doorbell.epoll, &mine, epoll::EventData::new_u64(id), epoll::EventFlags::IN)?;
        let mut options = Options::default();
        options.name(format!("{}-{id}", self.name));
        options.grace(std::time::Duration::from_millis(500));
        let spawning = spawn::<PoolWorker>(options, (Attached(theirs), Attached(memory)));
        let pool = self.me.clone();
        library::handle()?.spawn(async move {
            let tell = |news: News| {
                if let Some(pool) = pool.upgrade() {
                    lock(&pool.news).push(news);
                    pool.doorbell.ring();
                }
            };
            match spawning.await {
                Ok(process) => {
                    let exit = process.exit();
                    tell(News::Started(id, process));
                    if let Ok(report) = exit.await {
                        tell(News::Died(id, report));
                    }
                }
                Err(SpawnError::Died(report)) => tell(News::Died(id, report)),
                Err(error) => tell(News::Failed(id, error)),
            }
        });
        Ok(Worker {
            socket: mine,
            page,
            assembler: Assembler::new(FRAME_CAP),
            batches: HashMap::new(),
            outbound: VecDeque::new(),
            full: false,
            silent: false,
            doomed: false,
            process: None,
        })
    }

    fn heed(&self, state: &mut State, news: News) {
        match news {
            News::Started(id, process) => match state.workers.get_mut(&id) {
                Some(worker) => {
                    if worker.doomed {
                        process.kill();
                    }
                    worker.process = Some(process);
                }
                None => drop(process),
            },
            News::Died(id, report) => {
                self.receive(state, id);
                state.bury(id, &report);
                if let Some(deaths) = state.scheduler.crash_loop() {
                    state.end(PoolError::CrashLoop { deaths, last: report });
                }
            }
            News::Failed(id, error) => {
                state.workers.remove(&id);
                state.scheduler.died(id, |_| (0, 0));
                let hopeless = matches!(error, SpawnError::Init(_) | SpawnError::ShuttingDown | SpawnError::Arguments(_));
                if hopeless || state.scheduler.crash_loop().is_some() {
                    state.end(PoolError::Spawn(Arc::new(error)));
                }
            }
        }
    }

    /// Reads what a worker sent until there is nothing more for now.
    fn receive(&self, state: &mut State, id: u64) {
        while let Some(worker) = state.workers.get_mut(&id).filter(|worker| !worker.silent) {
            let received = socket::receive(worker.socket.as_fd(), &mut worker.assembler, Wait::No);
            let understood = state.understand(id);
            let more = match received {
                Ok(Received::Bytes(_, emptied)) => !emptied,
                Ok(Received::Nothing) => false,
                Ok(Received::End) | Err(_) => {
                    self.silence(state, id);
                    false
                }
            };
            if let Err(why) = understood {
                tracing::error!(worker = id, why, "a pool's worker does not speak the protocol and is killed");
                self.silence(state, id);
                state.doom(id);
                return;
            }
            if !more {
                return;
            }
        }
    }

    /// Listens to a worker no longer: its end of file would ring for ever.
    fn silence(&self, state: &mut State, id: u64) {
        if let Some(worker) = state.workers.get_mut(&id) {
            worker.silent = true;
            let _ = epoll::delete(&self.doorbell.epoll, &worker.socket);
        }
    }

    /// Writes what waits for a worker as far as its socket takes it.
    fn flush(&self, state: &mut State, id: u64) {
        let Some(worker) = state.workers.get_mut(&id) else { return };
        if worker.silent {
            return;
        }
        let drained = worker.flush();
        if drained == worker.full {
            worker.full = !drained;
            let flags = if worker.full { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let _ = epoll::modify(&self.doorbell.epoll, &worker.socket, epoll::EventData::new_u64(id), flags);
        }
    }
}

impl Lead for Shared {
    fn lead(self: Arc<Self>, deadline: Option<Instant>) {
        self.drive(&mut Vec::with_capacity(EVENTS), deadline, true);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What no worker has begun is not run any more; the sockets end with the state, and the workers with their sockets.
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.discharge();
        // The task that waits here, if there is one, finds nobody.
        self.doorbell.ring();
    }
}

/// Waits on the doorbell for everyone, for as long as there is a pool.
async fn read(pool: Weak<Shared>, doorbell: Arc<Doorbell>, _seat: Seat) {
    let Ok(source) = socket::watch(Source(doorbell), Interest::READABLE) else { return };
    let mut events = Vec::with_capacity(EVENTS);
    while let Ok(mut ready) = source.readable().await {
        let Some(pool) = pool.upgrade() else { return };
        // A few rounds at a time: other tasks have a right to this thread too.
        for _ in 0..8 {
            if !pool.drive(&mut events, None, false) {
                ready.clear_ready();
                break;
            }
        }
    }
}

/// The reading task's seat: free again when the task ends or its runtime does.
struct Seat(Weak<Shared>);

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            pool.change(false, |state| {
                state.reading = false;
                state.hand_over();
            });
        }
    }
}

impl Worker {
    /// Whether all that waits is written.
    fn flush(&mut self) -> bool {
        while let Some(outbound) = self.outbound.front_mut() {
            let Some(sent) = self.batches.get(&outbound.number) else {
                // Never: a batch is kept until it is done, and it is not done before it is sent.
                self.outbound.pop_front();
                continue;
            };
            let total = outbound.head.len() + sent.encoded.body.len();
            let head = outbound.head.get(outbound.written..).unwrap_or_default();
            let body = sent.encoded.body.get(outbound.written.saturating_sub(outbound.head.len())..).unwrap_or_default();
            let riding: Vec<_> = match outbound.written {
                0 => sent.encoded.descriptors.iter().map(AsFd::as_fd).collect(),
                _ => Vec::new(),
            };
            match socket::send(self.socket.as_fd(), &[IoSlice::new(head), IoSlice::new(body)], &riding, Wait::No) {
                Ok(written) => {
                    outbound.written += written;
                    if outbound.written >= total {
                        self.outbound.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The far end is gone: its death is on the way.
                Err(_) => self.outbound.clear(),
            }
        }
        true
    }
}

impl State {
    fn send(&mut self, id: u64, job_id: u64, start: usize, most: usize, stride: usize) {
        let (Some(job), Some(worker)) = (self.jobs.get(&job_id), self.workers.get_mut(&id)) else { return };
        let most = most.min(job.cap);
        let mut refused = Vec::new();
        let encoded = match self.returned.remove(&(job_id, start)) {
            Some(mut encoded) => {
                if encoded.count > most {
                    let rest = encoded.split_off(most);
                    self.returned.insert((job_id, start + most), rest);
                }
                encoded
            }
            None => lock(&job.feed).fill(most, &mut refused),
        };
        for (place, error) in refused {
            let error = TaskError::Encode { index: start + place, error: Arc::new(error) };
            self.wakers.extend(job.post(Part::Failed(error), 0).0);
        }
        let count = encoded.count;
        let number = self.scheduler.sent(id, job_id, start, count);
        worker.page.offer(number, count);
        let mut header = Header::new(Kind::Ask, number);
        header.length = (PREFIX + encoded.body.len()) as u64;
        header.descriptors = encoded.descriptors.len() as u16;
        let mut head = [0; HEADER + PREFIX];
        head[..HEADER].copy_from_slice(&header.encode());
        for (word, value) in head[HEADER..].chunks_exact_mut(4).zip([job.entry, count as u32, stride as u32, 0]) {
            word.copy_from_slice(&value.to_le_bytes());
        }
        worker.batches.insert(number, Sent { start, encoded, odd: BTreeMap::new() });
        worker.outbound.push_back(Outbound { number, head, written: 0 });
    }

    /// Takes tasks of a batch back that nobody has begun; they wait again, if their job is still there.
    fn take_back(&mut self, id: u64, number: u64, want: impl Fn(usize) -> usize) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let count = worker.page.take_back(number, want);
        if count == 0 {
            return;
        }
        let Some(back) = self.scheduler.took_back(id, number, count) else { return };
        if let (Some(sent), true) = (worker.batches.get_mut(&number), self.jobs.contains_key(&back.job)) {
            let first = back.start - sent.start;
            self.returned.insert((back.job, back.start), sent.encoded.take(first, first + count));
        }
    }

    /// Takes in the frames that a worker sent; an error where they are not the protocol.
    fn understand(&mut self, id: u64) -> Result<(), &'static str> {
        loop {
            let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
            let Some(frame) = worker.assembler.next().map_err(|_| "no frame")? else { return Ok(()) };
            let number = frame.header.call;
            match frame.header.kind {
                Kind::Hello => self.scheduler.born(id),
                Kind::Tell => {
                    let sent = worker.batches.get_mut(&number).ok_or("a result of an unknown batch")?;
                    let (place, odd) = odd(frame, sent.start)?;
                    if place >= sent.encoded.count || sent.odd.insert(place, odd).is_some() {
                        return Err("a result of an unknown task");
                    }
                }
                Kind::Reply => {
                    let nanos = frame.body.as_slice().first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or("no time")?;
                    let batch = self.scheduler.running(id).filter(|batch| batch.number == number).ok_or("a batch out of turn")?;
                    if worker.page.progress(number, batch.count).done != batch.count {
                        return Err("a batch that is not done");
                    }
                    self.collect(id, &batch, batch.count);
                    self.scheduler.finished(id, nanos);
                    if let Some(worker) = self.workers.get_mut(&id) {
                        worker.batches.remove(&number);
                    }
                }
                _ => {}
            }
        }
    }

    /// Delivers the first `done` results of a batch.
    fn collect(&mut self, id: u64, batch: &Batch, done: usize) {
        let (Some(worker), Some(job)) = (self.workers.get_mut(&id), self.jobs.get(&batch.job)) else { return };
        if done == 0 {
            return;
        }
        let odd = worker.batches.get_mut(&batch.number).map(|sent| std::mem::take(&mut sent.odd)).unwrap_or_default();
        let part = Part::Results { start: batch.start, done, body: worker.page.copy(batch.number), odd };
        let job = job.clone();
        self.post(&job, part, done);
    }

    fn post(&mut self, job: &Arc<Job>, part: Part, ending: usize) {
        let (waker, over) = job.post(part, ending);
        self.wakers.extend(waker);
        if self.leader == Some(job.id) {
            self.recall = true;
        }
        if over {
            self.forget(job.id);
        }
    }

    /// A worker has died.
    fn bury(&mut self, id: u64, report: &Arc<ExitReport>) {
        let lane = self.scheduler.lane(id);
        let Some(worker) = self.workers.get(&id) else { return };
        let progress: HashMap<u64, (usize, usize)> = lane
            .iter()
            .map(|batch| {
                let progress = worker.page.progress(batch.number, batch.count);
                (batch.number, (progress.claimed, progress.done))
            })
            .collect();
        let fates = self.scheduler.died(id, |batch| progress.get(&batch.number).copied().unwrap_or((0, 0)));
        for fate in fates {
            let batch = fate.batch;
            self.collect(id, &batch, fate.done);
            if let (true, Some(job)) = (fate.culprit, self.jobs.get(&batch.job).cloned()) {
                let error = TaskError::Died { index: batch.start + fate.done, report: report.clone() };
                self.post(&job, Part::Failed(error), 1);
            }
            let rest = fate.done + usize::from(fate.culprit);
            let sent = self.workers.get_mut(&id).and_then(|worker| worker.batches.get_mut(&batch.number));
            if let (Some(sent), true) = (sent, rest < batch.count && self.jobs.contains_key(&batch.job)) {
                self.returned.insert((batch.job, batch.start + rest), sent.encoded.take(rest, batch.count));
            }
        }
        self.workers.remove(&id);
    }

    /// A worker is to die: it broke the protocol.
    fn doom(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.doomed = true;
            if let Some(process) = &worker.process {
                process.kill();
            }
        }
    }

    /// All of a job's tasks have ended, or nobody wants them any more.
    fn forget(&mut self, job: u64) {
        self.scheduler.retire(job);
        self.jobs.remove(&job);
        let returned = self.returned.range((job, 0)..=(job, usize::MAX)).map(|(&key, _)| key).collect::<Vec<_>>();
        for key in returned {
            self.returned.remove(&key);
        }
        self.rest();
    }

    fn retire(&mut self, job: u64) {
        if !self.jobs.contains_key(&job) {
            return;
        }
        self.forget(job);
        for (worker, batch) in self.scheduler.batches(job) {
            self.take_back(worker, batch.number, |left| left);
        }
    }

    /// A closed pool's workers end with its last job.
    fn rest(&mut self) {
        if self.closed && self.jobs.is_empty() && self.ended.is_none() {
            self.end(PoolError::Closed);
        }
    }

    /// The pool is over: every job ends, and the workers go.
    fn end(&mut self, error: PoolError) {
        let error = self.ended.get_or_insert_with(|| Arc::new(error)).clone();
        self.scheduler.end();
        for (id, job) in std::mem::take(&mut self.jobs) {
            self.wakers.extend(job.end(&error));
            self.recall |= self.leader == Some(id);
        }
        self.returned.clear();
        self.discharge();
    }

    /// Lets the workers go: they end with what they are running.
    fn discharge(&mut self) {
        for worker in self.workers.values() {
            for number in worker.batches.keys() {
                worker.page.take_back(*number, |left| left);
            }
        }
        self.workers.clear();
    }

    /// Nobody drives: wakes somebody who waits, and who then will.
    fn hand_over(&mut self) {
        if self.leader.is_none() && !self.reading {
            let next = self.jobs.values().find_map(|job| job.waiter());
            self.wakers.extend(next);
        }
    }
}

/// A result that came by itself, with its place in its batch.
fn odd(frame: Frame<'_>, start: usize) -> Result<(usize, Odd), &'static str> {
    let body = frame.body.as_slice();
    let (prefix, payload) = body.split_first_chunk::<ODD>().ok_or("a result that is none")?;
    let [a, b, c, d, tag] = *prefix;
    let place = u32::from_le_bytes([a, b, c, d]) as usize;
    let index = start + place;
    let failed = |error: TaskError| Ok((place, Odd::Failed(error)));
    let unreadable = |error| TaskError::Decode { index, error: Arc::new(error) };
    match tag {
        tag::VALUE => Ok((place, Odd::Value(Flags::NONE, payload.to_vec(), frame.descriptors))),
        tag::BLOCK => Ok((place, Odd::Value(Flags::BLOCK, payload.to_vec(), frame.descriptors))),
        tag::PANICKED => failed(match value::decode::<Panic>(Flags::NONE, payload, Vec::new()) {
            Ok(panic) => TaskError::Panicked { index, panic: Arc::new(panic) },
            Err(error) => unreadable(error),
        }),
        tag::UNSENDABLE => failed(match value::decode(Flags::NONE, payload, Vec::new()) {
            Ok(error) => TaskError::Unsendable { index, error: Arc::new(error) },
            Err(error) => unreadable(error),
        }),
        tag::UNREADABLE => failed(match value::decode(Flags::NONE, payload, Vec::new()) {
            Ok(error) => TaskError::Rejected { index, error: Arc::new(error) },
            Err(error) => unreadable(error),
        }),
        _ => Err("a result of an unknown kind"),
    }
}
