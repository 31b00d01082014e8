//! The memory that a worker shares with its pool.
//!
//! It holds a slot for each batch that the worker has: the one being run and the one that waits. A slot has a *claim* (how many tasks have been claimed from
//! the front, and where the batch ends), the count of tasks done, when the one being run was begun, the bytes of results so far,
//! the table of their structs' names, and the results themselves. The worker claims and publishes, the pool takes back from the end,
//! and says which task is to stop. All of it outlives the worker: what is done is there, and the task at the count is the one that was
//! running, if it was claimed.
//!
//! The memory is a sealed memfd: nobody can shrink it under the other. The pool trusts nothing in it: counts are bounded by
//! what it sent, and results are copied out before they are looked at. This file is the only one that touches it.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::scheduler::Progress;
use crate::actor::batch::Window;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of results that a slot holds, where a worker runs one task at a time. What does not fit goes over the socket.
pub(crate) const ROOM: usize = 256 * 1024;
/// Slots where a worker runs one task at a time: for the batch being run and the one that waits.
const SLOTS: usize = 2;
/// Bytes that a table of names may have.
pub(crate) const TABLE: usize = 4096;
/// Where a slot's table begins. What both processes write, what the pool writes and what the worker writes get a cache line each.
const NAMES: usize = 192;
/// Where a slot's results begin.
const HEAD: usize = (NAMES + TABLE).next_multiple_of(8);

const CLAIM: usize = 0;
const BATCH: usize = 64;
const STOP: usize = 72;
const DONE: usize = 128;
const BYTES: usize = 136;
const SINCE: usize = 144;
const NAMED: usize = 152;

/// How much there is of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    slots: usize,
    room: usize,
}

impl Form {
    /// That of a worker which runs so many tasks at once. With more than one, each is a batch by itself and its result goes over
    /// the socket.
    pub(crate) fn of(concurrency: usize) -> Form {
        match concurrency {
            0 | 1 => Form { slots: SLOTS, room: ROOM },
            many => Form { slots: Form::lane(many), room: 0 },
        }
    }

    /// How many batches such a worker has at once: those that it runs and as many ahead.
    pub(crate) fn lane(concurrency: usize) -> usize {
        SLOTS * concurrency.max(1)
    }

    fn slot(self) -> usize {
        (HEAD + self.room).next_multiple_of(64)
    }

    fn size(self) -> usize {
        self.slots * self.slot()
    }
}

/// The mapping.
pub(crate) struct Page {
    start: NonNull<u8>,
    form: Form,
}

// SAFETY: the mapping belongs to no thread; it is used through atomics and raw copies only.
unsafe impl Send for Page {}
// SAFETY: as above: shared access is atomic, and result bytes are written by one process and copied raw by the other.
unsafe impl Sync for Page {}

impl Page {
    /// New memory, and the descriptor that the worker maps.
    pub(crate) fn create(form: Form) -> io::Result<(Page, OwnedFd)> {
        let fd = memfd_create("procession-pool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, form.size() as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok((Page::map(fd.as_fd(), form)?, fd))
    }

    /// Maps memory that [`create`](Page::create) made.
    pub(crate) fn map(fd: BorrowedFd<'_>, form: Form) -> io::Result<Page> {
        if fstat(fd)?.st_size != form.size() as i64 {
            return Err(io::Error::other("the memory shared with the pool has the wrong size"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice, over no memory of ours.
        let start = unsafe { mmap(std::ptr::null_mut(), form.size(), ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, fd, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("the kernel mapped nothing"))?;
        Ok(Page { start, form })
    }

    /// The slot of a batch.
    pub(crate) fn slot(&self, batch: u64) -> Slot<'_> {
        let index = (batch % self.form.slots as u64) as usize;
        // SAFETY: slots of that size lie one behind the other in the mapping, and the index is one of theirs.
        let start = unsafe { self.start.add(index * self.form.slot()) };
        Slot { start, room: self.form.room, batch, page: PhantomData }
    }
}

/// The part of a page that belongs to one batch.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    start: NonNull<u8>,
    room: usize,
    batch: u64,
    page: PhantomData<&'a Page>,
}

impl<'p> Slot<'p> {
    fn word(&self, offset: usize) -> &'p AtomicU64 {
        // SAFETY: in bounds (offsets are below NAMES) and aligned to 8 (the mapping to a page, slots and offsets to 64); the memory lives as
        // long as the page that this borrows, cannot be cut (sealed), and these words are only ever used as atomics.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// The results as words, and the count of those that are there.
    pub(crate) fn window(&self) -> Option<Window<'p>> {
        let count = self.room / size_of::<u64>();
        if count == 0 {
            return None;
        }
        // SAFETY: the slot's room lies behind its head, in the mapping, which the page that this borrows keeps; it is aligned to 8, as slots
        // and HEAD are. Only the worker writes there, as atomics or by copies of its own thread; the pool copies the bytes out.
        let words = unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(HEAD).cast::<AtomicU64>(), count) };
        Some(Window { words, done: self.word(DONE) })
    }

