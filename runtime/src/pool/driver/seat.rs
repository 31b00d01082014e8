//! Who drives the pool: those who wait for it.
//!
//! A blocked thread waits on the doorbell itself (it *leads*); for async callers one task of the first caller's runtime does, and
//! when that goes away somebody else's takes over. Where nobody waits and there is business all the same (tasks that were submitted,
//! a pool that drains, a timer), a task of the library thread does, until a thread leads again.

use std::sync::{Arc, MutexGuard, Weak};
use std::task::Context;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::runtime::Handle;

use super::Shared;
use super::doorbell::{Doorbell, Events, Source};
use super::state::State;
use crate::link::library::{self, lock};
use crate::link::socket;
use crate::pool::bundle::Encoded;
use crate::wait::{self, Lead};

/// How long nobody may drive before the library thread does: between one wait of a caller's and the next.
const GAP: Duration = Duration::from_micros(500);

/// A blocked thread that waits on the doorbell, and the seat that it waits in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    seat: u64,
    thread: ThreadId,
}

/// A place to wait in, for one job's owner or one task's handle.
pub(crate) struct Seat {
    pool: Option<Arc<Shared>>,
    id: u64,
    job: u64,
    /// The job is over when this is.
    owner: bool,
    attended: bool,
}

impl Seat {
    pub(super) fn new(pool: Option<Arc<Shared>>, id: u64, job: u64, owner: bool) -> Seat {
        Seat { pool, id, job, owner, attended: false }
    }

    /// Its holder found nothing and waits: sees that somebody drives. False where something came in between.
    pub(crate) fn attend(&mut self, context: &Context<'_>, ready: impl Fn() -> bool) -> bool {
        let Some(pool) = &self.pool else { return true };
        self.attended = true;
        let mut state = lock(&pool.state);
        // What comes comes under this lock only. One who leads is deaf to all but the doorbell, so it must not begin with mail waiting.
        if ready() {
            return false;
        }
        let me = Leader { seat: self.id, thread: thread::current().id() };
        if wait::is_blocking() && state.leader.is_none_or(|leader| leader.thread == me.thread) {
            state.leader = Some(me);
            state.waiting.remove(&self.id);
            drop(state);
            wait::lead(pool.clone());
            return true;
        }
        state.waiting.insert(self.id, context.waker().clone());
        if !wait::is_blocking() && state.leader.is_none() && !state.reading {
            let runtime = Handle::try_current().ok().or_else(|| library::handle().ok().cloned());
            if let Some(runtime) = runtime {
                state.reading = true;
                drop(state);
                runtime.spawn(read(Arc::downgrade(pool), pool.doorbell.clone(), Reader { pool: Arc::downgrade(pool), stand_in: false }));
            }
        }
        true
    }

    /// Its holder waits no longer: somebody else drives.
    pub(crate) fn leave(&mut self) {
        if let (true, Some(pool)) = (std::mem::take(&mut self.attended), &self.pool) {
            pool.leave(self.id);
        }
    }

    /// How many tasks the job's next bundle should have, if it should have one now.
    pub(crate) fn hunger(&self) -> Option<usize> {
        lock(&self.pool.as_ref()?.state).scheduler.hunger(self.job)
    }

    /// How many of the pool's workers have died.
    pub(crate) fn restarts(&self) -> u64 {
        self.pool.as_ref().map_or(0, |pool| lock(&pool.state).scheduler.restarts())
    }

    /// More of the job's tasks; then as [`hunger`](Seat::hunger).
    pub(crate) fn supply(&self, start: usize, bundle: Encoded, following: usize) -> Option<usize> {
        self.pool.as_ref()?.change(false, |state| {
            state.supply(self.job, start, bundle, following);
            state.scheduler.hunger(self.job)
        })
    }

