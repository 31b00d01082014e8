//! What a spawner holds: [`Process`], and for a mailbox actor [`Actor`].

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::builder;
use super::control::{Action, Born};
use super::error::JoinError;
use crate::actor::address::{Address, MAIN_PORT};
use crate::actor::ask::operation;
use crate::actor::peer;
use crate::actor::reference::ActorRef;
use crate::exit::{ActorId, ExitReport};
use crate::link::library::lock;
use crate::link::parcel::Parcel;
use crate::link::value::Message;

/// A child as its owner keeps it.
pub(crate) struct Child {
    born: Born,
    report: OnceLock<Arc<ExitReport>>,
    value: Mutex<Option<Parcel>>,
    bell: Notify,
}

/// The living children of this process.
static CHILDREN: Mutex<Option<HashMap<ActorId, Arc<Child>>>> = Mutex::new(None);

/// A child is born; its spawner is about to hear of it.
fn register(born: Born) -> Arc<Child> {
    let id = born.id;
    let child = Arc::new(Child { born, report: OnceLock::new(), value: Mutex::new(None), bell: Notify::new() });
    lock(&CHILDREN).get_or_insert_default().insert(id, child.clone());
    child
}

/// A child on its way to its spawner. Where that has stopped waiting, nobody would ever have a handle to it: it is killed.
pub(crate) struct Newborn(Option<Arc<Child>>);

impl Newborn {
    pub(crate) fn new(born: Born) -> Newborn {
        Newborn(Some(register(born)))
    }

    pub(crate) fn claim(mut self) -> Option<Arc<Child>> {
        self.0.take()
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            builder::act(child.born.id, Action::Kill);
        }
    }
}

/// A child has ended.
pub(crate) fn ended(report: &Arc<ExitReport>, value: Option<Parcel>) {
    let child = lock(&CHILDREN).as_mut().and_then(|children| children.remove(&report.id));
    if let Some(child) = child {
        *lock(&child.value) = value;
        let _ = child.report.set(report.clone());
        child.bell.notify_waiters();
    }
}

/// The living children of this process: those it spawned that have not ended.
pub fn children() -> Vec<ChildInfo> {
    let mut children: Vec<_> = match lock(&CHILDREN).as_ref() {
        Some(children) => {
            children.values().map(|child| ChildInfo { id: child.born.id, name: child.born.name.clone(), pid: child.born.pid }).collect()
        }
        None => Vec::new(),
    };
    children.sort_by_key(|child| child.id);
    children
}

/// One living child: see [`children`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its identity in the family.
    pub id: ActorId,
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

impl Child {
    async fn ended(&self) -> Arc<ExitReport> {
        loop {
            let rung = self.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if let Some(report) = self.report.get() {
                return report.clone();
            }
            rung.await;
        }
    }

    async fn join<R: Message>(&self) -> Result<R, JoinError> {
        let report = self.ended().await;
        match lock(&self.value).take() {
            Some(parcel) => Ok(parcel.open()?),
            None if report.is_success() => Err(JoinError::Taken),
            None => Err(JoinError::Died(report)),
        }
    }
}

/// The spawner's handle to a child process.
///
/// Dropping it ends nothing: the child lives until it returns, is stopped, or its owner ends.
pub struct Process<R> {
    child: Arc<Child>,
    value: PhantomData<fn() -> R>,
}

impl<R: Message> Process<R> {
    pub(crate) fn new(child: Arc<Child>) -> Process<R> {
        Process { child, value: PhantomData }
    }

    /// Waits for the function to return, and gives its value.
    ///
    /// May be awaited again after a timeout; the value itself is given once. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`JoinError::Died`] with the exit report where the function did not return.
    pub fn join(&self) -> Join<R> {
        Join { child: self.child.clone(), timeout: None, value: PhantomData }
    }

    /// Waits for the process to end, however it does, and gives the report.
    pub fn exit(&self) -> Exit {
        Exit { child: self.child.clone(), timeout: None }
    }

    /// Asks the actor to stop, and waits for its value.
    ///
    /// Its mailbox closes: what has arrived is still given out, then the function is expected to return. A process that is still
    /// there after the grace (5 s, or what its builder set) gets SIGTERM, and one grace later, at most a second, SIGKILL. Which of them it took
    /// is in the exit report's [`stop`](ExitReport::stop). With `.grace(..)` this call's own. Dropping the future does not take the stop back.
    ///
    /// # Errors
    ///
    /// As [`join`](Process::join).
    pub fn stop(&self) -> Stop<R> {
        Stop { child: self.child.clone(), grace: Duration::from_millis(self.child.born.grace_ms), timeout: None, value: PhantomData }
    }

    /// Sends SIGTERM. Does nothing where the process has ended.
    pub fn terminate(&self) {
        self.act(Action::Terminate);
    }