    /// The pool offers so many tasks; nobody else uses the slot now.
    pub(crate) fn offer(&self, count: usize) {
        self.word(DONE).store(0, Ordering::Relaxed);
        self.word(BYTES).store(0, Ordering::Relaxed);
        self.word(SINCE).store(0, Ordering::Relaxed);
        self.word(NAMED).store(0, Ordering::Relaxed);
        self.word(STOP).store(0, Ordering::Relaxed);
        self.word(CLAIM).store((count as u64) << 32, Ordering::Relaxed);
        self.word(BATCH).store(self.batch, Ordering::Release);
    }

    /// The worker claims up to `stride` tasks: the first of them, and behind the last.
    pub(crate) fn claim(&self, stride: u32) -> Option<(u32, u32)> {
        if self.word(BATCH).load(Ordering::Acquire) != self.batch {
            return None;
        }
        let claim = self.word(CLAIM);
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
    pub(crate) fn take_back(&self, want: impl Fn(usize) -> usize) -> usize {
        let claim = self.word(CLAIM);
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

    /// Copies a result to the slot, at `at`; the caller keeps within the slot's room. Only the worker writes.
    #[inline]
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        if at.checked_add(bytes.len()).is_none_or(|end| end > self.room) {
            return;
        }
        // SAFETY: `at + bytes.len() <= room` was just checked; the source is ours and cannot overlap shared memory; the pool reads
        // these bytes only after `publish` made them known.
        unsafe {
            let to = self.start.as_ptr().add(HEAD + at);
            match bytes.len() {
                // Numbers are copied as such, not by a call.
                8 => std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, 8),
                4 => std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, 4),
                length => std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, length),
            }
        }
    }

    /// So many tasks are done, and their results fill so many bytes.
    #[inline]
    pub(crate) fn publish(&self, done: usize, bytes: usize) {
        self.word(BYTES).store(bytes as u64, Ordering::Relaxed);
        self.word(DONE).store(done as u64, Ordering::Release);
    }

    /// The task that is claimed next is begun, at this time.
    #[inline]
    pub(crate) fn begin(&self, now: u64) {
        self.word(SINCE).store(now, Ordering::Release);
    }

    /// The pool asks the task at this place to stop.
    pub(crate) fn stop(&self, place: usize) {
        self.word(STOP).store(place as u64 + 1, Ordering::Release);
    }

    /// Whether the task that the worker runs is to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        let stop = self.word(STOP).load(Ordering::Acquire);
        stop > 0 && stop - 1 == self.word(DONE).load(Ordering::Relaxed)
    }

    /// Copies a table of names to the slot; a longer one than fits is left out.
    pub(crate) fn name(&self, table: &[u8]) {
        if table.len() > TABLE {
            return;
        }
        // SAFETY: NAMES + table.len() <= HEAD was just checked and lies in the slot; the source is ours and cannot overlap shared memory;
        // the pool reads these bytes only up to the length that is stored after them.
        unsafe { std::ptr::copy_nonoverlapping(table.as_ptr(), self.start.as_ptr().add(NAMES), table.len()) };
        self.word(NAMED).store(table.len() as u64, Ordering::Release);
    }

    /// A copy of the table of names.
    pub(crate) fn names(&self) -> Vec<u8> {
        let length = usize::try_from(self.word(NAMED).load(Ordering::Acquire)).unwrap_or(usize::MAX).min(TABLE);
        self.copied(NAMES, length)
    }

    /// How far the batch of `count` tasks has come.
    pub(crate) fn progress(&self, count: usize) -> Progress {
        let done = usize::try_from(self.word(DONE).load(Ordering::Acquire)).unwrap_or(usize::MAX);
        let claimed = (self.word(CLAIM).load(Ordering::Acquire) as u32 as usize).min(count);
        Progress { claimed, done: done.min(claimed), since: self.word(SINCE).load(Ordering::Acquire) }
    }

    /// Bytes of results.
    fn bytes(&self) -> usize {
        usize::try_from(self.word(BYTES).load(Ordering::Acquire)).unwrap_or(usize::MAX).min(self.room)
    }

    /// A copy of the results that are there, from the byte `from` on, up to the byte `to` where it is known.
    pub(crate) fn copy(&self, from: usize, to: Option<usize>) -> Vec<u8> {
        let to = to.unwrap_or_else(|| self.bytes()).min(self.room);
        let from = from.min(to);
        self.copied(HEAD + from, to - from)
    }

    /// Results as plain numbers, from the `from`th on, so many as far as there is room for them.
    pub(crate) fn numbers<N: Number>(&self, from: usize, count: usize) -> Vec<N> {
        let room = self.room / size_of::<N>();
        let from = from.min(room);
        self.copied(HEAD + from * size_of::<N>(), count.min(room - from))
    }

    /// A copy of `count` numbers from the slot's bytes at `offset` on.
    fn copied<N: Number>(&self, offset: usize, count: usize) -> Vec<N> {
        let bytes = count * size_of::<N>();
        debug_assert!(offset + bytes <= HEAD + self.room);
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
                return Some(|slot, from, most| Box::new(slot.numbers::<$number>(from, most)));
            })*
            None
        }
    };
}

