//! Requests and their responses over one wire.
//!
//! Every request has a call id that is used once; its response finds its slot by it, and a response that nobody waits for any
//! more is dropped. Somebody has to read the socket while requests wait, and exactly one does:
//!
//! * a task of the runtime that first waited on this link, or
//! * a blocked thread that *leads*: it reads the socket itself, in its own wait, and hands the others theirs.
//!
//! When the reader goes away (its runtime ends, the leader has its response) the next waiter takes over.
//!
//! A request ends in exactly one of [`Ending`] or a response. An end of file alone is no verdict: the far end may be dying, and the
//! report of its death follows on the control link; only the far end's own `Closed` frame says that it lives on without this
//! mailbox. A request whose reply was handed to a third process (`Moved`) no longer depends on this link at all.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::runtime::Handle;

use super::assemble::Assembler;
pub use super::calls::LinkError;
use super::calls::{Calls, Reader, Slot, State};
pub(crate) use super::calls::{Ending, Undo};
use super::frame::{FRAME_CAP, FrameError, Header, Kind};
use super::library::{self, lock};
use super::outgoing::Outgoing;
use super::parcel::Parcel;
use super::socket::{self, Received, Wait};
use super::wire::{Broken, Source, Wire};
use crate::wait::{self, Lead};

/// How long an end of file waits for the report of the death that caused it.
const VERDICT: Duration = Duration::from_secs(10);

/// What becomes of a call whose reply was handed on: told the link, the call and the socket that the reply will come over.
pub(crate) type OnMoved = fn(Arc<Link>, u64, OwnedFd);

