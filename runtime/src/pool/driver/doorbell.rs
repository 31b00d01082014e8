//! What a pool waits on: one `epoll` instance with all workers' sockets, a bell and a timer.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::time::{ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime};
use rustix::time::{timerfd_create, timerfd_settime};

use crate::link::socket;

/// The bell's token among the events; workers count from 1.
pub(super) const BELL: u64 = 0;
/// The timer's.
pub(super) const TIMER: u64 = u64::MAX;
/// Events taken at once.
const EVENTS: usize = 32;

/// Who has something to say, and whether it has room for more to be written.
pub(super) type Events = Vec<(u64, bool)>;

/// Nanoseconds of the machine's clock that only goes forward; the same in all processes.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

pub(super) struct Doorbell {
    epoll: OwnedFd,
    bell: OwnedFd,
    timer: OwnedFd,
}

impl Doorbell {
    pub(super) fn new() -> io::Result<Doorbell> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        Ok(Doorbell { epoll, bell, timer })
    }

    pub(super) fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// The bell has been heard.
    pub(super) fn silence(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Rings the timer at this time, and then no more.
    pub(super) fn set_timer(&self, at: u64) {
        let at = Timespec { tv_sec: (at / 1_000_000_000) as i64, tv_nsec: (at % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once);
    }

    /// The timer has been heard.
    pub(super) fn silence_timer(&self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }

    pub(super) fn add(&self, socket: impl AsFd, worker: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(worker), epoll::EventFlags::IN)?)
    }

    /// Whether to ring when the worker's socket has room, too.
    pub(super) fn modify(&self, socket: impl AsFd, worker: u64, room: bool) {
        let flags = if room { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        let _ = epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(worker), flags);
    }

    pub(super) fn remove(&self, socket: impl AsFd) {
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Waits for events, no longer than to the deadline.
    pub(super) fn wait(&self, events: &mut Events, deadline: Option<Instant>, block: bool) {
        events.clear();
        let timeout = match (block, deadline) {
            (false, _) => Some(socket::timespec(Duration::ZERO)),
            (true, Some(deadline)) => Some(socket::timespec(deadline.saturating_duration_since(Instant::now()))),
            (true, None) => None,
        };
        // Interrupted is as good as nothing: whoever waits comes again.
        let mut buffer = [const { MaybeUninit::uninit() }; EVENTS];
        if let Ok((taken, _)) = epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            events.extend(taken.iter().map(|event| {
                let flags = event.flags;
                (event.data.u64(), flags.intersects(epoll::EventFlags::OUT))
            }));
        }
    }
}

/// The doorbell as an event loop's source of readiness.
pub(super) struct Source(pub(super) Arc<Doorbell>);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.epoll.as_raw_fd()
    }
}

impl socket::Owner for Source {}
