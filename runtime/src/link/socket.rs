//! The system calls of a link: connected pairs of Unix stream sockets, reading and writing them with descriptors.
//!
//! Sockets stay in blocking mode and each call says whether it may wait (`MSG_DONTWAIT`): the same socket serves an event loop
//! and a thread that blocks in it. Everything is close-on-exec from birth, descriptors that arrive included.

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::assemble::Assembler;
use super::frame::MAX_DESCRIPTORS;

/// Whether a call may block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Return [`io::ErrorKind::WouldBlock`] instead.
    No,
    /// Block as long as it takes.
    Yes,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes; `true` where the socket had no more than that for now.
    Bytes(usize, bool),
    /// The far end is closed and everything it sent has been read.
    End,
    /// Nothing for now.
    Nothing,
}

/// A connected pair.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Writes some of `slices`, with `descriptors` riding on the first byte.
pub(crate) fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>], descriptors: &[BorrowedFd<'_>], wait: Wait) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL | if wait == Wait::No { SendFlags::DONTWAIT } else { SendFlags::empty() };
    loop {
        let sent = if descriptors.is_empty() {
            sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), flags)
        } else {
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(descriptors));
            sendmsg(fd, slices, &mut control, flags)
        };
        match sent {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Room for the control messages of one read: as many descriptors as a frame may carry.
const CONTROL: usize = {
    // SAFETY: CMSG_SPACE only computes a size.
    unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * mem::size_of::<libc::c_int>()) as u32) as usize }
};

#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; CONTROL]);

/// Reads once into `assembler`. Descriptors that arrive join its queue; where the kernel had to drop some (this process has no
/// more), the assembler knows, and the frame that misses them fails alone.
pub(crate) fn receive(fd: BorrowedFd<'_>, assembler: &mut Assembler, wait: Wait) -> io::Result<Received> {
    let flags = libc::MSG_CMSG_CLOEXEC | if wait == Wait::No { libc::MSG_DONTWAIT } else { 0 };
    let mut control = Control([MaybeUninit::uninit(); CONTROL]);
    let (buffer, room) = assembler.space();
    let spare = buffer.spare_capacity_mut();
    let room = room.min(spare.len());
    let mut slice = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: room };
    // SAFETY: an all-zero msghdr is a valid value: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL;
    let read = loop {
        // SAFETY: `message` points at `slice`, which covers spare capacity of `buffer`, and at `control`; all outlive the call, and
        // the kernel writes within their lengths.
        let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, flags) };
        if read >= 0 {
            break read as usize;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            _ => return Err(error),
        }
    };
    // SAFETY: the kernel has just initialised `read` bytes of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + read) };
    // A read ends behind bytes that carried descriptors, whatever follows: only a short read without any has emptied the socket.
    let carried = message.msg_controllen > 0;
    if carried {
        take_descriptors(&message, assembler);
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        assembler.truncated();
    }
    if read == 0 { Ok(Received::End) } else { Ok(Received::Bytes(read, read < room && !carried)) }
}

/// Moves the descriptors of a received control message into the assembler's queue.
fn take_descriptors(message: &libc::msghdr, assembler: &mut Assembler) {
    // SAFETY: `message` was filled by a successful recvmsg and its control buffer is alive; the CMSG macros walk within it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for index in 0..bytes / mem::size_of::<libc::c_int>() {
                    // Each number is a descriptor that the kernel has just installed for us alone.
                    assembler.attach(OwnedFd::from_raw_fd(first.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// Blocks until `fd` is ready for `events` or the deadline passed; false for the latter.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let mut fds = [PollFd::from_borrowed_fd(fd, events)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A duration as the kernel takes it; one too long for it is as good as for ever.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// Something that owns a descriptor: the same one, open, for as long as it lives.
pub(crate) trait Owner: AsRawFd {}

impl Owner for OwnedFd {}

/// Registers a descriptor with the current event loop.
///
/// # Panics
///
/// Outside a runtime, or on one whose I/O is not enabled, as everything of tokio's that waits for I/O.
pub(crate) fn watch<T: Owner>(source: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: an `Owner` keeps its descriptor open and the same for as long as it lives, and the `AsyncFd` takes it in.
    Ok(unsafe { AsyncFd::register_with_interest(source, interest) }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::frame::{FRAME_CAP, Header, Kind};
    use rustix::fd::AsFd;

    #[test]
    fn bytes_and_descriptors_arrive_in_order() {
        let (a, b) = pair().unwrap();
        let mut header = Header::new(Kind::Tell, 0);
        header.descriptors = 1;
        let plain = Header::new(Kind::Tell, 1).encode();
        let encoded = header.encode();
        send(a.as_fd(), &[IoSlice::new(&plain)], &[], Wait::Yes).unwrap();
        send(a.as_fd(), &[IoSlice::new(&encoded)], &[b.as_fd()], Wait::Yes).unwrap();
        drop(a);
        let mut assembler = Assembler::new(FRAME_CAP);
        while receive(b.as_fd(), &mut assembler, Wait::Yes).unwrap() != Received::End {}
        assert_eq!(assembler.next().unwrap().unwrap().descriptors.len(), 0);
        assert_eq!(assembler.next().unwrap().unwrap().descriptors.len(), 1);
        assert!(assembler.next().unwrap().is_none());
    }

    #[test]
    fn a_read_that_may_not_wait_does_not() {
        let (_a, b) = pair().unwrap();
        assert_eq!(receive(b.as_fd(), &mut Assembler::new(FRAME_CAP), Wait::No).unwrap(), Received::Nothing);
    }
}
