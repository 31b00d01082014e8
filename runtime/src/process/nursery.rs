//! The nursery: the family's small helper process, which forks every actor and reaps it.
//!
//! It is the program's own image, held inside [`init`](super::init) before anything of the program ran: one thread, no runtime, no
//! locks held by others, so forking it is safe and a birth costs a fork instead of an exec. It does nothing but wait for three
//! things: the root's requests, the end of a child (a pidfd becomes readable), and the end of the root (its link or the lifeline),
//! at which it ends everything below it and then itself.
//!
//! **What a child inherits.** The nursery's own descriptors all lie at or above a floor, which is above everything that the preload
//! left open; a child closes everything from the floor up with one call. Nothing here uses randomly seeded maps, whose seeds
//! every child would share.
//!
//! **When it is killed** the children go on, tied to the root by the lifeline alone. The root starts another.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::builder::base_environment;
use super::control::{Forked, Hello, LastWords, NurseryFork, Places, Reaped};
use super::{boot, init, lifeline, signals, strays};
use crate::link::assemble::{Assembler, Body};
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Header, Kind};
use crate::link::outgoing::Outgoing;
use crate::link::socket::{self, Received, Wait};
use crate::link::value;

/// As much as a main thread has.
const PRELOAD_STACK: usize = 8 * 1024 * 1024;
const LINK: u64 = u64::MAX;
const LIFELINE: u64 = u64::MAX - 1;

/// What a new child is told by the nursery itself: where its descriptors are.
pub(crate) struct Newborn {
    pub(crate) control: OwnedFd,
    pub(crate) lifeline: OwnedFd,
}

struct Nursery {
    link: OwnedFd,
    assembler: Assembler,
    lifeline: OwnedFd,
    epoll: OwnedFd,
    floor: RawFd,
    children: BTreeMap<u32, Child>,
}

struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Runs the nursery to its end; in a child that it forked, the child's life to its end. Never returns.
pub(crate) fn run(link: OwnedFd, preload: Option<fn()>, threads: usize) -> ! {
    signals::deafen();
    let _ = rustix::thread::set_name(c"nursery");
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    match Nursery::begin(link, preload, threads) {
        Ok(mut nursery) => {
            nursery.serve();
            strays::end(|_| false);
            std::process::exit(0);
        }
        Err(error) => {
            tracing::error!(%error, "the nursery could not start");
            std::process::exit(1)
        }
    }
}

impl Nursery {
    fn begin(link: OwnedFd, preload: Option<fn()>, threads: usize) -> io::Result<Nursery> {
        // The first message brings the lifeline; it is on its way before this process exists.
        let mut assembler = Assembler::new(FRAME_CAP);
        let lifeline = loop {
            if let Some(mut frame) = assembler.next().map_err(io::Error::other)? {
                break frame.descriptors.pop().ok_or_else(|| io::Error::other("no lifeline came"))?;
            }
            if socket::receive(link.as_fd(), &mut assembler, Wait::Yes)? == Received::End {
                // The root ended meanwhile.
                std::process::exit(0);
            }
        };
        init::remember_environment();
        let failed = preload.and_then(|preload| run_preload(preload, threads).err());
        // What every child starts from, and compares with when it has children of its own.
        base_environment();
        // Whatever was printed so far must not come out of every child's buffer again.
        let _ = io::Write::flush(&mut io::stdout());
        let floor = highest_descriptor()? + 1;
        let raise = |fd: OwnedFd| fcntl_dupfd_cloexec(fd, floor);
        let (link, lifeline) = (raise(link)?, raise(lifeline)?);
        let epoll = raise(epoll::create(CreateFlags::CLOEXEC)?)?;
        epoll::add(&epoll, &link, EventData::new_u64(LINK), EventFlags::IN)?;
        epoll::add(&epoll, &lifeline, EventData::new_u64(LIFELINE), EventFlags::IN)?;
        let nursery = Nursery { link, assembler, lifeline, epoll, floor, children: BTreeMap::new() };
        match failed {
            None => nursery.tell(Kind::Hello, &Hello::mine()),
            Some(why) => {
                nursery.tell(Kind::Failed, &LastWords::NotStarted(why));
                std::process::exit(1);
            }
        }
        Ok(nursery)
    }

