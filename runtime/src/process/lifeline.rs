//! The lifeline: every process of a family ends when its root does, whatever either is doing.
//!
//! The root alone holds the write end of one pipe. Each child opens the read end *for itself*, through `/proc/self/fd`, because
//! what follows is a property of the open file description: it asks the kernel for SIGKILL when something happens on it
//! (`F_SETOWN`, `F_SETSIG`, `O_ASYNC`). Nobody ever writes, so what happens is the end of the root. A child in a busy loop needs
//! no cooperation, and no nursery has to live. A parent-death signal would not do: it is tied to the thread that created
//! the child, and would end children with their nursery.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

/// Ties this process to the lifeline whose read end is `shared`; gives the descriptor that has to stay open.
pub(crate) fn hold(shared: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", shared.as_raw_fd());
    let own = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    arm(own.as_fd())?;
    Ok(own)
}

fn arm(own: BorrowedFd<'_>) -> io::Result<()> {
    // `F_SETSIG` is not in `libc` for every target; its value is the same on all Linux architectures.
    const F_SETSIG: libc::c_int = 10;
    let fd = own.as_raw_fd();
    let flags = OFlags::NONBLOCK.bits() as libc::c_int | libc::O_ASYNC;
    // SAFETY: fcntl with these commands takes integers and touches no memory of ours.
    let failed = unsafe {
        libc::fcntl(fd, libc::F_SETOWN, libc::getpid()) < 0
            || libc::fcntl(fd, F_SETSIG, libc::SIGKILL) < 0
            || libc::fcntl(fd, libc::F_SETFL, flags) < 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    if is_cut(own) {
        // The root ended before the kernel was asked to say so.
        return Err(io::Error::other("the root of the family has ended"));
    }
    Ok(())
}

/// Whether the root has ended.
pub(crate) fn is_cut(end: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::from_borrowed_fd(end, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
}
