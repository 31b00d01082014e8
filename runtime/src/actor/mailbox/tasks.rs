//! A mailbox read by tasks: one for each connection, on the runtime that first received, into one bounded queue.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::blocking::Connection;
use super::{Capacity, Door, open, say_closed};
use crate::actor::reply::Origin;
use crate::link::frame::HEADER;
use crate::link::library::lock;
use crate::link::socket::{self, Received};
use crate::link::value::Message;
use crate::link::wire::Source;

struct Queue<M> {
    messages: VecDeque<(M, usize)>,
    bytes: usize,
    /// Reading tasks that may still bring something, and the accepting one.
    readers: usize,
    receiver: Option<Waker>,
}

struct Shared<M> {
    door: Arc<Door>,
    capacity: Capacity,
    queue: Mutex<Queue<M>>,
    room: Notify,
    open: Mutex<Vec<(Arc<Origin>, AbortHandle)>>,
}

/// The receiving side.
pub(super) struct Reader<M> {
    shared: Arc<Shared<M>>,
    acceptor: AbortHandle,
}

impl<M: Message> Reader<M> {
    /// Starts reading on the current runtime.
    pub(super) fn new(door: Arc<Door>, capacity: Capacity, begun: Vec<Connection>) -> Reader<M> {
        if let Some(family) = crate::actor::family::family() {
            family.serve();
        }
        let queue = Queue { messages: VecDeque::new(), bytes: 0, readers: 1, receiver: None };
        let shared = Arc::new(Shared { door, capacity, queue: Mutex::new(queue), room: Notify::new(), open: Mutex::default() });
        for connection in begun {
            shared.start(connection);
        }
        let acceptor = tokio::spawn(accept(shared.clone())).abort_handle();
        Reader { shared, acceptor }
    }

    pub(super) fn recv(&mut self) -> Receiving<'_, M> {
        Receiving { shared: &self.shared }
    }

    pub(super) fn try_recv(&mut self) -> Option<M> {
        self.shared.pop(&mut lock(&self.shared.queue))
    }
}

impl<M> Reader<M> {
    /// Ends reading and tells everyone connected.
    pub(super) fn close(&mut self) {
        self.acceptor.abort();
        for (origin, task) in lock(&self.shared.open).drain(..) {
            task.abort();
            say_closed(&origin);
        }
    }
}

impl<M> Drop for Reader<M> {
    fn drop(&mut self) {
        self.acceptor.abort();
        for (_, task) in lock(&self.shared.open).drain(..) {
            task.abort();
        }
    }
}

/// The future of a receive.
pub struct Receiving<'a, M> {
    shared: &'a Arc<Shared<M>>,
}

impl<M: Message> Future for Receiving<'_, M> {
    type Output = Option<M>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<M>> {
        // A busy actor must let its reading and flushing tasks run.
        let progress = std::task::ready!(tokio::task::coop::poll_proceed(context));
        let mut queue = lock(&self.shared.queue);
        if let Some(message) = self.shared.pop(&mut queue) {
            progress.made_progress();
            return Poll::Ready(Some(message));
        }
        if queue.readers == 0 {
            return Poll::Ready(None);
        }
        match &mut queue.receiver {
            Some(waker) if waker.will_wake(context.waker()) => {}
            receiver => *receiver = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl<M> Shared<M> {
    fn pop(&self, queue: &mut Queue<M>) -> Option<M> {
        let full = self.is_full(queue);
        let (message, size) = queue.messages.pop_front()?;
        queue.bytes -= size;
        if full && !self.is_full(queue) {
            self.room.notify_waiters();
        }
        Some(message)
    }

    fn is_full(&self, queue: &Queue<M>) -> bool {
        queue.messages.len() >= self.capacity.messages || queue.bytes >= self.capacity.bytes
    }

    fn reader_ended(&self) {
        let waker = {
            let mut queue = lock(&self.queue);
            queue.readers -= 1;
            queue.receiver.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the queue has room.
    async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if !self.is_full(&lock(&self.queue)) {
                return;
            }
            notified.await;
        }
    }
}

impl<M: Message> Shared<M> {
    fn start(self: &Arc<Self>, connection: Connection) {
        lock(&self.queue).readers += 1;
        let origin = connection.origin.clone();
        let ended = Ended(self.clone(), origin.clone());
        let task = tokio::spawn(read(self.clone(), connection, ended));
        lock(&self.open).push((origin, task.abort_handle()));
    }
}

/// Whatever ends a reading task, the receiver hears of it.
struct Ended<M>(Arc<Shared<M>>, Arc<Origin>);

impl<M> Drop for Ended<M> {
    fn drop(&mut self) {
        lock(&self.0.open).retain(|(origin, _)| !Arc::ptr_eq(origin, &self.1));
        self.0.reader_ended();
    }
}

async fn accept<M: Message>(shared: Arc<Shared<M>>) {
    loop {
        let rung = shared.door.bell.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        for fd in shared.door.arrivals() {
            shared.start(Connection::new(fd));
        }
        if shared.door.is_stopping() {
            break;
        }
        rung.await;
    }
    shared.reader_ended();
}

async fn read<M: Message>(shared: Arc<Shared<M>>, mut connection: Connection, _ended: Ended<M>) {
    let origin = connection.origin.clone();
    let source = match socket::watch(Source(origin.wire.clone()), Interest::READABLE) {
        Ok(source) => source,
        Err(error) => {
            connection.fault(&error);
            return;
        }
    };
    let mut stopped = false;
    loop {
        if take(&shared, &mut connection).await.is_err() {
            return;
        }
        let received = if stopped {
            connection.read()
        } else {
            let rung = shared.door.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if shared.door.is_stopping() {
                stopped = true;
                continue;
            }
            tokio::select! {
                biased;
                ready = source.readable() => {
                    let Ok(mut ready) = ready else { return };
                    let received = connection.read();
                    if matches!(received, Received::Bytes(_, true) | Received::Nothing) {
                        ready.clear_ready();
                    }
                    received
                }
                () = &mut rung => continue,
            }
        };
        match received {
            Received::Bytes(..) => {}
            Received::Nothing if stopped => {
                say_closed(&origin);
                return;
            }
            Received::Nothing => {}
            Received::End => {
                let _ = take(&shared, &mut connection).await;
                return;
            }
        }
    }
}

/// Moves complete frames into the queue, waiting for room between them, and behind them: at the bound nothing more is read.
async fn take<M: Message>(shared: &Arc<Shared<M>>, connection: &mut Connection) -> Result<(), ()> {
    loop {
        let (full, waker) = {
            let mut queue = lock(&shared.queue);
            let mut any = false;
            let full = loop {
                if shared.is_full(&queue) {
                    break true;
                }
                match connection.assembler.next() {
                    Ok(Some(frame)) => {
                        let size = frame.header.length as usize + HEADER;
                        if let Some(message) = open(&connection.origin, frame) {
                            queue.messages.push_back((message, size));
                            queue.bytes += size;
                            any = true;
                        }
                    }
                    Ok(None) => break false,
                    Err(error) => {
                        connection.fault(&error);
                        return Err(());
                    }
                }
            };
            connection.origin.busy.store(queue.messages.len() > 1, Ordering::Relaxed);
            (full, if any { queue.receiver.take() } else { None })
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        if !full {
            return Ok(());
        }
        shared.room().await;
    }
}