numbers! { i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 }

/// Takes results of a batch as plain numbers: from the place of the first on, so many.
pub(crate) type Take = fn(Slot<'_>, usize, usize) -> Box<dyn std::any::Any + Send>;

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: this mapping was made by `map`, and nothing borrowed from it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.form.size()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_batch_meet_in_the_middle() {
        let (page, fd) = Page::create(Form::of(1)).unwrap();
        let other = Page::map(fd.as_fd(), Form::of(1)).unwrap();
        page.slot(7).offer(10);
        assert_eq!(other.slot(8).claim(1), None);
        assert_eq!(other.slot(7).claim(4), Some((0, 4)));
        assert_eq!(page.slot(7).take_back(|left| left.div_ceil(2)), 3);
        assert_eq!(other.slot(7).claim(100), Some((4, 7)));
        assert_eq!((other.slot(7).claim(1), page.slot(7).take_back(|left| left)), (None, 0));
        other.slot(7).write(0, b"abc");
        other.slot(7).publish(2, 3);
        assert_eq!(page.slot(7).progress(10), Progress { claimed: 7, done: 2, since: 0 });
        assert_eq!(page.slot(7).copy(0, None), b"abc");
    }

    #[test]
    fn what_a_worker_writes_is_bounded() {
        let (page, _fd) = Page::create(Form::of(1)).unwrap();
        page.slot(2).offer(3);
        page.slot(2).publish(usize::MAX, usize::MAX);
        assert_eq!(page.slot(2).progress(3), Progress::default());
        assert_eq!(page.slot(2).copy(0, None).len(), ROOM);
        page.slot(2).write(ROOM - 1, b"ab");
        assert_eq!(page.slot(2).copy(0, None)[ROOM - 1], 0);
    }
}