    /// Sends SIGKILL. Does nothing where the process has ended.
    pub fn kill(&self) {
        self.act(Action::Kill);
    }

    /// The same, because a task of its did not stop.
    pub(crate) fn kill_for_task(&self) {
        self.act(Action::KillForTask);
    }

    fn act(&self, action: Action) {
        if self.is_alive() {
            builder::act(self.child.born.id, action);
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.born.pid
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        &self.child.born.name
    }

    /// The actor's identity in the family.
    pub fn id(&self) -> ActorId {
        self.child.born.id
    }

    /// Whether the process has not been reported as ended yet.
    pub fn is_alive(&self) -> bool {
        self.child.report.get().is_none()
    }

    /// The exit report, if the process has ended.
    pub fn report(&self) -> Option<Arc<ExitReport>> {
        self.child.report.get().cloned()
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({} `{}`, pid {})", self.child.born.id, self.child.born.name, self.child.born.pid)
    }
}

/// The spawner's handle to a child with a mailbox: a [`Process`] that is an [`ActorRef`] too.
pub struct Actor<R, M> {
    process: Process<R>,
    reference: ActorRef<M>,
}

impl<R: Message, M: Message> Actor<R, M> {
    pub(crate) fn new(child: Arc<Child>) -> Actor<R, M> {
        let address = Address { actor: child.born.id, port: MAIN_PORT, key: child.born.key };
        Actor { process: Process::new(child), reference: ActorRef::new(address) }
    }

    /// The process, without its mailbox.
    pub fn process(&self) -> &Process<R> {
        &self.process
    }

    /// A handle for others.
    pub fn reference(&self) -> ActorRef<M> {
        self.reference.clone()
    }

    /// See [`Process::join`].
    pub fn join(&self) -> Join<R> {
        self.process.join()
    }

    /// See [`Process::exit`].
    pub fn exit(&self) -> Exit {
        self.process.exit()
    }

    /// See [`Process::stop`].
    pub fn stop(&self) -> Stop<R> {
        self.process.stop()
    }

    /// See [`Process::terminate`].
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// See [`Process::kill`].
    pub fn kill(&self) {
        self.process.kill();
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Whether the process has not been reported as ended yet.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// The exit report, if the process has ended.
    pub fn report(&self) -> Option<Arc<ExitReport>> {
        self.process.report()
    }
}

impl<R, M> Deref for Actor<R, M> {
    type Target = ActorRef<M>;

    fn deref(&self) -> &ActorRef<M> {
        &self.reference
    }
}

impl<R, M> fmt::Debug for Actor<R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(f)
    }
}

/// Waiting for a return value: see [`Process::join`].
#[must_use = "nothing is waited for until this is awaited (or `.blocking()` is called)"]
pub struct Join<R> {
    child: Arc<Child>,
    timeout: Option<Duration>,
    value: PhantomData<fn() -> R>,
}

impl<R: Message> Join<R> {
    async fn run(self) -> Result<R, JoinError> {
        self.child.join().await
    }

    fn timed_out() -> Result<R, JoinError> {
        Err(JoinError::Timeout)
    }
}

operation! { impl [R: Message] Join<R> as "join" => Result<R, JoinError> }

/// Waiting for a process's end: see [`Process::exit`].
#[must_use = "nothing is waited for until this is awaited (or `.blocking()` is called)"]
pub struct Exit {
    child: Arc<Child>,
    timeout: Option<Duration>,
}

impl Exit {
    async fn run(self) -> Result<Arc<ExitReport>, JoinError> {
        Ok(self.child.ended().await)
    }

    fn timed_out() -> Result<Arc<ExitReport>, JoinError> {
        Err(JoinError::Timeout)
    }
}

operation! { impl [] Exit as "exit" => Result<Arc<ExitReport>, JoinError> }

/// Stopping an actor: see [`Process::stop`].
#[must_use = "nothing is stopped until this is awaited (or `.blocking()` is called)"]
pub struct Stop<R> {
    child: Arc<Child>,
    grace: Duration,
    timeout: Option<Duration>,
    value: PhantomData<fn() -> R>,
}

impl<R: Message> Stop<R> {
    /// How long the actor has before SIGTERM.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    async fn run(self) -> Result<R, JoinError> {
        if self.child.report.get().is_none() {
            // What was told before comes before the stop.
            peer::flush(self.child.born.id, self.grace).await;
            let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
            builder::act(self.child.born.id, Action::Stop { grace_ms });
        }
        self.child.join().await
    }

    fn timed_out() -> Result<R, JoinError> {
        Err(JoinError::Timeout)
    }
}

operation! { impl [R: Message] Stop<R> as "stop" => Result<R, JoinError> }
