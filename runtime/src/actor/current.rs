//! The running actor itself: who it is, who started it, and whether it was asked to stop.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::family::family;
use crate::exit::ActorId;

/// Who this process is. See [`current`].
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) id: ActorId,
    pub(crate) name: String,
    pub(crate) parent: Option<Parent>,
}

/// The process that spawned this one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parent {
    /// Its identity in the family.
    pub id: ActorId,
    /// Its name.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

static IDENTITY: OnceLock<Identity> = OnceLock::new();
static STOPPING: AtomicBool = AtomicBool::new(false);
static STOP_BELL: Notify = Notify::const_new();

pub(crate) fn set(identity: Identity) {
    let _ = IDENTITY.set(identity);
}

/// Tells whether the task that this process runs is to stop, where it runs tasks.
static TASK: OnceLock<Box<dyn Fn() -> bool + Send + Sync>> = OnceLock::new();

/// This process runs tasks; `stopped` tells whether the present one is to stop.
pub(crate) fn watch_task(stopped: Box<dyn Fn() -> bool + Send + Sync>) {
    let _ = TASK.set(stopped);
}

/// This process was asked to stop.
pub(crate) fn stop() {
    STOPPING.store(true, Ordering::Release);
    STOP_BELL.notify_waiters();
}

/// The running actor; in the root, and in a program that is no member of a family, the program itself.
pub fn current() -> Current {
    Current { _private: () }
}

/// The running actor: its name, ids and parent, and whether a stop was requested.
#[derive(Clone, Copy, Debug)]
pub struct Current {
    _private: (),
}

impl Current {
    /// The actor's name; `main` in the root.
    pub fn name(&self) -> &'static str {
        IDENTITY.get().map_or("main", |identity| identity.name.as_str())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The actor's identity in the family.
    pub fn id(&self) -> ActorId {
        IDENTITY.get().map_or(ActorId::ROOT, |identity| identity.id)
    }

    /// The process that spawned this one; `None` in the root.
    pub fn parent(&self) -> Option<Parent> {
        IDENTITY.get().and_then(|identity| identity.parent.clone())
    }

    /// Whether somebody asked this actor to stop. A mailbox says so by itself, by ending; a function actor that runs long looks
    /// here from time to time. In a pool's task: whether this task is to stop, because it was cancelled or its time is up; it has
    /// the pool's grace to return until its worker is killed.
    pub fn stop_requested(&self) -> bool {
        if TASK.get().is_some_and(|stopped| stopped()) {
            return true;
        }
        if !STOPPING.load(Ordering::Acquire)
            && let Some(family) = family()
        {
            family.take_news();
        }
        STOPPING.load(Ordering::Acquire)
    }

    /// Waits until somebody asks this actor to stop.
    pub async fn stopped(&self) {
        if let Some(family) = family() {
            family.serve();
        }
        loop {
            let rung = STOP_BELL.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if STOPPING.load(Ordering::Acquire) {
                return;
            }
            rung.await;
        }
    }
}
