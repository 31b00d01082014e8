//! One job's tasks that wait, and what they have cost so far.

use std::collections::BTreeMap;

use super::{Bundle, MOST};

/// What a batch should cost, in nanoseconds.
const BATCH: u64 = 1_000_000;
/// What a batch costs at least where there is a choice, in nanoseconds: less is not worth a worker's waking up.
const LEAST: u64 = 200_000;
/// What the tasks that a worker claims at once may cost together, in nanoseconds.
const STRIDE: u64 = 10_000;
/// Batches under way at once while costs are being learned: the first ones are small, and many of them cost more than they bring.
const RAMP: usize = 4;
/// Tasks that take less than this are done in passing, in nanoseconds.
const SHORT: u64 = 500_000;
/// How long results are waited for then, before tasks are taken for long after all, in nanoseconds.
const PATIENCE: u64 = 1_000_000;
/// How much larger than the last a batch may be while costs are being learned.
const GROWTH: usize = 8;

/// What holds for all tasks of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Tasks that a worker claims and gives back together, instead of by what they cost.
    pub(crate) chunk: Option<usize>,
    /// Most tasks of a batch.
    pub(crate) cap: usize,
    /// How long a task may take, in nanoseconds.
    pub(crate) timeout: Option<u64>,
    /// Further attempts at a task that killed its worker or ran out of time.
    pub(crate) retries: u32,
}

#[derive(Debug)]
pub(super) struct Job<B> {
    pub(super) terms: Terms,
    bundles: BTreeMap<usize, B>,
    /// Tasks in the bundles.
    pub(super) waiting: usize,
    /// Tasks that are still to come, as far as that is known.
    pub(super) following: usize,
    /// Failed attempts at tasks.
    pub(super) attempts: BTreeMap<usize, u32>,
    size: usize,
    /// What the size is growing to.
    wanted: usize,
    /// Nanoseconds a task.
    cost: Option<u64>,
    /// Batches under way.
    flying: usize,
    /// When one was given out last, or ended.
    moved: u64,
}

impl<B: Bundle> Job<B> {
    pub(super) fn new(terms: Terms) -> Job<B> {
        let chunk = terms.chunk.map(|chunk| chunk.clamp(1, MOST));
        Job {
            size: chunk.unwrap_or(1),
            wanted: 0,
            flying: 0,
            moved: 0,
            terms: Terms { chunk, cap: terms.cap.clamp(1, MOST), ..terms },
            bundles: BTreeMap::new(),
            waiting: 0,
            following: 0,
            attempts: BTreeMap::new(),
            cost: None,
        }
    }

    #[cfg(test)]
    pub(super) fn waiting_bundles(&self) -> impl Iterator<Item = &B> {
        self.bundles.values()
    }

    /// How many bundles wait.
    pub(super) fn bundles(&self) -> usize {
        self.bundles.len()
    }

    /// Tasks that a worker claims at once. With a timeout one, so that whoever is asked to stop is the only one.
    pub(super) fn stride(&self) -> usize {
        if self.terms.timeout.is_some() {
            return 1;
        }
        let affordable = self.cost.map_or(1, |cost| usize::try_from(STRIDE / cost.max(1)).unwrap_or(1)).clamp(1, 4096);
        self.terms.chunk.unwrap_or(affordable)
    }

    /// How many tasks the next batch should have.
    pub(super) fn most(&self, workers: usize) -> usize {
        // Towards the end the batches get smaller, so that nobody is left with much when the others are done.
        let share = self.waiting.saturating_add(self.following).div_ceil(2 * workers.max(1));
        let least = self.cost.map_or(0, |cost| usize::try_from(LEAST / cost.max(1)).unwrap_or(MOST));
        let size = self.size.min(share.max(self.size / 8).max(least)).max(1);
        let whole = self.terms.chunk.map_or(size, |chunk| size.div_ceil(chunk) * chunk);
        whole.min(self.terms.cap)
    }

    /// Tasks wait, or wait again.
    pub(super) fn wait(&mut self, start: usize, bundle: B) {
        if bundle.count() > 0 {
            self.waiting += bundle.count();
            self.bundles.insert(start, bundle);
        }
    }

