//! The memory that a worker shares with its pool.
//!
//! It holds two slots, for the batch being run and the one that waits. A slot has a *claim* (how many tasks have been claimed from
//! the front, and where the batch ends), the count of tasks done, the bytes of results so far, and the results themselves. The
//! worker claims and publishes, the pool takes back from the end. All of it outlives the worker: what is done is there, and the task
//! at the count is the one that was running, if it was claimed.
//!
//! The memory is a sealed memfd: nobody can shrink it under the other. The pool trusts nothing in it: counts are bounded by
//! what it sent, and results are copied out before they are looked at. This file is the only one that touches it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of results that a slot holds. What does not fit goes over the socket.
pub(crate) const ROOM: usize = 256 * 1024;
/// Where a slot's results begin: counts that two processes write get a cache line each.
const HEAD: usize = 256;
const SLOT: usize = HEAD + ROOM;
const SIZE: usize = 2 * SLOT;

const CLAIM: usize = 0;
const BATCH: usize = 64;
const DONE: usize = 128;
const BYTES: usize = 192;

/// The mapping.
pub(crate) struct Page {
    start: NonNull<u8>,
}

// SAFETY: the mapping belongs to no thread; it is used through atomics and raw copies only.
unsafe impl Send for Page {}
// SAFETY: as above: shared access is atomic, and result bytes are written by one process and copied raw by the other.
unsafe impl Sync for Page {}

/// How far a batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Tasks claimed from the front.
    pub(crate) claimed: usize,
    /// Tasks whose results are there, or went over the socket.
    pub(crate) done: usize,
}

