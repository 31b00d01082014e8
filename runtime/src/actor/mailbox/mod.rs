//! [`Mailbox`]: where an actor's messages arrive.
//!
//! Nothing stands between the sockets and the function. A sync actor reads its connections itself, inside `recv`, on its
//! own thread ([`blocking`]); an async one has a reading task for each on its own runtime ([`tasks`]). Whoever first receives
//! decides which.
//!
//! **Backpressure.** What is waiting here is bounded in messages and bytes. At the bound nothing more is read; then the kernel's
//! buffers fill, then the senders' queues, then `tell` waits.
//!
//! **The end.** After a stop, no new connection is taken, what has arrived is still given out, and then `recv` says `None`.
//! Dropping the mailbox tells everyone connected that it is closed; messages not received are lost, and requests among
//! them end with `Closed`. In a panic nothing is said: the exit report will.

mod blocking;
mod tasks;

use std::future::{Future, IntoFuture};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::Notify;

use super::error::RecvTimeout;
use super::inbound::{self, Endpoint};
use super::reply::{self, Origin};
use crate::exit::{ActorId, ExitReport};
use crate::link::assemble::{Body, Frame};
use crate::link::frame::{Flags, Header, Kind};
use crate::link::library::lock;
use crate::link::parcel::Parcel;
use crate::link::value::{self, Message};
use crate::wait;

/// How much may wait in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity { messages: 1024, bytes: 16 * 1024 * 1024 }
    }
}

/// The part of a mailbox that connections and stops reach from other threads.
pub(crate) struct Door {
    arrivals: Mutex<Vec<OwnedFd>>,
    stopping: AtomicBool,
    closed: AtomicBool,
    bell: Notify,
    /// Rung too, where a thread waits in the kernel.
    event: OnceLock<OwnedFd>,
}

impl Door {
    pub(crate) fn new() -> Arc<Door> {
        Arc::new(Door {
            arrivals: Mutex::default(),
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            bell: Notify::new(),
            event: OnceLock::new(),
        })
    }

    /// No more messages after those that have arrived.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.ring();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn ring(&self) {
        self.bell.notify_waiters();
        if let Some(event) = self.event.get() {
            let _ = rustix::io::write(event, &1u64.to_ne_bytes());
        }
    }

    fn event(&self) -> std::io::Result<&OwnedFd> {
        match self.event.get() {
            Some(event) => Ok(event),
            None => {
                let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                Ok(self.event.get_or_init(|| event))
            }
        }
    }

    fn arrivals(&self) -> Vec<OwnedFd> {
        std::mem::take(&mut *lock(&self.arrivals))
    }
}

impl Endpoint for Door {
    fn accept(&self, _from: ActorId, fd: OwnedFd) {
        if self.is_stopping() || self.closed.load(Ordering::Acquire) {
            inbound::refuse(fd);
            return;
        }
        lock(&self.arrivals).push(fd);
        self.ring();
    }

    fn gone(&self, _who: ActorId, _report: &Arc<ExitReport>) {
        // Its sockets end by themselves; what it sent before is still given out.
    }
}

/// Where an actor's messages arrive: the first parameter of a mailbox actor.
///
/// An async actor awaits [`recv`](Mailbox::recv); a sync one iterates over its mailbox, or calls `recv().blocking()`. Both end when the
/// actor is stopped: first what has arrived is given out, then `None`.
pub struct Mailbox<M> {
    door: Arc<Door>,
    capacity: Capacity,
    engine: Engine<M>,
}

enum Engine<M> {
    Unused,
    Blocking(Box<blocking::Reader>),
    Tasks(tasks::Reader<M>),
}

impl<M: Message> Mailbox<M> {
    pub(crate) fn new(door: Arc<Door>, capacity: Capacity) -> Mailbox<M> {
        Mailbox { door, capacity, engine: Engine::Unused }
    }

    /// The next message, or `None` once the actor was stopped and everything that had arrived is given out.
    ///
    /// Cancel safe: a future dropped before it is ready has taken nothing.
    ///
    /// A message that cannot be decoded is not given out; if it was a request, its sender is told.
    pub fn recv(&mut self) -> Recv<'_, M> {
        Recv { mailbox: self }
    }

    /// The next message if one has arrived, without waiting. `None` says nothing of whether more will come.
    pub fn try_recv(&mut self) -> Option<M> {
        if wait::is_blocking() || tokio::runtime::Handle::try_current().is_err() {
            self.recv_blocking(Some(Instant::now())).ok().flatten()
        } else {
            self.tasks().try_recv()
        }
    }

    fn recv_blocking(&mut self, deadline: Option<Instant>) -> Result<Option<M>, RecvTimeout> {
        if let Engine::Unused = self.engine {
            match blocking::Reader::new(&self.door) {
                Ok(reader) => self.engine = Engine::Blocking(Box::new(reader)),
                Err(error) => {
                    tracing::error!(%error, "a mailbox cannot be read");
                    return Ok(None);
                }
            }
        }
        match &mut self.engine {
            Engine::Blocking(reader) => reader.recv(&self.door, deadline),
            Engine::Tasks(reader) => match wait::block_on(reader.recv(), deadline) {
                Some(message) => Ok(message),
                None => reader.try_recv().map(Some).ok_or(RecvTimeout),
            },
            Engine::Unused => Ok(None),
        }
    }

    fn tasks(&mut self) -> &mut tasks::Reader<M> {
        if !matches!(self.engine, Engine::Tasks(_)) {
            let begun = match std::mem::replace(&mut self.engine, Engine::Unused) {
                Engine::Blocking(reader) => reader.into_links(),
                _ => Vec::new(),
            };
            self.engine = Engine::Tasks(tasks::Reader::new(self.door.clone(), self.capacity, begun));
        }
        match &mut self.engine {
            Engine::Tasks(reader) => reader,
            _ => unreachable!("the engine was set above"),
        }
    }
}

