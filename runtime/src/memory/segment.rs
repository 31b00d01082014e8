//! The memory under a blob: a sealed memfd that is written by its maker, and again when everybody has let go of it.
//!
//! Used memory is worth keeping. A new page costs a fault and its clearing, five to ten times what it costs to copy a page's
//! bytes to one that is there already.
//!
//! # Who still reads
//!
//! The kernel counts the open files of an inode, and tells: it grants a *write lease* (`F_SETLEASE`, `F_WRLCK`) only to one
//! who has the only one. The maker has an open file of its own, through which it mapped the memory. With each lending it opens
//! the inode anew, for reading only, by way of `/proc/self/fd`, and gives *that* open file away. Copies of it, in whatever process,
//! in a socket or under a mapping, are one and the same open file, and it ends with the last of them. So a lease that is granted
//! (and given back at once) says that nobody is left. There is no way to answer wrongly for it: no count that a reader who was
//! killed would not lower, no lock that a reader could let go of and read on.
//!
//! The file that `memfd_create` returns is not counted as open for writing, so the maker exchanges it for one that is.
//! Where one of these steps is not to be had (no `/proc`, leases turned off, a sandbox, a system that only looks like Linux), a
//! segment is never free and is used once; nothing else changes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec, pwrite, retry_on_intr};

use super::mapping::Mapping;

/// Memory is made ready in steps of this size where it is not known how much will be written.
const STEP: usize = 1 << 20;
/// From this size on, bytes for new memory are written by a system call: it costs less than the faults would.
const BY_CALL: usize = 4096;
/// The use that shows that the segment is in steady use, and worth huge pages.
const STEADY: u32 = 3;

/// The memory. Who has it as a value or a `&mut` is the only one to use it, in all processes; what is lent is behind an `Arc`.
pub(super) struct Segment {
    file: OwnedFd,
    map: Mapping,
    /// Whether it can be known when nobody reads it any more.
    counted: bool,
    sealed: bool,
    /// How many times it was taken up again.
    uses: u32,
    /// Behind this many bytes everything is zero.
    dirty: usize,
    /// So many bytes from the start have memory, and are in the page table.
    ready: usize,
}

impl Segment {
    /// New memory, all zeros. It takes no room before it is written.
    pub(super) fn create(capacity: usize) -> io::Result<Segment> {
        let size = u64::try_from(capacity).map_err(io::Error::other)?;
        let made = memfd_create("procession-blob", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&made, size)?;
        let (file, counted) = match reopen(&made, OFlags::RDWR) {
            Ok(file) => {
                let counted = quiet(&file);
                (file, counted)
            }
            Err(_) => (made, false),
        };
        let map = Mapping::writable(file.as_fd(), capacity)?;
        Ok(Segment { file, map, counted, sealed: false, uses: 0, dirty: 0, ready: 0 })
    }

    /// How many bytes it can hold.
    pub(super) fn capacity(&self) -> usize {
        self.map.length()
    }