impl Page {
    /// New memory, and the descriptor that the worker maps.
    pub(crate) fn create() -> io::Result<(Page, OwnedFd)> {
        let fd = memfd_create("procession-pool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, SIZE as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok((Page::map(fd.as_fd())?, fd))
    }

    /// Maps memory that [`create`](Page::create) made.
    pub(crate) fn map(fd: BorrowedFd<'_>) -> io::Result<Page> {
        if fstat(fd)?.st_size != SIZE as i64 {
            return Err(io::Error::other("the memory shared with the pool has the wrong size"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice, over no memory of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("the kernel mapped nothing"))?;
        Ok(Page { start })
    }

    fn base(batch: u64) -> usize {
        if batch.is_multiple_of(2) { 0 } else { SLOT }
    }

    fn word(&self, batch: u64, offset: usize) -> &AtomicU64 {
        // SAFETY: in bounds (a base is 0 or SLOT, offsets are below HEAD) and aligned to 8 (the mapping to a page, bases and offsets to
        // 64); the memory lives as long as `self`, cannot be cut (sealed), and these words are only ever used as atomics.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(Page::base(batch) + offset).cast()) }
    }

    fn results(&self, batch: u64) -> *mut u8 {
        // SAFETY: in bounds of the mapping, as a base plus HEAD leaves ROOM bytes.
        unsafe { self.start.as_ptr().add(Page::base(batch) + HEAD) }
    }

    /// The pool offers so many tasks as `batch`, whose slot nobody else uses now.
    pub(crate) fn offer(&self, batch: u64, count: usize) {
        self.word(batch, DONE).store(0, Ordering::Relaxed);
        self.word(batch, BYTES).store(0, Ordering::Relaxed);
        self.word(batch, CLAIM).store((count as u64) << 32, Ordering::Relaxed);
        self.word(batch, BATCH).store(batch, Ordering::Release);
    }

    /// The worker claims up to `stride` tasks: the first of them, and behind the last.
    pub(crate) fn claim(&self, batch: u64, stride: u32) -> Option<(u32, u32)> {
        if self.word(batch, BATCH).load(Ordering::Acquire) != batch {
            return None;
        }
        let claim = self.word(batch, CLAIM);
        let mut word = claim.load(Ordering::Relaxed);
        loop {
            let (next, end) = (word as u32, (word >> 32) as u32);
            if next >= end {
                return None;
            }
            let behind = next.saturating_add(stride.max(1)).min(end);
            let claimed = u64::from(end) << 32 | u64::from(behind);
            match claim.compare_exchange_weak(word, claimed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some((next, behind)),
                Err(now) => word = now,
            }
        }
    }

    /// The pool takes back up to `want` tasks from the end: how many those were. Only tasks that nobody claimed are taken.
    pub(crate) fn take_back(&self, batch: u64, want: impl Fn(usize) -> usize) -> usize {
        let claim = self.word(batch, CLAIM);
        let mut word = claim.load(Ordering::Relaxed);
        loop {
            let (next, end) = (word as u32, (word >> 32) as u32);
            let left = end.saturating_sub(next);
            let taken = want(left as usize).min(left as usize) as u32;
            if taken == 0 {
                return 0;
            }
            let shortened = u64::from(end - taken) << 32 | u64::from(next);
            match claim.compare_exchange_weak(word, shortened, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return taken as usize,
                Err(now) => word = now,
            }
        }
    }

    /// Copies a result to the slot, at `at`; the caller keeps within [`ROOM`]. Only the worker writes.
    #[inline]
    pub(crate) fn write(&self, batch: u64, at: usize, bytes: &[u8]) {
        if at.checked_add(bytes.len()).is_none_or(|end| end > ROOM) {
            return;
        }
        // SAFETY: `at + bytes.len() <= ROOM` was just checked; the source is ours and cannot overlap shared memory; the pool reads
        // these bytes only after `publish` made them known.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.results(batch).add(at), bytes.len()) }
    }

    /// So many tasks are done, and their results fill so many bytes.
    #[inline]
    pub(crate) fn publish(&self, batch: u64, done: usize, bytes: usize) {
        self.word(batch, BYTES).store(bytes as u64, Ordering::Relaxed);
        self.word(batch, DONE).store(done as u64, Ordering::Release);
    }

    /// How far the batch of `count` tasks has come.
    pub(crate) fn progress(&self, batch: u64, count: usize) -> Progress {
        let done = usize::try_from(self.word(batch, DONE).load(Ordering::Acquire)).unwrap_or(usize::MAX);
        let claimed = (self.word(batch, CLAIM).load(Ordering::Acquire) as u32 as usize).min(count);
        Progress { claimed, done: done.min(claimed) }
    }

    /// A copy of the results that are there.
    pub(crate) fn copy(&self, batch: u64) -> Vec<u8> {
        let length = usize::try_from(self.word(batch, BYTES).load(Ordering::Acquire)).unwrap_or(usize::MAX).min(ROOM);
        let mut results: Vec<u8> = Vec::with_capacity(length);
        // SAFETY: `length <= ROOM` bytes lie in the mapping and fit the new vector. A worker that still writes can only make the copy
        // arbitrary bytes, which is what its reader takes them for; no reference to shared memory is made.
        unsafe {
            std::ptr::copy_nonoverlapping(self.results(batch), results.as_mut_ptr(), length);
            results.set_len(length);
        }
        results
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: this mapping was made by `map`, and nothing borrowed from it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_batch_meet_in_the_middle() {
        let (page, fd) = Page::create().unwrap();
        let other = Page::map(fd.as_fd()).unwrap();
        page.offer(7, 10);
        assert_eq!(other.claim(8, 1), None);
        assert_eq!(other.claim(7, 4), Some((0, 4)));
        assert_eq!(page.take_back(7, |left| left.div_ceil(2)), 3);
        assert_eq!(other.claim(7, 100), Some((4, 7)));
        assert_eq!((other.claim(7, 1), page.take_back(7, |left| left)), (None, 0));
        other.write(7, 0, b"abc");
        other.publish(7, 2, 3);
        assert_eq!(page.progress(7, 10), Progress { claimed: 7, done: 2 });
        assert_eq!(page.copy(7), b"abc");
    }

    #[test]
    fn what_a_worker_writes_is_bounded() {
        let (page, _fd) = Page::create().unwrap();
        page.offer(2, 3);
        page.publish(2, usize::MAX, usize::MAX);
        assert_eq!(page.progress(2, 3), Progress { claimed: 0, done: 0 });
        assert_eq!(page.copy(2).len(), ROOM);
        page.write(2, ROOM - 1, b"ab");
        assert_eq!(page.copy(2)[ROOM - 1], 0);
    }
}