    /// Until the root ends.
    fn serve(&mut self) {
        loop {
            loop {
                match self.assembler.next() {
                    Ok(Some(frame)) if frame.header.kind == Kind::Spawn => {
                        let bytes = match &frame.body {
                            Body::Borrowed(bytes) => bytes,
                            Body::Owned(bytes) => bytes.as_slice(),
                        };
                        match value::decode::<NurseryFork>(frame.header.flags, bytes, frame.descriptors) {
                            Ok(request) => self.fork(request),
                            // Its descriptors did not all arrive: this process can hold no more.
                            Err(_) => {
                                let slot = u32::try_from(frame.header.call).unwrap_or_default();
                                self.tell(Kind::Spawned, &Forked { slot, child: Err(libc::EMFILE) });
                            }
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            let mut events = [MaybeUninit::uninit(); 64];
            let ready = match epoll::wait(&self.epoll, &mut events, None) {
                Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect::<Vec<_>>(),
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            for token in ready {
                match token {
                    LINK => match socket::receive(self.link.as_fd(), &mut self.assembler, Wait::No) {
                        Ok(Received::End) | Err(_) => return,
                        Ok(_) => {}
                    },
                    LIFELINE => return,
                    slot => self.reap(slot as u32),
                }
            }
        }
    }

    fn fork(&mut self, request: NurseryFork) {
        let NurseryFork { slot, fresh, control: Attached(control), places } = request;
        // SAFETY: this process has one thread that runs (under the test harness a second one waits and holds nothing), so the child's
        // copy of memory is consistent and it may go on as an ordinary process.
        let child = match unsafe { libc::fork() } {
            0 => self.become_child(control, places, fresh),
            -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN)),
            pid => self.adopt(slot, pid).map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE)),
        };
        self.tell(Kind::Spawned, &Forked { slot, child });
    }

    fn adopt(&mut self, slot: u32, pid: libc::pid_t) -> io::Result<(u32, Attached)> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no pid"))?;
        let opened = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| {
            let pidfd = fcntl_dupfd_cloexec(pidfd, self.floor)?;
            let copy = fcntl_dupfd_cloexec(&pidfd, self.floor)?;
            epoll::add(&self.epoll, &pidfd, EventData::new_u64(slot.into()), EventFlags::IN)?;
            Ok((pidfd, copy))
        });
        match opened {
            Ok((pidfd, copy)) => {
                self.children.insert(slot, Child { pid, pidfd });
                Ok((pid.as_raw_nonzero().get() as u32, Attached(copy)))
            }
            Err(error) => {
                // A child that cannot be watched is not kept.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
                Err(error.into())
            }
        }
    }

    fn reap(&mut self, slot: u32) {
        let Some(child) = self.children.get(&slot) else { return };
        let mut status = 0;
        // SAFETY: an all-zero rusage is a valid value; wait4 writes to `status` and `used`, which outlive the call.
        let (reaped, used) = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            (libc::wait4(child.pid.as_raw_nonzero().get(), &mut status, libc::WNOHANG, &mut used), used)
        };
        if reaped == 0 {
            return;
        }
        let cpu_time = time(used.ru_utime) + time(used.ru_stime);
        if let Some(child) = self.children.remove(&slot) {
            let _ = epoll::delete(&self.epoll, &child.pidfd);
        }
        self.tell(Kind::Ended, &Reaped { slot, status, cpu_time });
        let children = &self.children;
        strays::end(|pid| children.values().any(|child| child.pid.as_raw_nonzero().get() == pid));
    }

    /// Tells the root, and waits until it is written: a queue would need a thread, and nothing is forked from two threads. The root
    /// always reads; if it does not any more, its end is the next event.
    fn tell<T: serde::Serialize + 'static>(&self, kind: Kind, body: &T) {
        let mut queue = Outgoing::default();
        if queue.push(Header::new(kind, 0), |bytes| value::encode(body, bytes)).is_ok() {
            while let Ok(false) = queue.write(self.link.as_fd(), Wait::Yes) {}
        }
    }

    /// The forked side: keeps what is the child's, closes the rest, lives.
    fn become_child(&mut self, control: OwnedFd, places: Places, fresh: bool) -> ! {
        match self.settle(control, places) {
            Ok(newborn) if fresh => init::exec_fresh(&newborn),
            Ok(newborn) => boot::live(newborn),
            // The control link closes with this process; the status tells the rest.
            Err(_) => std::process::exit(boot::UNSETTLED),
        }
    }

    fn settle(&mut self, control: OwnedFd, places: Places) -> io::Result<Newborn> {
        signals::hear_again()?;
        place(places)?;
        let held = lifeline::hold(self.lifeline.as_fd())?;
        // Above the descriptors that close below: two places at the floor are the child's own.
        let (control, held) = (fcntl_dupfd_cloexec(control, self.floor + 2)?, fcntl_dupfd_cloexec(held, self.floor + 2)?);
        // SAFETY: all descriptors from the floor up belong to the nursery (whose structures this process never touches again) or
        // are the two just made, which are moved below before the rest closes.
        unsafe {
            if libc::dup3(control.as_raw_fd(), self.floor, libc::O_CLOEXEC) < 0
                || libc::dup3(held.as_raw_fd(), self.floor + 1, libc::O_CLOEXEC) < 0
                || libc::syscall(libc::SYS_close_range, self.floor + 2, libc::c_int::MAX, 0) < 0
            {
                return Err(io::Error::last_os_error());
            }
            std::mem::forget((control, held));
            Ok(Newborn { control: OwnedFd::from_raw_fd(self.floor), lifeline: OwnedFd::from_raw_fd(self.floor + 1) })
        }
    }
}

