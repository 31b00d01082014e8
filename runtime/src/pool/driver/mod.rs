//! The scheduler's hands: sockets, shared pages, births and deaths.
//!
//! All workers' sockets, a bell and a timer are in one `epoll` instance, the [`Doorbell`]. Whoever waits for the pool drives it
//! ([`seat`]). The library thread takes no part but to bring news of births and deaths ([`lives`]): it leaves them in a list and rings
//! the bell.
//!
//! A death is believed when its report is here. The dead worker's socket is then read until it would block, and its page says
//! which tasks were done and which one was running.

mod crew;
mod doorbell;
mod group;
mod lives;
mod seat;
mod state;

use std::io;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use crew::WorkerProcess;
pub(crate) use doorbell::now;
use doorbell::{BELL, Doorbell, Events, TIMER};
pub(crate) use group::{Refused, Single};
use lives::News;
pub(crate) use seat::Seat;
pub(crate) use state::Account;
use state::State;

use super::counter::Counter;
use super::error::PoolError;
use super::job::{Function, Job, Mail, Sink};
use super::scheduler::{Settings, Step, Terms};
use super::worker::{Setup, Verdict};
use crate::actor::address::Address;
use crate::link::library::lock;
use crate::link::socket::{self, Received, Wait};
use crate::process::limits::Limits;
use crate::process::unfinished::Unfinished;
use crate::service::host::Owner;

/// What all workers of a pool are given.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) setup: Setup,
    /// Tells what an initializer's result means: an error's text, if it is one.
    pub(crate) verdict: Option<Verdict>,
    /// Most submitted tasks that have not ended.
    pub(crate) max_pending: usize,
}

impl Plan {
    /// A job's terms in this pool: a worker that runs many tasks at once has each as a batch by itself.
    fn terms(&self, terms: Terms) -> Terms {
        if self.setup.concurrency > 1 { Terms { cap: 1, chunk: Some(1), ..terms } } else { terms }
    }
}

