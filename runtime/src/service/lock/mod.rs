//! [`Lock`]: mutual exclusion between processes, with the value that it protects.
//!
//! The value travels with the lock: whoever holds it has the value, and commits it on release. A holder that dies, or drops its
//! guard in a panic, gives the lock up as *abandoned*: the next one gets it at once, with the value as it was last
//! committed, and is told.

mod machine;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::machine::{LockMachine, Output, Release};
use super::client::{Answered, Late, ServiceError, request, request_over, service_operation, tell};
use super::handle::Handle;
use super::host::{Answers, Machine, Ticket};
use crate::actor::peer::Peer;
use crate::link::call::Link;
use crate::link::parcel::Parcel;
use crate::link::value::{EncodeError, Message};

/// A lock with its value, shared between processes.
///
/// It lives as long as the value that [`new`](Lock::new) returned (and its clones in that process); what was sent to other
/// processes are handles to it. The lock is handed over in the order of the requests and is not re-entrant.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Lock<T> {
    handle: Handle<Service>,
    #[serde(skip)]
    value: PhantomData<fn() -> T>,
}

/// Why a lock was not acquired, or not released.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else holds it. Only `try_lock` says so.
    #[error("the lock is held by somebody else")]
    WouldBlock,
    /// It was not free within the timeout.
    #[error("the lock was not free within the timeout")]
    Timeout,
    /// The guard no longer holds it: the connection to the lock's host was lost meanwhile.
    #[error("the lock is not held any more: the connection to its host was lost meanwhile")]
    NotHeld,
    /// The value cannot be sent; the lock is released with the last committed one.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The lock cannot be reached.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A value in the lock, as everyone shares it until somebody commits another.
#[derive(Clone)]
struct Stored(Arc<Result<Parcel, EncodeError>>);

#[derive(Serialize, Deserialize)]
enum Request {
    Acquire { wait: bool },
    Release { held: u64, verdict: Verdict },
}

#[derive(Serialize, Deserialize)]
enum Verdict {
    Commit(Parcel),
    Keep,
    Abandon,
}

#[derive(Serialize, Deserialize)]
enum Response {
    Granted { value: Result<Parcel, EncodeError>, abandoned: bool },
    WouldBlock,
    Closed,
    Released,
    NotHeld,
}

struct Service(LockMachine<Stored>);