    /// Its first byte. There is no reading behind what was filled, and no reading at all while somebody fills.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.map.start()
    }

    /// Whether it can ever be known to be free, so that keeping it makes sense.
    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    /// Whether nobody else, in any process, has an open file on it.
    pub(super) fn is_free(&mut self) -> bool {
        self.counted && lease(&self.file, libc::F_WRLCK) && lease(&self.file, libc::F_UNLCK)
    }

    /// It is taken up again, for a blob of about so many bytes.
    pub(super) fn reuse(&mut self, length: usize) {
        self.uses = self.uses.saturating_add(1);
        // Should this fail, filling says so.
        let _ = self.prepare(length.min(self.capacity()));
        if self.uses == STEADY {
            self.map.collapse();
        }
    }

    /// Copies bytes to `at`.
    pub(super) fn fill(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let end = self.end(at, bytes.len())?;
        if !self.sealed && end > self.ready && bytes.len() >= BY_CALL {
            return self.write(at, bytes);
        }
        self.prepare_ahead(end)?;
        self.dirty = self.dirty.max(end);
        // SAFETY: `at..end` lies in the mapping, which is writable and has memory there. Nobody else uses it (`&mut self`), so the source
        // cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start().as_ptr().add(at), bytes.len()) };
        Ok(())
    }

    /// Bytes from `at` on, up to `length`, to be written in place. They hold anything.
    pub(super) fn room(&mut self, at: usize, length: usize) -> io::Result<&mut [u8]> {
        let end = self.end(at, length)?;
        self.prepare_ahead(end)?;
        self.dirty = self.dirty.max(end);
        // SAFETY: in the mapping, as above; the memory is initialised (a memfd begins as zeros), and `&mut self` makes this the only
        // reference to it, here and anywhere.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr().add(at), length) })
    }

    /// The same as [`fill`](Segment::fill), by a system call.
    fn write(&mut self, mut at: usize, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match pwrite(&self.file, bytes, at as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written;
                    self.dirty = self.dirty.max(at);
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The first `length` bytes.
    pub(super) fn filled(&self, length: usize) -> &[u8] {
        let length = length.min(self.capacity());
        // SAFETY: in the mapping; nothing is written while `self` is borrowed shared: writing takes a `&mut`.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), length) }
    }

    /// Makes it a blob's, of the first `length` bytes: seals it, and opens the file that readers get.
    pub(super) fn lend(&mut self, length: usize) -> io::Result<OwnedFd> {
        self.forget_behind(length);
        if !self.sealed {
            fcntl_add_seals(&self.file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
            self.sealed = true;
        }
        if self.counted {
            match reopen(&self.file, OFlags::RDONLY) {
                Ok(file) => return Ok(file),
                // A sandbox that was entered since, for one.
                Err(_) => self.counted = false,
            }
        }
        Ok(fcntl_dupfd_cloexec(&self.file, LOWEST)?)
    }

    /// Nothing of an older blob travels behind a newer one: its reader has a descriptor of the whole segment.
    fn forget_behind(&mut self, length: usize) {
        if let Some(stale) = self.dirty.checked_sub(length).filter(|stale| *stale > 0) {
            // SAFETY: `length..dirty` lies in the mapping and has been written, so it has memory; nobody else uses it (`&mut self`).
            unsafe { std::ptr::write_bytes(self.start().as_ptr().add(length), 0, stale) };
        }
        self.dirty = self.dirty.min(length);
    }

    fn end(&self, at: usize, length: usize) -> io::Result<usize> {
        let end = at.checked_add(length).filter(|end| *end <= self.capacity());
        end.ok_or_else(|| io::Error::other("more bytes than the segment can hold"))
    }

    /// Makes at least the first `end` bytes ready.
    fn prepare_ahead(&mut self, end: usize) -> io::Result<()> {
        if end <= self.ready {
            return Ok(());
        }
        self.prepare(end.next_multiple_of(STEP).min(self.capacity()))
    }

    /// Gives the first `end` bytes memory. A fault that finds none is a SIGBUS; this is an error value.
    fn prepare(&mut self, end: usize) -> io::Result<()> {
        if end <= self.ready {
            return Ok(());
        }
        let (from, length) = (self.ready as u64, (end - self.ready) as u64);
        retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), from, length))?;
        self.map.populate(self.ready, end);
        self.ready = end;
        Ok(())
    }
}

/// The lowest number that a copy of a descriptor gets: one that is taken for a standard stream would be inherited.
const LOWEST: i32 = 3;

/// The same inode as a new open file.
fn reopen(file: &OwnedFd, access: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = open(path, access | OFlags::CLOEXEC, Mode::empty())?;
    if opened.as_raw_fd() >= LOWEST {
        return Ok(opened);
    }
    Ok(fcntl_dupfd_cloexec(&opened, LOWEST)?)
}

/// Asks for a lease, or gives it back.
fn lease(file: &OwnedFd, kind: i32) -> bool {
    // SAFETY: fcntl with two integers, on a descriptor that is open.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) == 0 }
}

/// Who opens the inode in the instant of a lease makes the kernel signal its holder. By default that is SIGIO, which ends a process;
/// SIGURG is ignored. Nobody but a debugger can do it: whoever else could has kept the lease from being granted.
fn quiet(file: &OwnedFd) -> bool {
    // Not in `libc` for every target; the value is the same on all.
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: as above.
    unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) == 0 }
}

#[cfg(test)]
mod tests;
