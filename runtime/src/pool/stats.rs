//! What a pool has done so far.

use std::time::Duration;

/// Times are sorted by their order of magnitude: one place for each power of two nanoseconds.
const PLACES: usize = 48;

/// The sums that statistics are made of.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    since: u64,
    /// Tasks whose times are known.
    ran: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    busy: u64,
    times: [u64; PLACES],
}

impl Tally {
    pub(crate) fn new(since: u64) -> Tally {
        Tally { since, ran: 0, done: 0, failed: 0, busy: 0, times: [0; PLACES] }
    }

    /// So many tasks took so many nanoseconds together.
    pub(crate) fn ran(&mut self, tasks: usize, nanos: u64) {
        let tasks = tasks as u64;
        if tasks == 0 {
            return;
        }
        self.ran += tasks;
        self.busy = self.busy.saturating_add(nanos);
        let place = (nanos / tasks).max(1).ilog2() as usize;
        self.times[place.min(PLACES - 1)] += tasks;
    }

    /// The time that this share of the tasks stayed below, within a factor of two.
    fn quantile(&self, share: f64) -> Duration {
        let wanted = (share * self.ran as f64).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.times.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_nanos(1 << (place + 1));
            }
        }
        Duration::ZERO
    }

    pub(crate) fn stats(&self, queued: usize, running: usize, restarts: u64, workers: usize, now: u64) -> Stats {
        let passed = now.saturating_sub(self.since).max(1) as f64 * workers.max(1) as f64;
        Stats {
            queued,
            running,
            done: self.done,
            failed: self.failed,
            restarts,
            workers,
            busy: (self.busy as f64 / passed).min(1.0),
            median: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
        }
    }
}

/// What a pool is doing and has done: see [`Pool::stats`](crate::Pool::stats).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that were taken in and are with no worker yet.
    pub queued: usize,
    /// Tasks that workers have: each runs one, or as many as `concurrency` allows; the others wait there.
    pub running: usize,
    /// Tasks that have ended with a result.
    pub done: u64,
    /// Tasks that have ended without one.
    pub failed: u64,
    /// Workers that died and were not told to.
    pub restarts: u64,
    /// Workers that are alive.
    pub workers: usize,
    /// The share of the workers' time since the pool was made in which they ran tasks, from 0 to 1; as if there had always been as
    /// many workers as now.
    pub busy: f64,
    /// Half of the tasks took no longer than this. Times are known within a factor of two; tasks of one batch count with their mean.
    pub median: Duration,
    /// Nine of ten tasks took no longer than this.
    pub p90: Duration,
    /// 99 of a hundred tasks took no longer than this.
    pub p99: Duration,
}

/// One worker of a pool: see [`Pool::workers`](crate::Pool::workers).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its process id.
    pub pid: u32,
    /// Tasks that it has done.
    pub tasks: u64,
    /// Whether it has something to do.
    pub busy: bool,
    /// Whether its task waits for this same pool.
    pub parked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_a_factor_of_two() {
        let mut tally = Tally::new(0);
        tally.ran(98, 98 * 1_000);
        tally.ran(2, 2 * 1_000_000);
        let stats = tally.stats(0, 0, 0, 1, 2_098_000);
        assert!(stats.median >= Duration::from_nanos(1_000) && stats.median <= Duration::from_nanos(2_000));
        assert!(stats.p99 >= Duration::from_micros(1_000) && stats.p99 <= Duration::from_micros(2_100));
        assert_eq!(stats.busy, 1.0);
    }
}