/// A pool.
pub(crate) struct Shared {
    doorbell: Arc<Doorbell>,
    state: Mutex<State>,
    news: Mutex<Vec<News>>,
    plan: Plan,
    /// Where tasks from other processes come in, once the handle has been sent to one.
    counter: OnceLock<Arc<Owner<Counter>>>,
    key: u128,
    me: Weak<Shared>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, plan: Plan) -> io::Result<Arc<Shared>> {
        let doorbell = Arc::new(Doorbell::new()?);
        let state = Mutex::new(State::new(settings));
        let shared = Arc::new_cyclic(|me| Shared {
            doorbell,
            state,
            news: Mutex::default(),
            plan,
            counter: OnceLock::new(),
            key: uuid::Uuid::new_v4().as_u128(),
            me: me.clone(),
        });
        // Those that are always there are started now.
        shared.change(false, |_| ());
        shared.see_to();
        Ok(shared)
    }

    /// Changes the state, does what follows from it, and wakes whom it concerns.
    fn change<R>(&self, leading: bool, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, wakers, recall) = {
            let mut state = lock(&self.state);
            state.scheduler.pass(now());
            let result = change(&mut state);
            self.settle(&mut state);
            (result, std::mem::take(&mut state.wakers), std::mem::take(&mut state.recall))
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
        if recall && !leading {
            self.doorbell.ring();
        }
        result
    }

    /// Takes in a job whose results one owner collects.
    pub(crate) fn open(&self, function: Function, terms: Terms, keeps: bool) -> Result<(Arc<Job>, Seat), Arc<PoolError>> {
        self.change(false, |state| {
            state.admit()?;
            let job = state.open(function, self.plan.terms(terms), keeps, Sink::Mail(Mutex::new(Mail::default())));
            let seat = state.seat(&self.me, job.id, true);
            Ok((job, seat))
        })
    }

    /// Takes no more jobs; the workers end with the last one.
    pub(crate) fn close(&self) {
        self.change(false, |state| {
            state.closed = true;
            state.rest();
        });
        self.see_to();
    }

    /// The last handle is gone: takes no more jobs, and lives on by itself until those it has are done.
    pub(crate) fn abandon(&self) {
        let keep = self.me.upgrade();
        self.change(false, |state| {
            state.closed = true;
            state.rest();
            if state.ended.is_none() {
                state.keep = keep.map(|keep| (keep, Unfinished::new()));
            }
        });
        self.see_to();
    }

    /// Ends everything now: what runs is killed.
    pub(crate) fn terminate(&self) {
        self.change(false, |state| {
            state.kill_all();
            state.end(PoolError::Terminated);
        });
        self.see_to();
    }

    /// What this pool's workers know it by.
    pub(crate) fn key(&self) -> u128 {
        self.key
    }

    /// Where other processes find the pool.
    pub(crate) fn address(&self) -> Address {
        let open = || match self.me.upgrade() {
            Some(pool) => Counter::open(&pool),
            None => Counter::closed(),
        };
        self.counter.get_or_init(open).address()
    }

    /// A task of the worker's waits for this pool; false where too many do.
    pub(crate) fn park(&self, worker: u64) -> bool {
        self.change(false, |state| state.scheduler.park(worker))
    }

    /// A wait of that worker's is over.
    pub(crate) fn unpark(&self, worker: u64) {
        self.change(false, |state| state.scheduler.unpark(worker));
    }

    pub(crate) fn resize(&self, workers: usize) {
        self.change(false, |state| state.scheduler.resize(workers));
        self.see_to();
    }

    /// Whether all workers are gone after the pool's end; registers `context` to be woken then.
    pub(crate) fn is_empty(&self, context: &mut std::task::Context<'_>) -> bool {
        let mut state = lock(&self.state);
        if state.ended.is_some() && state.alive == 0 {
            return true;
        }
        state.mourners.push(context.waker().clone());
        false
    }

    /// What the state says about itself.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        // Nobody may have looked at the doorbell for long.
        if lock(&self.state).leader.is_none() {
            self.drive(&mut Events::new(), None, false);
        }
        look(&lock(&self.state))
    }

    /// Takes in what has happened; false where nothing has, or a leader is there to take in the rest.
    fn drive(&self, events: &mut Events, deadline: Option<Instant>, leading: bool) -> bool {
        self.doorbell.wait(events, deadline, leading);
        if events.is_empty() {
            return false;
        }
        self.change(leading, |state| {
            for &(who, room) in events.iter() {
                match who {
                    BELL => {
                        // It may call the leader back: then nobody else may take the call.
                        if leading || state.leader.is_none() {
                            self.doorbell.silence();
                        }
                        let news = std::mem::take(&mut *lock(&self.news));
                        for news in news {
                            self.heed(state, news);
                        }
                    }
                    TIMER => {
                        self.doorbell.silence_timer();
                        state.alarm = None;
                        state.tick();
                        for (worker, share, done) in state.peek() {
                            self.receive(state, worker);
                            state.collect(worker, share, done, None);
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
            leading || state.leader.is_none()
        })
    }

    /// Does what the scheduler says until it says nothing.
    fn settle(&self, state: &mut State) {
        loop {
            state.feed_groups();
            let Some(step) = state.scheduler.next() else { break };
            match step {
                Step::Spawn { worker } => match self.start(worker) {
                    Ok(started) => {
                        state.alive += 1;
                        state.workers.insert(worker, started);
                    }
                    Err(error) => state.end(error.into()),
                },
                Step::Send { worker, number } => {
                    state.send(worker, number);
                    self.flush(state, worker);
                }
                Step::TakeBack { worker, number, all } => {
                    state.take_back(worker, number, |left| if all { left } else { left.div_ceil(2) });
                }
                Step::Stop { worker, number, place } => {
                    state.ask_to_stop(worker, number, place);
                    self.flush(state, worker);
                }
                Step::Kill { worker } => state.doom(worker, WorkerProcess::kill_for_task),
                // Its socket ends with it, and it with its socket.
                Step::Release { worker } => drop(state.workers.remove(&worker)),
            }
        }
        if let Some(alarm) = state.next_alarm() {
            state.alarm = Some(alarm);
            self.doorbell.set_timer(alarm);
        }
    }

    /// Reads what a worker sent until there is nothing more for now.
    fn receive(&self, state: &mut State, id: u64) {
        while let Some(worker) = state.workers.get_mut(&id).filter(|worker| !worker.silent) {
            let received = socket::receive(std::os::fd::AsFd::as_fd(&worker.socket), &mut worker.assembler, Wait::No);
            let understood = state.understand(id, self.plan.verdict);
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
                state.doom(id, WorkerProcess::kill);
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
            self.doorbell.remove(&worker.socket);
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
            self.doorbell.modify(&worker.socket, id, worker.full);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.discharge();
        // The task that waits here, if there is one, finds nobody.
        self.doorbell.ring();
    }
}