fn time(value: libc::timeval) -> Duration {
    Duration::new(value.tv_sec.cast_unsigned(), value.tv_usec as u32 * 1000)
}

/// Puts the streams and the directory in their places.
fn place(places: Places) -> io::Result<()> {
    let null = || rustix::fs::open(c"/dev/null", rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty());
    let or_null = |stream: Option<Attached>| stream.map_or_else(null, |stream| Ok(stream.0));
    rustix::stdio::dup2_stdin(or_null(places.stdin)?)?;
    rustix::stdio::dup2_stdout(or_null(places.stdout)?)?;
    rustix::stdio::dup2_stderr(or_null(places.stderr)?)?;
    rustix::process::fchdir(places.directory.0)?;
    Ok(())
}

/// Runs the preload on a thread of its own: a thread's random seeds are drawn once and kept, and those of this thread become every
/// child's.
fn run_preload(preload: fn(), threads: usize) -> Result<(), String> {
    let thread = std::thread::Builder::new().name("preload".to_owned()).stack_size(PRELOAD_STACK).spawn(preload);
    let thread = thread.map_err(|error| format!("the preload function could not be run: {error}"))?;
    thread.join().map_err(|_| "the preload function panicked".to_owned())?;
    // A thread that was joined is still listed for a moment.
    for _ in 0..1000 {
        match init::thread_count() {
            Ok(count) if count > threads => std::thread::sleep(std::time::Duration::from_micros(500)),
            _ => return Ok(()),
        }
    }
    Err("the preload function left a thread running; children are forked, and a fork has only one thread".to_owned())
}

fn highest_descriptor() -> io::Result<RawFd> {
    let mut highest = 2;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            highest = highest.max(fd);
        }
    }
    Ok(highest)
}
