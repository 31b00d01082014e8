//! What the root does about the limits of an actor: it samples resident sizes, and tells a death by a limit from others.
//!
//! One task looks at all actors with a memory limit, and lives only while there are any: without them an idle root stays idle.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::Signal;

use super::node::Node;
use crate::exit::KillReason;
use crate::link::attach::Attached;
use crate::link::library::{self, lock};
use crate::process::limits::Limits;
use crate::process::resident::Resident;
use crate::process::starved;

/// How often resident sizes are looked at.
const EVERY: Duration = Duration::from_millis(50);

/// The limits of one actor, as its root keeps them.
pub(super) struct Limited {
    pub(super) limits: Limits,
    /// Where a process with a memory limit leaves its mark when it dies of a failed allocation.
    mark: Option<OwnedFd>,
}

impl Limited {
    pub(super) fn new(limits: Limits) -> io::Result<Limited> {
        let mark = match limits.memory {
            Some(_) => Some(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?),
            None => None,
        };
        Ok(Limited { limits, mark })
    }

    /// The actor's own copy of the descriptor for its mark.
    pub(super) fn mark(&self) -> io::Result<Option<Attached>> {
        self.mark.as_ref().map(|mark| mark.try_clone().map(Attached)).transpose()
    }

    /// The limit that ended a process by this signal, after so much CPU time, if one did.
    pub(super) fn reason(&self, signal: i32, cpu_time: Duration) -> Option<KillReason> {
        if let (Some(limit), Some(mark)) = (self.limits.memory, &self.mark)
            && starved::SIGNALS.contains(&signal)
            && is_ready(mark)
        {
            return Some(KillReason::MemoryLimit { limit, used: None });
        }
        let limit = self.limits.cpu_time?;
        // SIGKILL comes from the kernel where SIGXCPU was not heeded.
        let ended_it = signal == libc::SIGXCPU || signal == libc::SIGKILL && cpu_time >= limit;
        ended_it.then_some(KillReason::CpuTimeLimit { limit })
    }
}

/// Something can be read: of an eventfd that it was written to, of a pidfd that its process has ended.
fn is_ready(fd: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
}

/// One actor that is looked at.
struct Watched {
    node: Arc<Node>,
    resident: Resident,
    /// The size from which its limit counts.
    at_birth: u64,
    limit: u64,
}

/// The task that looks at them runs exactly while there are any.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// Looks at an actor's resident size from now on, if it has a memory limit, which counts from `at_birth`.
pub(super) fn watch(node: &Arc<Node>, at_birth: u64) {
    let Some(limit) = node.limited.limits.memory else { return };
    let resident = match Resident::of(node.pid()) {
        Ok(resident) => resident,
        // It has ended, or the program may not look; the limit of its data holds all the same.
        Err(error) => return tracing::debug!(actor = %node.id, %error, "a resident size cannot be watched"),
    };
    // If it is there still, the number was its own all the time.
    if !matches!(node.pidfd(), Some(Ok(pidfd)) if !is_ready(&pidfd)) {
        return;
    }
    let mut watched = lock(&WATCHED);
    watched.push(Watched { node: node.clone(), resident, at_birth, limit });
    if watched.len() == 1
        && let Ok(library) = library::handle()
    {
        library.spawn(sample());
    }
}

async fn sample() {
    loop {
        tokio::time::sleep(EVERY).await;
        let mut watched = lock(&WATCHED);
        watched.retain(Watched::look);
        if watched.is_empty() {
            // Not for as many as there once were.
            watched.shrink_to_fit();
            return;
        }
    }
}

impl Watched {
    /// Whether to look again.
    fn look(&self) -> bool {
        let Ok(resident) = self.resident.read() else { return false };
        let used = resident.saturating_sub(self.at_birth);
        if used > self.limit {
            self.node.signal(Signal::KILL, KillReason::MemoryLimit { limit: self.limit, used: Some(used) });
        }
        used <= self.limit && !self.node.is_over()
    }
}
