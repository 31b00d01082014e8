//! The writing half of a link: when queued frames become system calls.
//!
//! A frame that stands alone is written at once, by whoever posts it. A frame that others surround (`more`: further requests
//! are in flight, further messages wait to be answered, another was told a moment ago) joins the queue, and one system
//! call takes the queue: when it reaches 64 KiB, when its poster is about to wait, or when a flush comes round. In async code the
//! flush is a task that runs behind the tasks which are ready now; on a thread of its own kind it is the library thread, a
//! millisecond later, so that a frame never waits for a long computation that its sender began.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

use super::library::{self, lock};
use super::outgoing::Outgoing;
use super::socket::{self, Wait};
use crate::wait;

/// Queued bytes at which the poster writes them itself.
const BATCH: usize = 64 * 1024;
/// Queued bytes at which a sender has to wait.
const BOUND: usize = 256 * 1024;
/// How long a frame that was queued outside async code may wait for company.
const LATE: Duration = Duration::from_millis(1);

/// Why nothing can be written any more: the far end is gone. What that means, the reader finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// One socket with its queue.
pub(crate) struct Wire {
    fd: OwnedFd,
    out: Mutex<Out>,
    room: Notify,
}

#[derive(Default)]
struct Out {
    queue: Outgoing,
    /// A flush is on its way.
    scheduled: bool,
    broken: bool,
    last: Option<Instant>,
}

/// All wires of this process, for the flush at its end.
static WIRES: Mutex<Vec<Weak<Wire>>> = Mutex::new(Vec::new());

impl Wire {
    pub(crate) fn new(fd: OwnedFd) -> Arc<Wire> {
        let wire = Arc::new(Wire { fd, out: Mutex::default(), room: Notify::new() });
        let mut wires = lock(&WIRES);
        if wires.len() == wires.capacity() {
            wires.retain(|wire| wire.strong_count() > 0);
        }
        wires.push(Arc::downgrade(&wire));
        wire
    }

    /// Queues what `fill` pushes and sees that it is written. Never blocks.
    pub(crate) fn post<E>(
        self: &Arc<Self>,
        more: bool,
        fill: impl FnOnce(&mut Outgoing) -> Result<(), E>,
    ) -> Result<Result<(), Broken>, E> {
        let mut out = lock(&self.out);
        if out.broken {
            return Ok(Err(Broken));
        }
        fill(&mut out.queue)?;
        self.settle(&mut out, more);
        Ok(if out.broken { Err(Broken) } else { Ok(()) })
    }

    /// [`post`](Wire::post) for frames that cannot fail to encode.
    pub(crate) fn send(self: &Arc<Self>, more: bool, fill: impl FnOnce(&mut Outgoing)) -> Result<(), Broken> {
        let posted: Result<_, Infallible> = self.post(more, |queue| {
            fill(queue);
            Ok(())
        });
        let Ok(sent) = posted;
        sent
    }

    /// Like [`post`](Wire::post) for a message that comes on its own account: `None` where the queue is full, and whether it
    /// stands alone is told by the time since the last one.
    pub(crate) fn post_message<E>(
        self: &Arc<Self>,
        fill: impl FnOnce(&mut Outgoing) -> Result<(), E>,
    ) -> Option<Result<Result<(), Broken>, E>> {
        let mut out = lock(&self.out);
        if out.broken {
            return Some(Ok(Err(Broken)));
        }
        if out.queue.len() >= BOUND {
            return None;
        }
        if let Err(error) = fill(&mut out.queue) {
            return Some(Err(error));
        }
        let more = if out.scheduled {
            true
        } else {
            let now = Instant::now();
            let more = out.last.is_some_and(|last| now.duration_since(last) < Duration::from_micros(20));
            out.last = Some(now);
            more
        };
        self.settle(&mut out, more);
        Some(Ok(if out.broken { Err(Broken) } else { Ok(()) }))
    }