    /// The first tasks that wait, `most` at the most. One that has failed before is a bundle, and goes, by itself: it may do so again.
    pub(super) fn give(&mut self, most: usize) -> Option<(usize, B)> {
        let (start, mut bundle) = self.bundles.pop_first()?;
        if bundle.count() > most {
            let head = bundle.head(most);
            self.bundles.insert(start + most, bundle);
            bundle = head;
        }
        // Bundles that were made when less was known of the costs are smaller than they should be. What failed before goes by itself.
        while bundle.count() < most && !self.attempts.contains_key(&start) {
            let behind = start + bundle.count();
            let Some(mut next) = self.bundles.remove(&behind) else { break };
            let room = most - bundle.count();
            if self.attempts.contains_key(&behind) {
                self.bundles.insert(behind, next);
                break;
            }
            if next.count() > room {
                let head = next.head(room);
                self.bundles.insert(behind + room, next);
                next = head;
            }
            if let Err(next) = bundle.join(next) {
                self.bundles.insert(behind, next);
                break;
            }
        }
        self.waiting -= bundle.count();
        Some((start, bundle))
    }

    /// Whether the first that waits has failed before.
    pub(super) fn is_suspect(&self) -> bool {
        self.bundles.first_key_value().is_some_and(|(start, _)| self.attempts.contains_key(start))
    }

    /// Takes one task out that waits; false where it does not.
    pub(super) fn take_out(&mut self, index: usize) -> bool {
        let Some((&start, bundle)) = self.bundles.range_mut(..=index).next_back() else { return false };
        let place = index - start;
        if place >= bundle.count() {
            return false;
        }
        let mut rest = if place == 0 { self.bundles.remove(&start) } else { Some(bundle.tail(place)) };
        let behind = rest.as_mut().filter(|rest| rest.count() > 1).map(|rest| rest.tail(1));
        if let Some(behind) = behind {
            self.bundles.insert(index + 1, behind);
        }
        self.waiting -= 1;
        self.attempts.remove(&index);
        true
    }

    /// So many tasks took so many nanoseconds.
    pub(super) fn learn(&mut self, tasks: usize, nanos: u64) {
        let cost = (nanos / tasks.max(1) as u64).max(1);
        self.cost = Some(cost);
        let wanted = usize::try_from(BATCH / cost).unwrap_or(MOST).clamp(1, MOST);
        self.wanted = wanted;
        self.size = wanted.min(self.size.saturating_mul(GROWTH));
    }

    /// Whether so many of its batches are under way already as should be: while their size is not right yet, and where little is left.
    pub(super) fn is_ramping(&self, now: u64) -> bool {
        self.ramps_until().is_some_and(|until| now < until)
    }

    /// Until when results are waited for before more is given out, if they are.
    pub(super) fn ramps_until(&self) -> Option<u64> {
        let limit = match self.cost {
            Some(cost) if self.size >= self.wanted => {
                if cost >= SHORT {
                    return None;
                }
                // One more worker is woken for a good deal of work only.
                let left = cost.saturating_mul(self.waiting.saturating_add(self.following) as u64);
                RAMP.max(usize::try_from(left / BATCH).unwrap_or(usize::MAX))
            }
            _ => RAMP,
        };
        (self.flying >= limit && self.waiting > 0).then(|| self.moved.saturating_add(PATIENCE))
    }

    /// A batch was given out.
    pub(super) fn gave(&mut self, now: u64) {
        self.flying += 1;
        self.moved = now;
    }

    /// A batch has ended.
    pub(super) fn landed(&mut self, now: u64) {
        self.flying = self.flying.saturating_sub(1);
        self.moved = now;
    }

    /// Whether anything is known of what its tasks cost.
    pub(super) fn is_known(&self) -> bool {
        self.cost.is_some()
    }

    /// How many nanoseconds so many tasks take; as long as that is not known, for ever.
    pub(super) fn cost_of(&self, tasks: usize) -> u64 {
        if tasks == 0 { 0 } else { self.cost.map_or(u64::MAX, |cost| cost.saturating_mul(tasks as u64)) }
    }

    /// An attempt at the task has failed: how many that makes, and whether there is another.
    pub(super) fn fail(&mut self, index: usize) -> (u32, bool) {
        let attempts = self.attempts.remove(&index).unwrap_or(0).saturating_add(1);
        let again = attempts <= self.terms.retries;
        if again {
            self.attempts.insert(index, attempts);
        }
        (attempts, again)
    }
}
