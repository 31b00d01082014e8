//! The floors: what each case stands on, written by hand, with nothing but system calls.
//!
//! They run in a helper process, this program executed once more, which does what it is told over a socket on its standard input: one
//! byte names a floor, eight bytes come back, what one round of it measured. The far sides are children that the helper forks; it has one
//! thread, so they may go on as ordinary processes.

mod birth;
pub mod bulk;
mod idle;
mod pingpong;
mod pool;
mod stream;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

use crate::place::Sides;
use crate::pool::{long, spin};

/// In the environment of the helper alone.
const HELPER: &str = "PROCESSION_BENCHES_HELPER";

/// A floor: measures one round and gives the picoseconds of one operation, or whatever number its case compares.
type Floor = fn() -> u64;

const FLOORS: &[(&str, Floor)] = &[
    ("birth", birth::measure),
    ("one core", || pingpong::measure(Sides::OneCore)),
    ("two cores", || pingpong::measure(Sides::TwoCores)),
    ("pipelined bytes", stream::pipelined_bytes),
    ("pipelined values", stream::pipelined_values),
    ("one way", stream::one_way),
    ("bulk", bulk::measure),
    ("idle", idle::measure),
    ("pool numbers", pool::numbers),
    ("pool particles", pool::particles),
    ("pool singles", pool::singles),
    ("pool echoed", pool::echoed),
    ("pool copied", pool::copied),
    ("pool short", || pool::halves(long::SHORT)),
    ("pool middle", || pool::halves(long::MIDDLE)),
    ("pool mixed", || pool::halves(long::MIXED)),
];

/// The helper, as the cases use it.
pub struct Floors {
    stream: RefCell<UnixStream>,
    child: Child,
}

impl Floors {
    pub fn start() -> Floors {
        let (stream, theirs) = UnixStream::pair().expect("a socket pair");
        let mut command = Command::new("/proc/self/exe");
        command.env(HELPER, "1").env(spin::ROUNDS, spin::rounds_of_a_microsecond().to_string()).stdin(OwnedFd::from(theirs));
        let child = command.spawn().expect("the helper");
        Floors { stream: RefCell::new(stream), child }
    }

    /// One round of a floor: the time of one operation.
    pub fn time(&self, name: &str) -> Duration {
        Duration::from_secs_f64(self.number(name) as f64 * 1e-12)
    }

    /// One round of a floor: the seconds of one operation, also where that is but a few picoseconds.
    pub fn seconds(&self, name: &str) -> f64 {
        self.number(name) as f64 * 1e-12
    }

    /// One round of a floor: its number.
    pub fn number(&self, name: &str) -> u64 {
        let index = FLOORS.iter().position(|(known, _)| *known == name).expect("a floor of this name");
        let mut stream = self.stream.borrow_mut();
        stream.write_all(&[index as u8]).expect("the helper listens");
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).expect("the helper answers");
        u64::from_le_bytes(answer)
    }
}

impl Drop for Floors {
    fn drop(&mut self) {
        let _ = self.stream.borrow().shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Whether this process is the helper.
pub fn is_helper() -> bool {
    std::env::var_os(HELPER).is_some()
}

/// The helper's whole life.
pub fn serve() {
    let mut orders = UnixStream::from(rustix::io::dup(rustix::stdio::stdin()).expect("a descriptor"));
    let mut order = [0];
    while orders.read_exact(&mut order).is_ok() {
        let Some((_, floor)) = FLOORS.get(usize::from(order[0])) else { return };
        if orders.write_all(&floor().to_le_bytes()).is_err() {
            return;
        }
    }
}

/// The picoseconds of one operation.
fn picoseconds(total: Duration, count: usize) -> u64 {
    (total.as_nanos() * 1000 / count.max(1) as u128) as u64
}

/// The other side of a floor's socket: a forked child that runs `far` with it and exits. The child is reaped by [`Far::end`].
struct Far(libc::pid_t);

impl Far {
    fn start(far: impl FnOnce(UnixStream)) -> (UnixStream, Far) {
        let (near, theirs) = UnixStream::pair().expect("a socket pair");
        // SAFETY: the helper has one thread, so the child's copy of memory is consistent and it may go on as an ordinary process.
        match unsafe { libc::fork() } {
            0 => {
                drop(near);
                far(theirs);
                // SAFETY: ends this process at once, without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
            pid => {
                assert!(pid > 0, "fork");
                (near, Far(pid))
            }
        }
    }

    /// Waits for the child's end; its socket must be closed before.
    fn end(self) {
        // SAFETY: waits for a child of this process; no status is asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}
