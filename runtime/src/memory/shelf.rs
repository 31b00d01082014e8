//! Segments that were used before and wait to be used again.
//!
//! A process keeps what it made: up to [`SEGMENTS`] segments with [`BYTES`] together, whether they are read at the moment or not. When
//! a blob is to be made, the oldest one of about its size that nobody reads any more is taken. Nothing happens at other
//! times: a segment that its readers let go of is found by the next blob. One that has not been taken for [`PATIENCE`] blobs is given
//! up, so that a long-lived reader or an odd size costs no place; readers that are left keep their memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::segment::Segment;

/// So many segments are kept.
const SEGMENTS: usize = 16;
/// So many bytes are kept.
const BYTES: usize = 512 << 20;
/// For so many blobs a segment is kept without being used.
const PATIENCE: u64 = 64;
/// The least that a segment holds.
const LEAST: usize = 4096;

static SHELF: Mutex<Shelf> = Mutex::new(Shelf::new());

/// The segments, in the order in which they were lent.
struct Shelf {
    kept: VecDeque<Kept>,
    /// How many blobs were made.
    made: u64,
    /// The process that made them. A child that a user forked has the mappings too, and must not write there.
    owner: u32,
}

struct Kept {
    segment: Arc<Segment>,
    /// Which blob it was lent for.
    lent: u64,
}

/// What is given up: dropped when the shelf is not locked any more, as unmapping takes time.
type GivenUp = Vec<Arc<Segment>>;

impl Shelf {
    const fn new() -> Shelf {
        Shelf { kept: VecDeque::new(), made: 0, owner: 0 }
    }

    /// Forgets everything if this is a copy of the process that kept it.
    fn own(&mut self, process: u32) -> GivenUp {
        if std::mem::replace(&mut self.owner, process) == process {
            return GivenUp::new();
        }
        self.kept.drain(..).map(|kept| kept.segment).collect()
    }

    /// A free segment for so many bytes.
    fn take(&mut self, capacity: usize) -> (Option<Segment>, GivenUp) {
        self.made += 1;
        let old = self.kept.iter().take_while(|kept| kept.lent + PATIENCE < self.made).count();
        let given_up = self.kept.drain(..old).map(|kept| kept.segment).collect();
        let fits = |segment: &Segment| (capacity..=capacity.saturating_mul(2)).contains(&segment.capacity());
        let free = self.kept.iter_mut().position(|kept| fits(&kept.segment) && is_free(&mut kept.segment));
        (free.and_then(|at| self.kept.remove(at)).and_then(|kept| Arc::into_inner(kept.segment)), given_up)
    }

    /// Keeps a segment, if there is room or can be made.
    fn keep(&mut self, segment: Arc<Segment>) -> GivenUp {
        let mut given_up = GivenUp::new();
        while !self.has_room(segment.capacity()) {
            let free = self.kept.iter_mut().position(|kept| is_free(&mut kept.segment));
            match free.and_then(|at| self.kept.remove(at)) {
                Some(kept) => given_up.push(kept.segment),
                None => {
                    given_up.push(segment);
                    return given_up;
                }
            }
        }
        self.kept.push_back(Kept { segment, lent: self.made });
        given_up
    }

    fn has_room(&self, capacity: usize) -> bool {
        let bytes: usize = self.kept.iter().map(|kept| kept.segment.capacity()).sum();
        self.kept.len() < SEGMENTS && bytes.saturating_add(capacity) <= BYTES
    }
}

/// Whether nobody reads it: no blob of this process, and no open file in any other.
fn is_free(segment: &mut Arc<Segment>) -> bool {
    Arc::get_mut(segment).is_some_and(Segment::is_free)
}

/// A segment for so many bytes: one that was used before, or a new one.
pub(super) fn take(length: usize) -> std::io::Result<Segment> {
    let capacity = capacity(length);
    let (found, given_up) = on_shelf(|shelf| shelf.take(capacity));
    drop(given_up);
    match found {
        Some(mut segment) => {
            segment.reuse(length);
            Ok(segment)
        }
        None => Segment::create(capacity),
    }
}

/// Keeps a segment that is lent, or not needed after all, for later.
pub(super) fn keep(segment: Arc<Segment>) {
    if segment.is_counted() {
        drop(on_shelf(|shelf| ((), shelf.keep(segment))));
    }
}

fn on_shelf<R>(work: impl FnOnce(&mut Shelf) -> (R, GivenUp)) -> (R, GivenUp) {
    let mut shelf = SHELF.lock().unwrap_or_else(PoisonError::into_inner);
    let mut given_up = shelf.own(std::process::id());
    let (result, more) = work(&mut shelf);
    given_up.extend(more);
    (result, given_up)
}

/// The size of a segment for so many bytes: about an eighth more at most, so that blobs of one size, more or less, share theirs.
fn capacity(length: usize) -> usize {
    let step = (length / 8).checked_ilog2().map_or(LEAST, |log| LEAST.max(1 << log));
    length.max(1).checked_next_multiple_of(step).unwrap_or(length)
}

#[cfg(test)]
mod tests;
