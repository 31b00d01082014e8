//! How many cores this process can really use.

use std::fs;
use std::path::Path;

/// Cores that this process may run on, cut down to what its control groups give it; at least one.
pub(crate) fn usable() -> usize {
    let allowed = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    allowed.min(quota().unwrap_or(usize::MAX)).max(1)
}

/// The tightest `cpu.max` from this process's control group up to the root, in whole cores.
fn quota() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let mut place = Some(Path::new(group.trim_start_matches('/')));
    let mut tightest = None;
    while let Some(relative) = place {
        if let Some(cores) = fs::read_to_string(root.join(relative).join("cpu.max")).ok().as_deref().and_then(cores_of) {
            tightest = Some(tightest.map_or(cores, |tightest: usize| tightest.min(cores)));
        }
        place = relative.parent();
    }
    tightest
}

/// What `cpu.max` says: quota and period in microseconds, or `max`. A part of a core counts as one.
fn cores_of(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok().filter(|period| *period > 0)?;
    usize::try_from(quota.div_ceil(period)).ok().map(|cores| cores.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_whole_cores() {
        assert_eq!(cores_of("max 100000\n"), None);
        assert_eq!(cores_of("200000 100000\n"), Some(2));
        assert_eq!(cores_of("150000 100000"), Some(2));
        assert_eq!(cores_of("5000 100000"), Some(1));
        assert_eq!(cores_of("nonsense"), None);
        assert!(usable() >= 1);
    }
}
