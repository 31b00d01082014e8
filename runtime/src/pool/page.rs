//! The memory that a worker shares with its pool.
//!
//! It holds two slots, for the batch being run and the one that waits. A slot has a *claim* (how many tasks have been claimed from
//! the front, and where the batch ends), the count of tasks done, when the one being run was begun, the bytes of results so far,
//! the table of their structs' names, and the results themselves. The worker claims and publishes, the pool takes back from the end,
//! and says which task is to stop. All of it outlives the worker: what is done is there, and the task at the count is the one that was
//! running, if it was claimed.
//!
//! The memory is a sealed memfd: nobody can shrink it under the other. The pool trusts nothing in it: counts are bounded by
//! what it sent, and results are copied out before they are looked at. This file is the only one that touches it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::scheduler::Progress;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of results that a slot holds. What does not fit goes over the socket.
pub(crate) const ROOM: usize = 256 * 1024;
/// Bytes that a table of names may have.
pub(crate) const TABLE: usize = 4096;
/// Where a slot's table begins. What both processes write, what the pool writes and what the worker writes get a cache line each.
const NAMES: usize = 192;
/// Where a slot's results begin.
const HEAD: usize = NAMES + TABLE;
const SLOT: usize = (HEAD + ROOM).next_multiple_of(64);
const SIZE: usize = 2 * SLOT;

const CLAIM: usize = 0;
const BATCH: usize = 64;
const STOP: usize = 72;
const DONE: usize = 128;
const BYTES: usize = 136;
const SINCE: usize = 144;
const NAMED: usize = 152;

/// The mapping.
pub(crate) struct Page {
    start: NonNull<u8>,
}

