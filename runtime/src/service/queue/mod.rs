//! [`Queue`]: first in, first out, between any processes of the family.
//!
//! The queue's host has the items: a `put` that returned has been accepted there, so a producer may exit at once and loses nothing.
//! A get that times out, or whose future is dropped, loses nothing either: an item that was on its way goes back to the front.

mod machine;

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::machine::{Output, QueueMachine};
use super::client::{Answered, Late, ServiceError, request, service_operation, tell};
use super::handle::Handle;
use super::host::{Answers, Machine, Ticket};
use crate::actor::peer::Peer;
use crate::link::call::Undo;
use crate::link::parcel::Parcel;
use crate::link::value::{EncodeError, Message};

/// A queue shared between processes.
///
/// It lives as long as the value that [`bounded`](Queue::bounded) returned (and its clones in that process); what was sent to other processes
/// are handles to it.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Queue<T> {
    handle: Handle<Service>,
    #[serde(skip)]
    item: PhantomData<fn(T) -> T>,
}

/// Why an item was not put; it comes back.
pub struct PutError<T> {
    /// The item.
    pub item: T,
    /// Why it was not put.
    pub reason: PutReason,
}

/// Why an item was not put.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutReason {
    /// The queue is full. Only `try_put` says so.
    #[error("the queue is full")]
    Full,
    /// The queue had no room within the timeout.
    #[error("the queue had no room within the timeout")]
    Timeout,
    /// The queue was closed: it takes no more items.
    #[error("the queue was closed: it takes no more items")]
    Closed,
    /// The item cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The queue cannot be reached.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why there is no item.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is empty. Only `try_get` says so.
    #[error("the queue is empty")]
    Empty,
    /// No item came within the timeout.
    #[error("no item came within the timeout")]
    Timeout,
    /// The queue was closed, and everything in it has been taken.
    #[error("the queue was closed and is empty")]
    Closed,
    /// The queue cannot be reached.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the item was not put: {}", self.reason)
    }
}

impl<T> std::error::Error for PutError<T> {}

#[derive(Serialize, Deserialize)]
enum Request {
    Put { item: Parcel, wait: bool },
    Get { wait: bool },
    Unget(Parcel),
    Close,
    Len,
}

#[derive(Serialize, Deserialize)]
enum Response {
    Accepted,
    Full,
    Item(Parcel),
    Empty,
    Closed,
    Len(u64),
}

struct Service(QueueMachine<Parcel>);

impl Service {
    fn answer(outputs: Vec<Output<Parcel>>, answers: &mut Answers<Response>) {
        for output in outputs {
            answers.push(match output {
                Output::Accepted(ticket) => (ticket, Some(Response::Accepted)),
                Output::Full { ticket, .. } => (ticket, Some(Response::Full)),
                Output::Item { ticket, item } => (ticket, Some(Response::Item(item))),
                Output::Empty(ticket) => (ticket, Some(Response::Empty)),
                Output::Closed { ticket, .. } => (ticket, Some(Response::Closed)),
                Output::Cancelled { ticket, .. } => (ticket, None),
            });
        }
    }
}

impl Machine for Service {
    type Request = Request;
    type Response = Response;

    fn handle(&mut self, ticket: Ticket, request: Request, answers: &mut Answers<Response>) {
        let mut outputs = Vec::new();
        match request {
            Request::Put { item, wait } => self.0.put(ticket, item, wait, &mut outputs),
            Request::Get { wait } => self.0.get(ticket, wait, &mut outputs),
            Request::Unget(item) => self.0.unget(item, &mut outputs),
            Request::Close => {
                self.0.close(&mut outputs);
                answers.push((ticket, Some(Response::Closed)));
            }
            Request::Len => answers.push((ticket, Some(Response::Len(self.0.len() as u64)))),
        }
        Service::answer(outputs, answers);
    }

    fn cancel(&mut self, ticket: Ticket, answers: &mut Answers<Response>) {
        let mut outputs = Vec::new();
        self.0.cancel(ticket, &mut outputs);
        Service::answer(outputs, answers);
    }

    fn gone(&mut self, client: u64, _answers: &mut Answers<Response>) {
        self.0.gone(client);
    }

    fn close(&mut self, answers: &mut Answers<Response>) {
        let mut outputs = Vec::new();
        self.0.close(&mut outputs);
        Service::answer(outputs, answers);
    }
}