    /// Writes now, or sees that somebody does later.
    fn settle(self: &Arc<Self>, out: &mut Out, more: bool) {
        if !more || out.queue.len() >= BATCH {
            match out.queue.write(self.fd.as_fd(), Wait::No) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::trace!(%error, "a wire broke");
                    out.broken = true;
                    out.queue.clear();
                    return;
                }
            }
        }
        if !out.scheduled {
            out.scheduled = true;
            self.schedule();
        }
    }

    fn schedule(self: &Arc<Self>) {
        let flush = Flush(Some(self.clone()));
        match Handle::try_current() {
            Ok(handle) if !wait::is_blocking() => {
                // A woken task runs next on a multi-threaded runtime, before the tasks that would have joined it.
                let patient = handle.runtime_flavor() != RuntimeFlavor::CurrentThread;
                handle.spawn(async move {
                    if patient {
                        tokio::task::yield_now().await;
                    }
                    flush.run().await;
                });
            }
            _ => match library::handle() {
                Ok(handle) => {
                    handle.spawn(async move {
                        tokio::time::sleep(LATE).await;
                        flush.run().await;
                    });
                }
                Err(_) => drop(flush),
            },
        }
    }

    /// Writes everything that waits, blocking until the deadline where the socket is full.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> Result<(), Broken> {
        loop {
            let drained = {
                let mut out = lock(&self.out);
                if out.broken {
                    return Err(Broken);
                }
                out.queue.write(self.fd.as_fd(), Wait::No).inspect_err(|_| out.broken = true).map_err(|_| Broken)?
            };
            if drained || !matches!(socket::wait_for(self.fd(), PollFlags::OUT, deadline), Ok(true)) {
                return Ok(());
            }
        }
    }

    /// Writes what the socket takes now; true where nothing waits any more.
    pub(crate) fn try_flush(self: &Arc<Self>) -> bool {
        let mut out = lock(&self.out);
        if !out.broken && !out.queue.is_empty() {
            self.settle(&mut out, false);
        }
        out.broken || out.queue.is_empty()
    }

    /// Waits until nothing waits any more.
    pub(crate) async fn drained(self: Arc<Self>) {
        while !self.try_flush() {
            tokio::time::sleep(LATE).await;
        }
    }

    /// Whether something waits to be written.
    pub(crate) fn is_pending(&self) -> bool {
        !lock(&self.out).queue.is_empty()
    }

    /// Waits until a sender has room again, or nothing can be sent any more.
    pub(crate) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            {
                let out = lock(&self.out);
                if out.broken || out.queue.len() < BOUND {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Ends both directions: a thread blocked in a read gets the end of file, after what has arrived already.
    pub(crate) fn shut(&self) {
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
        let mut out = lock(&self.out);
        out.broken = true;
        out.queue.clear();
        drop(out);
        self.room.notify_waiters();
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A flush on its way. Dropped with its runtime, it passes the duty on.
struct Flush(Option<Arc<Wire>>);

impl Flush {
    async fn run(mut self) {
        let Some(wire) = self.0.take() else { return };
        let again = Flush(Some(wire.clone()));
        let mut writable = None;
        loop {
            {
                let mut out = lock(&wire.out);
                match out.queue.write(wire.fd.as_fd(), Wait::No) {
                    Ok(true) => out.scheduled = false,
                    Ok(false) => {}
                    Err(_) => {
                        out.broken = true;
                        out.queue.clear();
                    }
                }
                if out.broken || !out.scheduled {
                    break;
                }
                if out.queue.len() < BOUND {
                    wire.room.notify_waiters();
                }
            }
            // A descriptor of its own: the reader may have registered the socket with this same event loop.
            let registered = match writable.take() {
                Some(registered) => Ok(registered),
                None => rustix::io::fcntl_dupfd_cloexec(&wire.fd, 3)
                    .map_err(io::Error::from)
                    .and_then(|fd| socket::watch(fd, Interest::WRITABLE)),
            };
            match registered {
                Ok(registered) => {
                    match registered.writable().await {
                        Ok(mut guard) => guard.clear_ready(),
                        Err(_) => break,
                    }
                    writable = Some(registered);
                }
                // Out of descriptors: come back a little later instead.
                Err(_) => tokio::time::sleep(LATE).await,
            }
        }
        wire.room.notify_waiters();
        drop(again);
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let Some(wire) = self.0.take() else { return };
        let mut out = lock(&wire.out);
        if out.scheduled && !out.broken {
            out.scheduled = false;
            if !matches!(out.queue.write(wire.fd.as_fd(), Wait::No), Ok(true)) && library::handle().is_ok() {
                out.scheduled = true;
                drop(out);
                let flush = Flush(Some(wire.clone()));
                if let Ok(handle) = library::handle() {
                    handle.spawn(flush.run());
                }
            }
        }
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A wire as an event loop's source of readiness.
pub(crate) struct Source(pub(crate) Arc<Wire>);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl socket::Owner for Source {}

/// Writes what every wire of this process still holds, wherever nobody is in the middle of using it: for a process that calls
/// `exit` at any point of its code.
pub(crate) fn flush_at_exit(deadline: Instant) {
    let Ok(wires) = WIRES.try_lock() else { return };
    for wire in wires.iter().filter_map(Weak::upgrade) {
        while let Ok(mut out) = wire.out.try_lock() {
            let drained = out.broken || !matches!(out.queue.write(wire.fd.as_fd(), Wait::No), Ok(false));
            drop(out);
            if drained || !matches!(socket::wait_for(wire.fd(), PollFlags::OUT, Some(deadline)), Ok(true)) {
                break;
            }
        }
    }
}

/// Writes what every wire of this process still holds; for the end of a process.
pub(crate) fn flush_all(deadline: Instant) {
    let wires: Vec<_> = lock(&WIRES).iter().filter_map(Weak::upgrade).collect();
    for wire in wires {
        let _ = wire.flush(Some(deadline));
    }
}
