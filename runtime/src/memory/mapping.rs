//! A segment's place in this process's address space.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// The size and alignment of a huge page where they are smallest.
const HUGE: usize = 2 << 20;

/// Shared memory that is mapped. It says nothing about who else writes there: that is for its users to know.
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to no thread, and it is only a place: whoever reads or writes there has its own argument.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes for reading.
    pub(super) fn readable(fd: BorrowedFd<'_>, length: usize) -> io::Result<Mapping> {
        Mapping::new(fd, length, ProtFlags::READ)
    }

    /// Maps the first `length` bytes for reading and writing.
    pub(super) fn writable(fd: BorrowedFd<'_>, length: usize) -> io::Result<Mapping> {
        Mapping::new(fd, length, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn new(fd: BorrowedFd<'_>, length: usize, protection: ProtFlags) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice, over no memory of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("the kernel mapped nothing"))?;
        Ok(Mapping { start, length })
    }

    /// Its first byte.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes are mapped.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Brings in the pages of `from..to` at once, which costs less than a fault for each. Where the kernel cannot (before 5.14), the
    /// faults come one by one.
    pub(super) fn populate(&self, from: usize, to: usize) {
        if from < to && to <= self.length {
            // SAFETY: the range lies in this mapping, and populating changes no byte of it.
            let _ = unsafe { madvise(self.start.as_ptr().add(from).cast(), to - from, Advice::LinuxPopulateWrite) };
        }
    }

    /// Puts the contents on huge pages, where the kernel can (from 6.1): its readers then have one fault for 2 MiB.
    pub(super) fn collapse(&self) {
        // Not in `libc` for every target; the value is the same on all.
        const MADV_COLLAPSE: libc::c_int = 25;
        let whole = self.length - self.length % HUGE;
        if whole > 0 {
            // SAFETY: the range lies in this mapping, and collapsing changes no byte of it.
            let _ = unsafe { libc::madvise(self.start.as_ptr().cast(), whole, MADV_COLLAPSE) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping was made by `new`, and nothing borrowed from it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