impl<T: Message> Queue<T> {
    /// A queue with room for so many items; puts wait for room. A capacity of 0 is taken as 1.
    pub fn bounded(capacity: usize) -> Queue<T> {
        Queue::host(QueueMachine::bounded(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN)))
    }

    /// A queue that takes whatever comes. Its host keeps it in memory: use [`bounded`](Queue::bounded) wherever producers may be faster than
    /// consumers.
    pub fn unbounded() -> Queue<T> {
        Queue::host(QueueMachine::unbounded())
    }

    fn host(machine: QueueMachine<Parcel>) -> Queue<T> {
        Queue { handle: Handle::host(Service(machine)), item: PhantomData }
    }

    /// Puts an item at the end; waits for room where there is none. `Ok` means that the queue has it.
    ///
    /// # Errors
    ///
    /// The item comes back, with the reason.
    pub fn put(&self, item: T) -> Put<T> {
        Put { peer: self.handle.peer(), item, wait: true, timeout: None }
    }

    /// Puts an item at the end if there is room.
    ///
    /// # Errors
    ///
    /// [`PutReason::Full`] where there is none, otherwise as [`put`](Queue::put).
    pub fn try_put(&self, item: T) -> Put<T> {
        Put { peer: self.handle.peer(), item, wait: false, timeout: None }
    }

    /// Takes the first item; waits for one where there is none. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] once the queue is closed and empty.
    pub fn get(&self) -> Get<T> {
        Get { peer: self.handle.peer(), wait: true, timeout: None, item: PhantomData }
    }

    /// Takes the first item if there is one.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] where there is none, otherwise as [`get`](Queue::get).
    pub fn try_get(&self) -> Get<T> {
        Get { peer: self.handle.peer(), wait: false, timeout: None, item: PhantomData }
    }

    /// Closes the queue: it takes no more items, and those in it are still given out. Closing again does nothing.
    pub fn close(&self) -> Ask<()> {
        Ask { peer: self.handle.peer(), request: Request::Close, read: |_| (), timeout: None }
    }

    /// How many items are in the queue.
    pub fn len(&self) -> Ask<usize> {
        let read = |response| if let Response::Len(len) = response { usize::try_from(len).unwrap_or(usize::MAX) } else { 0 };
        Ask { peer: self.handle.peer(), request: Request::Len, read, timeout: None }
    }

    /// Whether there is no item in the queue.
    pub fn is_empty(&self) -> Ask<bool> {
        Ask { peer: self.handle.peer(), request: Request::Len, read: |response| matches!(response, Response::Len(0)), timeout: None }
    }
}

/// Putting an item: see [`Queue::put`].
#[must_use = "nothing is put until this is awaited (or `.blocking()` is called)"]
pub struct Put<T> {
    peer: Arc<Peer>,
    item: T,
    wait: bool,
    timeout: Option<Duration>,
}

impl<T: Message> Put<T> {
    async fn run(self) -> Result<(), PutError<T>> {
        let reason = match Parcel::encode(&self.item) {
            Err(error) => error.into(),
            Ok(parcel) => {
                let put = Request::Put { item: parcel, wait: self.wait };
                match request(&self.peer, &put, self.timeout, Late::Counts, None).await {
                    Ok(Some(Answered { response: Response::Accepted, .. })) => return Ok(()),
                    Ok(Some(Answered { response: Response::Full, .. })) => PutReason::Full,
                    Ok(Some(_)) => PutReason::Closed,
                    Ok(None) => PutReason::Timeout,
                    Err(error) => error.into(),
                }
            }
        };
        Err(PutError { item: self.item, reason })
    }
}

service_operation! { impl [T: Message] Put<T> as "put" => Result<(), PutError<T>> }

/// Taking an item: see [`Queue::get`].
#[must_use = "nothing is taken until this is awaited (or `.blocking()` is called)"]
pub struct Get<T> {
    peer: Arc<Peer>,
    wait: bool,
    timeout: Option<Duration>,
    item: PhantomData<fn() -> T>,
}

impl<T: Message> Get<T> {
    async fn run(self) -> Result<T, GetError> {
        // An item for which nobody waits any more goes back to where it was.
        let undo: Undo = Box::new(|link, response| {
            if let Ok(Response::Item(item)) = response.open() {
                tell(link, &Request::Unget(item));
            }
        });
        match request(&self.peer, &Request::Get { wait: self.wait }, self.timeout, Late::Counts, Some(undo)).await? {
            Some(Answered { response: Response::Item(item), .. }) => item.open().map_err(|error| ServiceError::Link(error.into()).into()),
            Some(Answered { response: Response::Empty, .. }) => Err(GetError::Empty),
            Some(_) => Err(GetError::Closed),
            None => Err(GetError::Timeout),
        }
    }
}

service_operation! { impl [T: Message] Get<T> as "get" => Result<T, GetError> }

/// A question to a queue.
#[must_use = "nothing happens until this is awaited (or `.blocking()` is called)"]
pub struct Ask<R> {
    peer: Arc<Peer>,
    request: Request,
    read: fn(Response) -> R,
    timeout: Option<Duration>,
}

impl<R: Send + 'static> Ask<R> {
    async fn run(self) -> Result<R, ServiceError> {
        let answered = request(&self.peer, &self.request, self.timeout, Late::Counts, None).await?;
        answered.map(|answered| (self.read)(answered.response)).ok_or(ServiceError::Link(crate::actor::error::AskError::Timeout))
    }
}

service_operation! { impl [R: Send + 'static] Ask<R> as "queue" => Result<R, ServiceError> }

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { handle: self.handle.clone(), item: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({:?})", self.handle)
    }
}