// SAFETY: the mapping belongs to no thread; it is used through atomics and raw copies only.
unsafe impl Send for Page {}
// SAFETY: as above: shared access is atomic, and result bytes are written by one process and copied raw by the other.
unsafe impl Sync for Page {}

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
        // SAFETY: in bounds (a base is 0 or SLOT, offsets are below NAMES) and aligned to 8 (the mapping to a page, bases and offsets to
        // 64); the memory lives as long as `self`, cannot be cut (sealed), and these words are only ever used as atomics.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(Page::base(batch) + offset).cast()) }
    }

    fn results(&self, batch: u64) -> *mut u8 {
        // SAFETY: in bounds of the mapping, as a base plus HEAD leaves ROOM bytes of the slot.
        unsafe { self.start.as_ptr().add(Page::base(batch) + HEAD) }
    }

    /// The pool offers so many tasks as `batch`, whose slot nobody else uses now.
    pub(crate) fn offer(&self, batch: u64, count: usize) {
        self.word(batch, DONE).store(0, Ordering::Relaxed);
        self.word(batch, BYTES).store(0, Ordering::Relaxed);
        self.word(batch, SINCE).store(0, Ordering::Relaxed);
        self.word(batch, NAMED).store(0, Ordering::Relaxed);
        self.word(batch, STOP).store(0, Ordering::Relaxed);
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

    /// The task that was claimed last is begun, at this time.
    #[inline]
    pub(crate) fn begin(&self, batch: u64, now: u64) {
        self.word(batch, SINCE).store(now, Ordering::Release);
    }

    /// The pool asks the task at this place to stop.
    pub(crate) fn stop(&self, batch: u64, place: usize) {
        self.word(batch, STOP).store(place as u64 + 1, Ordering::Release);
    }

    /// Whether the task that the worker runs is to stop.
    pub(crate) fn is_stopped(&self, batch: u64) -> bool {
        let stop = self.word(batch, STOP).load(Ordering::Acquire);
        stop > 0 && stop - 1 == self.word(batch, DONE).load(Ordering::Relaxed)
    }

    /// Copies a table of names to the slot; a longer one than fits is left out.
    pub(crate) fn name(&self, batch: u64, table: &[u8]) {
        if table.len() > TABLE {
            return;
        }
        // SAFETY: NAMES + table.len() <= HEAD was just checked and lies in the slot; the source is ours and cannot overlap shared memory;
        // the pool reads these bytes only up to the length that is stored after them.
        unsafe { std::ptr::copy_nonoverlapping(table.as_ptr(), self.start.as_ptr().add(Page::base(batch) + NAMES), table.len()) };
        self.word(batch, NAMED).store(table.len() as u64, Ordering::Release);
    }

    /// A copy of the table of names.
    pub(crate) fn names(&self, batch: u64) -> Vec<u8> {
        let length = usize::try_from(self.word(batch, NAMED).load(Ordering::Acquire)).unwrap_or(usize::MAX).min(TABLE);
        self.copied(Page::base(batch) + NAMES, length)
    }

    /// How far the batch of `count` tasks has come.
    pub(crate) fn progress(&self, batch: u64, count: usize) -> Progress {
        let done = usize::try_from(self.word(batch, DONE).load(Ordering::Acquire)).unwrap_or(usize::MAX);
        let claimed = (self.word(batch, CLAIM).load(Ordering::Acquire) as u32 as usize).min(count);
        Progress { claimed, done: done.min(claimed), since: self.word(batch, SINCE).load(Ordering::Acquire) }
    }

    /// A copy of the results that are there.
    pub(crate) fn copy(&self, batch: u64) -> Vec<u8> {
        let length = usize::try_from(self.word(batch, BYTES).load(Ordering::Acquire)).unwrap_or(usize::MAX).min(ROOM);
        self.copied(Page::base(batch) + HEAD, length)
    }

    /// The results that are there as plain numbers, so many at the most.
    pub(crate) fn numbers<N: Number>(&self, batch: u64, most: usize) -> Vec<N> {
        let length = usize::try_from(self.word(batch, BYTES).load(Ordering::Acquire)).unwrap_or(usize::MAX).min(ROOM);
        let count = most.min(length / size_of::<N>());
        self.copied(Page::base(batch) + HEAD, count)
    }

    /// A copy of `count` numbers from the slot's bytes at `offset` on.
    fn copied<N: Number>(&self, offset: usize, count: usize) -> Vec<N> {
        let bytes = count * size_of::<N>();
        debug_assert!(offset + bytes <= SIZE);
        let mut numbers: Vec<N> = Vec::with_capacity(count);
        // SAFETY: every caller bounds `count` so that the bytes lie in the slot, and they fit the new vector. Any bytes are a plain number.
        // A worker that still writes can only make the copy arbitrary bytes, which is what its reader takes them for; no reference
        // to shared memory is made.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start.as_ptr().add(offset), numbers.as_mut_ptr().cast::<u8>(), bytes);
            numbers.set_len(count);
        }
        numbers
    }
}

/// A type of which any bytes are a value.
///
/// # Safety
///
/// Every bit pattern of its size is a value of it.
pub(crate) unsafe trait Number: Copy + Send + 'static {}

macro_rules! numbers {
    ($($number:ty)*) => {
        // SAFETY: any bits are an integer, or a float.
        $(unsafe impl Number for $number {})*

        /// Takes results of the type `T` from a page, where that is a plain number type: a `Vec<T>` in a box.
        pub(crate) fn taker<T: 'static>() -> Option<Take> {
            let wanted = std::any::TypeId::of::<T>();
            $(if wanted == std::any::TypeId::of::<$number>() {
                return Some(|page, batch, most| Box::new(page.numbers::<$number>(batch, most)));
            })*
            None
        }
    };
}

numbers! { i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 }

/// Takes so many results of a batch, at the most, as plain numbers.
pub(crate) type Take = fn(&Page, u64, usize) -> Box<dyn std::any::Any + Send>;

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
        assert_eq!(page.progress(7, 10), Progress { claimed: 7, done: 2, since: 0 });
        assert_eq!(page.copy(7), b"abc");
    }

    #[test]
    fn what_a_worker_writes_is_bounded() {
        let (page, _fd) = Page::create().unwrap();
        page.offer(2, 3);
        page.publish(2, usize::MAX, usize::MAX);
        assert_eq!(page.progress(2, 3), Progress::default());
        assert_eq!(page.copy(2).len(), ROOM);
        page.write(2, ROOM - 1, b"ab");
        assert_eq!(page.copy(2)[ROOM - 1], 0);
    }
}