/// The asking end of a connection.
pub(crate) struct Link {
    wire: Arc<Wire>,
    state: Mutex<State>,
    assembler: Mutex<Assembler>,
    next: AtomicU64,
    on_moved: OnMoved,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, on_moved: OnMoved) -> Arc<Link> {
        let state = State { calls: Calls::default(), reader: Reader::Nobody, ended: None, silent: false };
        Arc::new(Link {
            wire: Wire::new(fd),
            state: Mutex::new(state),
            assembler: Mutex::new(Assembler::new(FRAME_CAP)),
            next: AtomicU64::new(1),
            on_moved,
        })
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// A new call id.
    pub(crate) fn next_call(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Why nothing can be asked here any more.
    pub(crate) fn ended(&self) -> Option<Ending> {
        lock(&self.state).ended.clone()
    }

    /// Registers `call` and posts its request. Nothing is registered where encoding fails.
    pub(crate) fn call<E>(self: &Arc<Self>, call: u64, fill: impl FnOnce(&mut Outgoing) -> Result<(), E>) -> Result<Call, E> {
        let more = {
            let mut state = lock(&self.state);
            let slot = match &state.ended {
                Some(ending) => Slot::Done(Err(ending.clone())),
                None => Slot::Waiting { waker: None, moved: false },
            };
            state.calls.insert(call, slot);
            state.calls.len() > 1
        };
        let pending = Call { link: self.clone(), call, leading: false, finished: false, undo: None };
        if let Err(Broken) = self.wire.post(more, fill).inspect_err(|_| self.forget(call))? {
            // The reader finds out why; a link that nobody reads has to be read for that.
        }
        Ok(pending)
    }

    /// A call without a request, which ends when the link does: for a sender that found it broken and wants to know why.
    pub(crate) fn verdict(self: &Arc<Self>) -> Call {
        let call = self.next_call();
        let mut state = lock(&self.state);
        let slot = match &state.ended {
            Some(ending) => Slot::Done(Err(ending.clone())),
            None => Slot::Waiting { waker: None, moved: false },
        };
        state.calls.insert(call, slot);
        Call { link: self.clone(), call, leading: false, finished: false, undo: None }
    }

    fn forget(&self, call: u64) {
        lock(&self.state).calls.remove(&call);
    }

    /// Ends the link with what is known of its far end. Responses that have arrived already are still handed out.
    pub(crate) fn condemn(self: &Arc<Self>, ending: Ending) {
        // A leader may be blocked in the read, and would stay there for as long as a stray process keeps the far end open.
        self.wire.shut();
        while let Ok(Received::Bytes(..)) = self.pump(Wait::No) {}
        self.end(ending);
    }

    fn end(&self, ending: Ending) {
        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.state);
            if state.ended.is_none() {
                state.ended = Some(ending.clone());
            }
            for slot in state.calls.values_mut() {
                if let Slot::Waiting { waker, moved: false } = slot {
                    wakers.extend(waker.take());
                    *slot = Slot::Done(Err(ending.clone()));
                }
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends one call, if it still waits.
    pub(crate) fn finish(&self, call: u64, result: Result<Parcel, Ending>) {
        let waker = {
            let mut state = lock(&self.state);
            match state.calls.get_mut(&call) {
                Some(slot @ Slot::Waiting { .. }) => match std::mem::replace(slot, Slot::Done(result)) {
                    Slot::Waiting { waker, .. } => waker,
                    _ => None,
                },
                _ => None,
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Reads once and hands out what came.
    fn pump(self: &Arc<Self>, wait: Wait) -> io::Result<Received> {
        let mut assembler = lock(&self.assembler);
        let received = socket::receive(self.wire.fd(), &mut assembler, wait)?;
        let mut wakers = Vec::new();
        let mut moved = Vec::new();
        let mut undone = Vec::new();
        let mut closed = false;
        {
            let mut state = lock(&self.state);
            while let Some(frame) = assembler.next().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                closed |= state.take(frame, &mut wakers, &mut moved, &mut undone);
            }
        }
        drop(assembler);
        wakers.into_iter().for_each(Waker::wake);
        if closed {
            self.end(Ending::Closed);
        }
        for (call, fd) in moved {
            (self.on_moved)(self.clone(), call, fd);
        }
        for (undo, parcel) in undone {
            undo(self, parcel);
        }
        Ok(received)
    }

    /// What a read means for the link; false where there is nothing more to read.
    fn heed(self: &Arc<Self>, received: io::Result<Received>) -> bool {
        match received {
            Ok(Received::Bytes(..) | Received::Nothing) => true,
            Ok(Received::End) => {
                self.await_verdict();
                false
            }
            Err(error) => {
                let frame = error.get_ref().and_then(|inner| inner.downcast_ref::<FrameError>());
                if frame.is_none() && matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) {
                    self.await_verdict();
                } else {
                    let cause = frame.map_or_else(|| LinkError::Io(error.to_string()), |frame| LinkError::Frame(frame.clone()));
                    self.end(Ending::Broken(cause));
                    self.wire.shut();
                }
                false
            }
        }
    }

    /// The end of file was read: the report follows by the control link, unless the link has ended already.
    fn await_verdict(self: &Arc<Self>) {
        {
            let mut state = lock(&self.state);
            if state.silent || state.ended.is_some() {
                return;
            }
            state.silent = true;
        }
        let link = Arc::downgrade(self);
        match library::handle() {
            Ok(handle) => {
                handle.spawn(async move {
                    tokio::time::sleep(VERDICT).await;
                    if let Some(link) = link.upgrade() {
                        link.end(Ending::Broken(LinkError::Lost));
                    }
                });
            }
            Err(_) => self.end(Ending::Broken(LinkError::Lost)),
        }
    }

    fn resign(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.reader = Reader::Nobody;
            state.next_waiter()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Reads for those who left without their response, unless somebody else does by now.
    async fn read_orphans(self: Arc<Self>) {
        {
            let mut state = lock(&self.state);
            if state.reader != Reader::Nobody || state.silent {
                return;
            }
            state.reader = Reader::Task;
        }
        self.read().await;
    }

    async fn read(self: Arc<Self>) {
        let _seat = Seat(self.clone());
        let Ok(source) = socket::watch(Source(self.wire.clone()), Interest::READABLE) else { return };
        while let Ok(mut ready) = source.readable().await {
            let received = self.pump(Wait::No);
            if matches!(received, Ok(Received::Bytes(_, true) | Received::Nothing)) {
                ready.clear_ready();
            }
            if !self.heed(received) {
                return;
            }
        }
    }
}

/// The reading task's seat: free again when the task ends or its runtime does.
struct Seat(Arc<Link>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.resign();
    }
}

impl Lead for Link {
    fn lead(self: Arc<Self>, deadline: Option<Instant>) {
        if deadline.is_some() && !matches!(socket::wait_for(self.wire.fd(), PollFlags::IN, deadline), Ok(true)) {
            return;
        }
        let received = self.pump(Wait::Yes);
        self.heed(received);
    }
}

/// One request under way. Dropping it tells the far end that its response is no longer wanted.
pub(crate) struct Call {
    link: Arc<Link>,
    call: u64,
    leading: bool,
    finished: bool,
    undo: Option<Undo>,
}

impl Call {
    /// Sets what to do with a response that arrives but is never taken.
    pub(crate) fn or_undo(mut self, undo: Undo) -> Call {
        self.undo = Some(undo);
        self
    }

    /// Tells the far end that the response is no longer wanted. It answers all the same: with what it had sent already, or with
    /// `NoReply`.
    pub(crate) fn cancel(&self) {
        self.say_cancel();
    }

    fn say_cancel(&self) {
        let cancel = Header::new(Kind::Cancel, self.call);
        let _ = self.link.wire.send(false, |queue| queue.push_bare(cancel));
    }

    fn resign(&mut self) {
        if std::mem::take(&mut self.leading) {
            self.link.resign();
        }
    }
}

impl Future for Call {
    type Output = Result<Parcel, Ending>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut state = lock(&this.link.state);
        let moved = match state.calls.get_mut(&this.call) {
            Some(Slot::Waiting { waker, moved }) => {
                match waker {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    _ => *waker = Some(context.waker().clone()),
                }
                *moved
            }
            _ => {
                let result = match state.calls.remove(&this.call) {
                    Some(Slot::Done(result)) => result,
                    _ => Err(Ending::NoReply),
                };
                drop(state);
                this.finished = true;
                this.resign();
                return Poll::Ready(result);
            }
        };
        if moved {
            // The reply comes another way, and somebody else reads that.
            drop(state);
            this.resign();
        } else if state.silent {
            // Nothing more will be read here; the verdict wakes whoever waits.
        } else if this.leading && state.reader == Reader::Leader {
            drop(state);
            wait::lead(this.link.clone());
        } else if state.reader == Reader::Nobody {
            if wait::is_blocking() {
                state.reader = Reader::Leader;
                drop(state);
                this.leading = true;
                wait::lead(this.link.clone());
            } else {
                let runtime = Handle::try_current().ok().or_else(|| library::handle().ok().cloned());
                if let Some(runtime) = runtime {
                    state.reader = Reader::Task;
                    drop(state);
                    runtime.spawn(this.link.clone().read());
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut state = lock(&self.link.state);
        let slot = state.calls.remove(&self.call);
        let unread = state.reader == Reader::Nobody || self.leading;
        match (slot, self.undo.take()) {
            (Some(Slot::Done(Ok(parcel))), Some(undo)) => {
                drop(state);
                undo(&self.link, parcel);
            }
            (Some(Slot::Waiting { .. }), Some(undo)) => {
                // The response may be on its way: somebody has to see it come.
                state.calls.insert(self.call, Slot::Orphan(undo));
                drop(state);
                self.say_cancel();
                self.resign();
                if unread && let Ok(library) = library::handle() {
                    library.spawn(self.link.clone().read_orphans());
                }
            }
            (Some(Slot::Waiting { .. } | Slot::Done(Ok(_))), None) => {
                drop(state);
                self.say_cancel();
            }
            _ => drop(state),
        }
        self.resign();
    }
}
