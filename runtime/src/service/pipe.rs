//! [`Pipe`]: two ends, typed, both ways, with nobody between them.
//!
//! The ends are the two descriptors of a socket pair. An end that is sent to another process moves there: its descriptor rides
//! along with the message, and the kernel keeps the account of who holds it. When the last holder of the far end is gone, what it had
//! sent is still received, and then `recv` says [`PipeError::Closed`].

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::client::service_operation;
use crate::link::assemble::{Assembler, Body};
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Header, Kind};
use crate::link::library::lock;
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait};
use crate::link::value::{self, DecodeError, EncodeError, Message};
use crate::link::wire::{Broken, Source, Wire};
use crate::wait::{self, Lead};

/// How long the sending of an end may wait for its far end to take what was sent before.
const FLUSH: Duration = Duration::from_secs(1);

/// Makes pipes: see [`Pipe::new`].
#[derive(Debug)]
pub struct Pipe<S, R = S>(PhantomData<fn(S) -> R>);

impl<T: Message> Pipe<T> {
    /// The two ends of a new pipe that carries messages of one type both ways.
    ///
    /// Where the process has no more descriptors, the first use of an end says so.
    #[expect(clippy::new_ret_no_self, reason = "a pipe is its two ends")]
    pub fn new() -> (PipeEnd<T>, PipeEnd<T>) {
        Pipe::<T, T>::duplex()
    }
}

impl<S: Message, R: Message> Pipe<S, R> {
    /// The two ends of a new pipe with a type for each direction.
    pub fn duplex() -> (PipeEnd<S, R>, PipeEnd<R, S>) {
        match socket::pair() {
            Ok((left, right)) => (PipeEnd::over(left, &[]), PipeEnd::over(right, &[])),
            Err(error) => {
                let error = error.to_string();
                (PipeEnd::failed(error.clone()), PipeEnd::failed(error))
            }
        }
    }
}

/// One end of a pipe: sends `S`, receives `R`.
///
/// To be sent to another process it is given away, as an argument or inside a message; it is no handle that could be cloned.
pub struct PipeEnd<S, R = S> {
    end: Result<Arc<End>, String>,
    types: PhantomData<fn(S) -> R>,
}

struct End {
    wire: Arc<Wire>,
    assembler: Mutex<Assembler>,
    /// One receiver at a time; its readiness, and the runtime that this is registered with.
    receiver: tokio::sync::Mutex<Option<(tokio::runtime::Id, AsyncFd<Source>)>>,
}

/// Why a pipe did not carry a message.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// The far end is gone, and everything it had sent has been received.
    #[error("the far end of the pipe is gone")]
    Closed,
    /// Nothing came, or there was no room, within the timeout.
    #[error("nothing moved through the pipe within the timeout")]
    Timeout,
    /// The message cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What came is no message of this type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The pipe failed.
    #[error("the pipe failed: {0}")]
    Failed(String),
}

impl<S: Message, R: Message> PipeEnd<S, R> {
    fn over(fd: OwnedFd, unread: &[u8]) -> PipeEnd<S, R> {
        let mut assembler = Assembler::new(FRAME_CAP);
        let mut rest = unread;
        while !rest.is_empty() {
            let (buffer, room) = assembler.space();
            let (now, later) = rest.split_at(rest.len().min(room));
            buffer.extend_from_slice(now);
            rest = later;
        }
        let end = End { wire: Wire::new(fd), assembler: Mutex::new(assembler), receiver: tokio::sync::Mutex::new(None) };
        PipeEnd { end: Ok(Arc::new(end)), types: PhantomData }
    }

    fn failed(why: String) -> PipeEnd<S, R> {
        PipeEnd { end: Err(why), types: PhantomData }
    }

    /// Sends a message. Waits while the pipe is full.
    ///
    /// # Errors
    ///
    /// [`PipeError::Closed`] where the far end is gone.
    pub fn send(&self, message: S) -> PipeSend<S> {
        PipeSend { end: self.end.clone(), message, timeout: None }
    }

    /// Receives the next message. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`PipeError::Closed`] where the far end is gone and everything it had sent has been received.
    pub fn recv(&self) -> PipeRecv<R> {
        PipeRecv { end: self.end.clone(), timeout: None, message: PhantomData }
    }
}

/// Sending through a pipe: see [`PipeEnd::send`].
#[must_use = "nothing is sent until this is awaited (or `.blocking()` is called)"]
pub struct PipeSend<S> {
    end: Result<Arc<End>, String>,
    message: S,
    timeout: Option<Duration>,
}

impl<S: Message> PipeSend<S> {
    async fn run(self) -> Result<(), PipeError> {
        let end = self.end.map_err(PipeError::Failed)?;
        let header = Header::new(Kind::Tell, 0);
        loop {
            match end.wire.post_message(|queue| queue.push(header, |bytes| value::encode(&self.message, bytes))) {
                Some(Ok(Ok(()))) => return Ok(()),
                Some(Ok(Err(Broken))) => return Err(PipeError::Closed),
                Some(Err(error)) => return Err(error.into()),
                None => {
                    let mut room = Box::pin(end.wire.room());
                    if wait::within(self.timeout, &mut room).await.is_none() {
                        return Err(PipeError::Timeout);
                    }
                }
            }
        }
    }
}

