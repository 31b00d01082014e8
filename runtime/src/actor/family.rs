//! What the rooms below need of the process they run in: introductions, and word of deaths.
//!
//! The room of processes provides it, once, when the process becomes a member of a family.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::address::Address;
use crate::exit::{ActorId, ExitReport};

/// Why there is no connection to an address.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// No actor has this address, or the handle's key is not the actor's.
    Unknown,
    /// The actor has ended.
    Ended(Arc<ExitReport>),
    /// No descriptor, no memory, no thread.
    Failed(String),
}

pub(crate) type Connected = Result<OwnedFd, Refusal>;

/// This process's place in its family.
pub(crate) trait Family: Send + Sync {
    fn me(&self) -> ActorId;

    /// Asks for a connection to `address`.
    fn connect(&self, address: Address) -> oneshot::Receiver<Connected>;

    /// Asks to be told when `actor` ends; answers at once where it has.
    fn watch(&self, actor: ActorId) -> oneshot::Receiver<Arc<ExitReport>>;

    /// Sees that introductions and other news are taken in by the library thread from now on, without anybody's help.
    fn serve(&self);

    /// The socket on which news arrives, for a thread that takes it in by itself while it waits in its mailbox.
    fn news(&self) -> Option<BorrowedFd<'_>>;

    /// Takes in the news that has arrived.
    fn take_news(&self);
}

static FAMILY: OnceLock<&'static dyn Family> = OnceLock::new();

/// The family, where this process has one already.
pub(crate) fn family() -> Option<&'static dyn Family> {
    FAMILY.get().copied()
}

/// Joins a family; once a process.
pub(crate) fn join(family: &'static dyn Family) {
    let _ = FAMILY.set(family);
}