/// Waiting for a message: see [`Mailbox::recv`].
#[must_use = "nothing is received until this is awaited (or `.blocking()` is called)"]
pub struct Recv<'a, M> {
    mailbox: &'a mut Mailbox<M>,
}

impl<'a, M: Message> Recv<'a, M> {
    /// Gives up after this long, with [`RecvTimeout`].
    pub fn timeout(self, timeout: Duration) -> RecvWithin<'a, M> {
        RecvWithin { mailbox: self.mailbox, timeout }
    }

    /// Waits on this thread instead of in a task.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) -> Option<M> {
        wait::refuse_async_context("recv");
        self.mailbox.recv_blocking(None).ok().flatten()
    }
}

impl<'a, M: Message> IntoFuture for Recv<'a, M> {
    type Output = Option<M>;
    type IntoFuture = tasks::Receiving<'a, M>;

    fn into_future(self) -> Self::IntoFuture {
        self.mailbox.tasks().recv()
    }
}

/// Waiting for a message for a limited time: see [`Recv::timeout`].
#[must_use = "nothing is received until this is awaited (or `.blocking()` is called)"]
pub struct RecvWithin<'a, M> {
    mailbox: &'a mut Mailbox<M>,
    timeout: Duration,
}

impl<'a, M: Message> RecvWithin<'a, M> {
    /// Waits on this thread instead of in a task.
    ///
    /// # Errors
    ///
    /// [`RecvTimeout`] where nothing arrived in time.
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) -> Result<Option<M>, RecvTimeout> {
        wait::refuse_async_context("recv");
        self.mailbox.recv_blocking(Instant::now().checked_add(self.timeout))
    }
}

impl<'a, M: Message> IntoFuture for RecvWithin<'a, M> {
    type Output = Result<Option<M>, RecvTimeout>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let timeout = self.timeout;
        let receiving = self.mailbox.tasks().recv();
        Box::pin(async move { tokio::time::timeout(timeout, receiving).await.map_err(|_| RecvTimeout) })
    }
}

/// Blocking iteration: each message as it arrives, until the actor is stopped.
impl<M: Message> Iterator for Mailbox<M> {
    type Item = M;

    #[track_caller]
    fn next(&mut self) -> Option<M> {
        self.recv().blocking()
    }
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        self.door.closed.store(true, Ordering::Release);
        if !std::thread::panicking() {
            inbound::close(super::address::MAIN_PORT);
            self.door.arrivals().into_iter().for_each(inbound::refuse);
            match &mut self.engine {
                Engine::Blocking(reader) => reader.close(),
                Engine::Tasks(reader) => reader.close(),
                Engine::Unused => {}
            }
        }
    }
}

impl<M> std::fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("stopping", &self.door.is_stopping()).finish_non_exhaustive()
    }
}

/// Tells the far end that nobody receives here any more.
fn say_closed(origin: &Origin) {
    let _ = origin.wire.send(false, |queue| queue.push_bare(Header::new(Kind::Closed, 0)));
}

/// Decodes one frame; `None` for one that is no message, or not one of ours (then its sender is told).
fn open<M: Message>(origin: &Arc<Origin>, frame: Frame<'_>) -> Option<M> {
    let intact = frame.intact();
    let Frame { header, body, descriptors } = frame;
    if !matches!(header.kind, Kind::Tell | Kind::Ask) {
        return None;
    }
    let decoded = intact.map_err(|error| error.to_string()).and_then(|()| {
        let decoded = reply::from_origin(origin, || match body {
            Body::Borrowed(bytes) => value::decode(header.flags, bytes, descriptors),
            Body::Owned(bytes) => value::decode_owned(header.flags, bytes, descriptors),
        });
        decoded.map_err(|error| error.to_string())
    });
    match decoded {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::warn!(%error, "a message could not be read");
            if header.kind == Kind::Ask {
                let text = Parcel { flags: Flags::default(), body: error.into_bytes(), descriptors: Vec::new() };
                let _ = origin.wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Rejected, header.call), text));
            }
            None
        }
    }
}