impl Service {
    fn answer(outputs: Vec<Output<Stored>>, answers: &mut Answers<Response>) {
        for output in outputs {
            answers.push(match output {
                Output::Granted { ticket, value, abandoned } => {
                    let value = match &*value.0 {
                        Ok(parcel) => parcel.try_clone().map_err(|error| EncodeError {
                            type_name: "the lock's value".into(),
                            reason: format!("its descriptors could not be copied: {error}").into(),
                        }),
                        Err(error) => Err(error.clone()),
                    };
                    (ticket, Some(Response::Granted { value, abandoned }))
                }
                Output::WouldBlock(ticket) => (ticket, Some(Response::WouldBlock)),
                Output::Closed(ticket) => (ticket, Some(Response::Closed)),
                Output::Released(ticket) => (ticket, Some(Response::Released)),
                Output::NotHeld(ticket) => (ticket, Some(Response::NotHeld)),
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
            Request::Acquire { wait } => self.0.acquire(ticket, wait, &mut outputs),
            Request::Release { held, verdict } => {
                let verdict = match verdict {
                    Verdict::Commit(value) => Release::Commit(Stored(Arc::new(Ok(value)))),
                    Verdict::Keep => Release::Keep,
                    Verdict::Abandon => Release::Abandon,
                };
                self.0.release(ticket, held, verdict, &mut outputs);
            }
        }
        Service::answer(outputs, answers);
    }

    fn cancel(&mut self, ticket: Ticket, answers: &mut Answers<Response>) {
        let mut outputs = Vec::new();
        self.0.cancel(ticket, &mut outputs);
        Service::answer(outputs, answers);
    }

    fn gone(&mut self, client: u64, answers: &mut Answers<Response>) {
        let mut outputs = Vec::new();
        self.0.gone(client, &mut outputs);
        Service::answer(outputs, answers);
    }

    fn close(&mut self, answers: &mut Answers<Response>) {
        let mut outputs = Vec::new();
        self.0.close(&mut outputs);
        Service::answer(outputs, answers);
    }
}

impl<T: Message> Lock<T> {
    /// A new lock with its first value. `Lock<()>` where there is nothing to protect but the order of things.
    ///
    /// A value that cannot be sent is reported by the first `lock`.
    pub fn new(value: T) -> Lock<T> {
        let stored = Stored(Arc::new(Parcel::of(value)));
        Lock { handle: Handle::host(Service(LockMachine::new(stored))), value: PhantomData }
    }

    /// Waits until the lock is free, and takes it.
    ///
    /// Dropping the future takes the request back, also where the lock was just being granted.
    ///
    /// # Errors
    ///
    /// Where the lock is closed or its host died, and [`LockError::Timeout`] with `.timeout(..)`.
    pub fn lock(&self) -> Acquire<T> {
        Acquire { peer: self.handle.peer(), wait: true, timeout: None, value: PhantomData }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`LockError::WouldBlock`] where it is not, otherwise as [`lock`](Lock::lock).
    pub fn try_lock(&self) -> Acquire<T> {
        Acquire { peer: self.handle.peer(), wait: false, timeout: None, value: PhantomData }
    }
}

/// Taking a lock: see [`Lock::lock`].
#[must_use = "the lock is not taken until this is awaited (or `.blocking()` is called)"]
pub struct Acquire<T> {
    peer: Arc<Peer>,
    wait: bool,
    timeout: Option<Duration>,
    value: PhantomData<fn() -> T>,
}

impl<T: Message> Acquire<T> {
    async fn run(self) -> Result<LockGuard<T>, LockError> {
        let acquire = Request::Acquire { wait: self.wait };
        let answered = request(&self.peer, &acquire, self.timeout, Late::TakenBack, None).await?;
        let Some(Answered { link, call, response }) = answered else { return Err(LockError::Timeout) };
        match response {
            Response::Granted { value, abandoned } => {
                let held = Held { link, call };
                match value.map(Parcel::open) {
                    Ok(Ok(value)) => Ok(LockGuard { value: Some(value), held: Some(held), abandoned }),
                    // Nobody can hold what cannot be read: the lock goes on as it is.
                    Ok(Err(error)) => {
                        held.give_up(Verdict::Keep);
                        Err(ServiceError::Link(error.into()).into())
                    }
                    Err(error) => {
                        held.give_up(Verdict::Keep);
                        Err(error.into())
                    }
                }
            }
            Response::WouldBlock => Err(LockError::WouldBlock),
            Response::Closed => Err(ServiceError::Closed.into()),
            Response::Released | Response::NotHeld => Err(LockError::NotHeld),
        }
    }
}

service_operation! { impl [T: Message] Acquire<T> as "lock" => Result<LockGuard<T>, LockError> }

/// The hold itself.
struct Held {
    link: Arc<Link>,
    call: u64,
}

impl Held {
    fn give_up(self, verdict: Verdict) {
        tell(&self.link, &Request::Release { held: self.call, verdict });
    }
}

/// The lock, held, with its value.
///
/// [`release`](LockGuard::release) commits the value and confirms it. Dropping the guard commits too, without waiting for the confirmation;
/// in a panic, or with a value that cannot be sent, it gives the lock up as abandoned.
#[must_use = "the lock is released when the guard is dropped"]
pub struct LockGuard<T: Message> {
    value: Option<T>,
    held: Option<Held>,
    abandoned: bool,
}

impl<T: Message> LockGuard<T> {
    /// Whether the holder before this one died or gave up in a panic: the value is as it was last committed.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Commits the value, gives the lock to the next in line, and waits for the confirmation.
    ///
    /// # Errors
    ///
    /// Where the value cannot be sent (the lock is given up as abandoned then), or the lock's host is gone.
    pub fn release(mut self) -> Releasing {
        let held = self.held.take();
        let value = self.value.take();
        Releasing { verdict: value.map(Parcel::of), held, timeout: None }
    }
}

/// Releasing a lock: see [`LockGuard::release`].
#[must_use = "await this (or call `.blocking()`) for the confirmation"]
pub struct Releasing {
    verdict: Option<Result<Parcel, EncodeError>>,
    held: Option<Held>,
    timeout: Option<Duration>,
}

impl Releasing {
    async fn run(mut self) -> Result<(), LockError> {
        let (Some(verdict), Some(held)) = (self.verdict.take(), self.held.take()) else { return Err(LockError::NotHeld) };
        let value = match verdict {
            Ok(value) => value,
            Err(error) => {
                held.give_up(Verdict::Abandon);
                return Err(error.into());
            }
        };
        let release = Request::Release { held: held.call, verdict: Verdict::Commit(value) };
        match request_over(&held.link, &release, self.timeout, Late::Counts, None).await? {
            Some(Answered { response: Response::Released, .. }) => Ok(()),
            Some(_) => Err(LockError::NotHeld),
            None => Err(LockError::Timeout),
        }
    }
}

impl Drop for Releasing {
    /// Not awaited: released all the same.
    fn drop(&mut self) {
        if let (Some(verdict), Some(held)) = (self.verdict.take(), self.held.take()) {
            held.give_up(verdict.map_or(Verdict::Abandon, Verdict::Commit));
        }
    }
}

service_operation! { impl [] Releasing as "release" => Result<(), LockError> }

impl<T: Message> Drop for LockGuard<T> {
    fn drop(&mut self) {
        let (Some(held), Some(value)) = (self.held.take(), self.value.take()) else { return };
        let verdict = if std::thread::panicking() { Verdict::Abandon } else { Parcel::of(value).map_or(Verdict::Abandon, Verdict::Commit) };
        held.give_up(verdict);
    }
}

impl<T: Message> Deref for LockGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("only `release` and `drop` take the value, and both consume the guard"),
        }
    }
}

impl<T: Message> DerefMut for LockGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.value {
            Some(value) => value,
            None => unreachable!("only `release` and `drop` take the value, and both consume the guard"),
        }
    }
}

impl<T: Message + fmt::Debug> fmt::Debug for LockGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").field("value", &self.value).field("abandoned", &self.abandoned).finish_non_exhaustive()
    }
}

impl<T> Clone for Lock<T> {
    fn clone(&self) -> Self {
        Lock { handle: self.handle.clone(), value: PhantomData }
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({:?})", self.handle)
    }
}