service_operation! { impl [S: Message] PipeSend<S> as "send" => Result<(), PipeError> }

/// Receiving from a pipe: see [`PipeEnd::recv`].
#[must_use = "nothing is received until this is awaited (or `.blocking()` is called)"]
pub struct PipeRecv<R> {
    end: Result<Arc<End>, String>,
    timeout: Option<Duration>,
    message: PhantomData<fn() -> R>,
}

impl<R: Message> PipeRecv<R> {
    async fn run(self) -> Result<R, PipeError> {
        let end = self.end.map_err(PipeError::Failed)?;
        let mut receiving = Box::pin(end.recv());
        wait::within(self.timeout, &mut receiving).await.unwrap_or(Err(PipeError::Timeout))
    }
}

service_operation! { impl [R: Message] PipeRecv<R> as "recv" => Result<R, PipeError> }

impl End {
    async fn recv<R: Message>(self: &Arc<Self>) -> Result<R, PipeError> {
        let mut receiver = self.receiver.lock().await;
        loop {
            if let Some(message) = self.next()? {
                return Ok(message);
            }
            // Nobody else reads: what is not here yet is in the socket.
            match self.read(Wait::No)? {
                Received::Bytes(..) => continue,
                Received::End => return self.next()?.ok_or(PipeError::Closed),
                Received::Nothing => {}
            }
            if wait::is_blocking() {
                let mut led = false;
                std::future::poll_fn(|_| {
                    if std::mem::replace(&mut led, true) {
                        return std::task::Poll::Ready(());
                    }
                    wait::lead(self.clone());
                    std::task::Poll::Pending
                })
                .await;
                continue;
            }
            let runtime = Handle::try_current().map_err(|error| PipeError::Failed(error.to_string()))?.id();
            if receiver.as_ref().is_none_or(|(id, _)| *id != runtime) {
                let source = socket::watch(Source(self.wire.clone()), Interest::READABLE);
                *receiver = Some((runtime, source.map_err(|error| PipeError::Failed(error.to_string()))?));
            }
            if let Some((_, source)) = receiver.as_ref() {
                let mut ready = source.readable().await.map_err(|error| PipeError::Failed(error.to_string()))?;
                match self.read(Wait::No)? {
                    Received::Bytes(_, false) => {}
                    Received::Bytes(_, true) | Received::Nothing => ready.clear_ready(),
                    Received::End => return self.next()?.ok_or(PipeError::Closed),
                }
            }
        }
    }

    fn read(&self, wait: Wait) -> Result<Received, PipeError> {
        match socket::receive(self.wire.fd(), &mut lock(&self.assembler), wait) {
            Ok(received) => Ok(received),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(Received::End),
            Err(error) => Err(PipeError::Failed(error.to_string())),
        }
    }

    /// The next message of those that have arrived whole.
    fn next<R: Message>(&self) -> Result<Option<R>, PipeError> {
        let mut assembler = lock(&self.assembler);
        match assembler.next().map_err(|error| PipeError::Failed(error.to_string()))? {
            None => Ok(None),
            Some(frame) => Ok(Some(match frame.body {
                Body::Borrowed(bytes) => value::decode(frame.header.flags, bytes, frame.descriptors)?,
                Body::Owned(bytes) => value::decode_owned(frame.header.flags, bytes, frame.descriptors)?,
            })),
        }
    }
}

impl Lead for End {
    fn lead(self: Arc<Self>, deadline: Option<Instant>) {
        let _ready = socket::wait_for(self.wire.fd(), PollFlags::IN, deadline);
    }
}

impl<S, R> fmt::Debug for PipeEnd<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PipeEnd")
    }
}

/// An end on its way: its descriptor, and what had arrived here but was not received.
#[derive(Serialize, Deserialize)]
struct Moved {
    socket: Attached,
    unread: Parcel,
}

impl<S, R> Serialize for PipeEnd<S, R> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let end = self.end.as_ref().map_err(ser::Error::custom)?;
        let _ = end.wire.flush(Some(Instant::now() + FLUSH));
        if end.wire.is_pending() {
            return Err(ser::Error::custom("the pipe is full of messages that this end has sent: it cannot be given away yet"));
        }
        let unread = lock(&end.assembler).unread().map(<[u8]>::to_vec);
        let unread = unread.ok_or_else(|| {
            ser::Error::custom(
                "a message with descriptors, or part of a large one, has arrived at this end: receive it before giving the end away",
            )
        })?;
        let socket = Attached(end.wire.fd().try_clone_to_owned().map_err(ser::Error::custom)?);
        Moved { socket, unread: Parcel { body: unread, ..Parcel::default() } }.serialize(serializer)
    }
}

impl<'de, S: Message, R: Message> Deserialize<'de> for PipeEnd<S, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Moved { socket: Attached(fd), unread } = Moved::deserialize(deserializer)?;
        if unread.body.len() > 2 * crate::link::outgoing::LARGE {
            return Err(de::Error::custom("more unread bytes than an end of a pipe can hold"));
        }
        Ok(PipeEnd::over(fd, &unread.body))
    }
}