    /// Nobody wants this task any more. One that runs goes on, unless it is to be stopped.
    pub(crate) fn cancel(&self, index: usize, stop: bool) {
        let Some(pool) = &self.pool else { return };
        let job = self.job;
        pool.change(false, |state| {
            let found = state.scheduler.find(job, index);
            if let Some((worker, number, _)) = found {
                state.take_back(worker, number, |left| left);
            }
            if state.take_out(job, index) {
                state.ended_unseen(job);
            } else if let (true, Some((worker, number, place))) = (stop, found) {
                state.stop(worker, number, place);
            }
        });
        pool.see_to();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let (true, Some(pool)) = (self.owner, &self.pool) {
            pool.change(false, |state| state.retire(self.job));
            self.attended = true;
        }
        self.leave();
    }
}

impl Shared {
    fn leave(&self, seat: u64) {
        let mut state = lock(&self.state);
        state.waiting.remove(&seat);
        let led = state.leader.is_some_and(|leader| leader.seat == seat);
        self.hand_over(state, led);
    }

    /// Sees that somebody drives after one who waited or drove goes; `led` where that was the leader.
    fn hand_over(&self, mut state: MutexGuard<'_, State>, led: bool) {
        if led {
            state.leader = None;
            if state.reading || state.standing_in {
                // Whoever reads has left what came meanwhile to the leader.
                self.doorbell.ring();
            }
        }
        let next = if state.leader.is_none() && !state.reading { state.waiting.pop_first() } else { None };
        drop(state);
        if let Some((_, waker)) = next {
            waker.wake();
        }
        // The next one may have stopped waiting long ago, with its handle kept.
        self.see_to();
    }

    /// Sees that somebody drives where there is business and nobody waits.
    pub(super) fn see_to(&self) {
        let mut state = lock(&self.state);
        if state.expected || state.standing_in || state.is_driven() || !state.has_business() {
            return;
        }
        let Ok(library) = library::handle() else { return };
        state.expected = true;
        drop(state);
        let pool = self.me.clone();
        library.spawn(async move {
            tokio::time::sleep(GAP).await;
            let doorbell = {
                let Some(shared) = pool.upgrade() else { return };
                let mut state = lock(&shared.state);
                state.expected = false;
                if state.is_driven() || !state.has_business() {
                    return;
                }
                state.standing_in = true;
                shared.doorbell.clone()
            };
            read(pool.clone(), doorbell, Reader { pool, stand_in: true }).await;
        });
    }
}

impl Lead for Shared {
    fn lead(self: Arc<Self>, deadline: Option<Instant>) {
        self.drive(&mut Events::with_capacity(32), deadline, true);
    }

    fn stop(&self) {
        let state = lock(&self.state);
        if state.leader.is_some_and(|leader| leader.thread == thread::current().id()) {
            self.hand_over(state, true);
        }
    }
}

/// Waits on the doorbell for everyone, until a thread leads; as a stand-in also no longer than there is something to do.
async fn read(pool: Weak<Shared>, doorbell: Arc<Doorbell>, reader: Reader) {
    let Ok(source) = socket::watch(Source(doorbell), Interest::READABLE) else { return };
    let mut events = Events::with_capacity(32);
    while let Ok(mut ready) = source.readable().await {
        let Some(pool) = pool.upgrade() else { return };
        // A few rounds at a time: other tasks have a right to this thread too.
        for _ in 0..8 {
            // One who leads hears everything.
            if lock(&pool.state).leader.is_some() {
                return;
            }
            if !pool.drive(&mut events, None, false) {
                ready.clear_ready();
                break;
            }
        }
        if reader.stand_in {
            let state = lock(&pool.state);
            if state.is_driven() || !state.has_business() {
                return;
            }
        }
    }
}

/// A reading task's seat: free again when the task ends or its runtime does.
struct Reader {
    pool: Weak<Shared>,
    /// On the library thread, for want of anybody else.
    stand_in: bool,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        let mut state = lock(&pool.state);
        let seat = if self.stand_in { &mut state.standing_in } else { &mut state.reading };
        *seat = false;
        pool.hand_over(state, false);
    }
}
