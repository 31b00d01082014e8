//! What a process may use at most: the limits of a builder, how they combine, and how they are put on.
//!
//! Limits are inherited and only tighten. Children are forked by the nursery and so inherit nothing of their spawner's by themselves:
//! the root keeps the limits of every actor, and puts those of the spawner [together](Limits::within) with what the child's builder
//! says. The result goes to the child in its first frame, and the child [puts them on](Limits::put_on) before any code of the user's
//! runs. One that cannot be put on fails the birth.
//!
//! A death by a limit is reported as that limit: [`starved`](super::starved) says how an allocation that failed is noticed, and the
//! root's own part (the resident size is sampled there) is in `root/limited.rs`.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::resident::resident;

/// With less memory a process cannot even start its runtime.
const LEAST_MEMORY: u64 = 1024 * 1024;
/// What a process holds for itself (streams, control link, lifeline, event loops) and a few links to others.
const LEAST_FILES: u64 = 24;
/// What the first thread's stack may grow by before it counts as memory in use.
const STACK: u64 = 1024 * 1024;
/// The kernel counts CPU time in 64 bits of nanoseconds.
const MOST_SECONDS: u64 = 3_000_000_000;

/// What a process may use at most; what is `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub(crate) memory: Option<u64>,
    pub(crate) cpu_time: Option<Duration>,
    pub(crate) open_files: Option<u64>,
    pub(crate) niceness: Option<i32>,
    pub(crate) cores: Option<BTreeSet<usize>>,
}

impl Limits {
    /// See the builders' methods of these names.
    #[doc(hidden)]
    pub fn memory_limit(&mut self, bytes: u64) {
        self.memory = Some(bytes);
    }
    #[doc(hidden)]
    pub fn cpu_time_limit(&mut self, time: Duration) {
        self.cpu_time = Some(time);
    }
    #[doc(hidden)]
    pub fn open_files_limit(&mut self, files: u64) {
        self.open_files = Some(files);
    }
    #[doc(hidden)]
    pub fn niceness(&mut self, niceness: i32) {
        self.niceness = Some(niceness);
    }
    #[doc(hidden)]
    pub fn cpu_affinity(&mut self, cores: impl IntoIterator<Item = usize>) {
        self.cores = Some(cores.into_iter().collect());
    }

    /// Whether a process could live within them; the sentence says what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(bytes) = self.memory.filter(|&bytes| bytes < LEAST_MEMORY) {
            return Err(format!("a memory limit of {bytes} bytes is too low: a process needs {LEAST_MEMORY} for itself"));
        }
        if self.cpu_time == Some(Duration::ZERO) {
            return Err("a CPU time limit of nothing leaves no time to run".to_owned());
        }
        if let Some(files) = self.open_files.filter(|&files| files < LEAST_FILES) {
            return Err(format!("an open-files limit of {files} is too low: a process needs {LEAST_FILES} for its own streams and links"));
        }
        if let Some(niceness) = self.niceness.filter(|niceness| !(-20..=19).contains(niceness)) {
            return Err(format!("there is no niceness of {niceness}: it goes from -20 to 19"));
        }
        match &self.cores {
            Some(cores) if cores.is_empty() => Err("a CPU affinity to no core leaves it nothing to run on".to_owned()),
            Some(cores) => match cores.iter().find(|&&core| core >= installed_cores()) {
                Some(core) => Err(format!("there is no core {core}: this machine's are 0 to {}", installed_cores() - 1)),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// What a child with these limits has whose spawner has those: of each limit the tighter one.
    pub(crate) fn within(&self, spawner: &Limits) -> Result<Limits, String> {
        self.check()?;
        let cores = match (&self.cores, &spawner.cores) {
            (Some(own), Some(spawners)) => {
                let common: BTreeSet<usize> = own.intersection(spawners).copied().collect();
                if common.is_empty() {
                    let (own, spawners) = (listed(own), listed(spawners));
                    return Err(format!("its CPU affinity (core {own}) has no core in common with its spawner's (core {spawners})"));
                }
                Some(common)
            }
            (own, spawners) => own.as_ref().or(spawners.as_ref()).cloned(),
        };
        Ok(Limits {
            memory: tighter(self.memory, spawner.memory),
            cpu_time: tighter(self.cpu_time, spawner.cpu_time),
            open_files: tighter(self.open_files, spawner.open_files),
            // `None` is the least of all.
            niceness: self.niceness.max(spawner.niceness),
            cores,
        })
    }

    /// Puts them on this process, which has one thread; the sentence says what could not be.
    pub(crate) fn put_on(&self) -> Result<(), String> {
        if let Some(niceness) = self.niceness {
            setpriority_process(None, niceness).map_err(|error| format!("its niceness cannot be {niceness}: {error}"))?;
        }
        if let Some(cores) = &self.cores {
            run_on(cores)?;
        }
        if let Some(files) = self.open_files {
            tighten(Resource::Nofile, files, files).map_err(|error| format!("its open files cannot be limited: {error}"))?;
        }
        if let Some(time) = self.cpu_time {
            limit_cpu_time(time).map_err(|error| format!("its CPU time cannot be limited: {error}"))?;
        }
        // The last: from here on allocations may fail.
        if let Some(bytes) = self.memory {
            let limited = data_size().and_then(|before| {
                let most = before.saturating_add(bytes);
                Ok(tighten(Resource::Data, most, most)?)
            });
            limited.map_err(|error| format!("its memory cannot be limited: {error}"))?;
        }
        Ok(())
    }
}

fn tighter<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Sets a limit of the kernel's, or leaves the tighter one that is there.
fn tighten(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let now = getrlimit(resource);
    let maximum = tighter(Some(hard), now.maximum);
    let current = tighter(tighter(Some(soft), now.current), maximum);
    setrlimit(resource, Rlimit { current, maximum })
}

/// How many cores the machine has, in use or not.
fn installed_cores() -> usize {
    // SAFETY: sysconf takes and gives an integer.
    let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    usize::try_from(configured).unwrap_or(1).clamp(1, CpuSet::MAX_CPU)
}

fn listed(cores: &BTreeSet<usize>) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Of these cores, those that this process may run on as it is: the program itself may have been started on some of them only.
fn run_on(cores: &BTreeSet<usize>) -> Result<(), String> {
    let failed = |error: Errno| format!("its CPU affinity (core {}) cannot be set: {error}", listed(cores));
    let usable = sched_getaffinity(None).map_err(failed)?;
    let mut set = CpuSet::new();
    for &core in cores.iter().filter(|&&core| core < CpuSet::MAX_CPU && usable.is_set(core)) {
        set.set(core);
    }
    if set.count() == 0 {
        return Err(format!("none of the cores of its CPU affinity (core {}) is one that this program may use", listed(cores)));
    }
    sched_setaffinity(None, &set).map_err(failed)
}

/// A timer sends SIGXCPU at the very time. The kernel's own limit knows whole seconds only; it is behind it for a process that the
/// timer has left (an exec takes it away), and kills the one that handles SIGXCPU but goes on.
fn limit_cpu_time(time: Duration) -> io::Result<()> {
    let seconds = whole_seconds(time);
    tighten(Resource::Cpu, seconds, seconds + 1)?;
    // SAFETY: all-zero values of both structures are valid ones, and the pointers are valid for the calls. The timer is this
    // process's until it ends.
    let failed = unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGXCPU;
        let mut timer: libc::timer_t = std::mem::zeroed();
        let mut setting: libc::itimerspec = std::mem::zeroed();
        setting.it_value.tv_sec = time.as_secs().min(MOST_SECONDS) as libc::time_t;
        setting.it_value.tv_nsec = time.subsec_nanos() as libc::c_long;
        libc::timer_create(libc::CLOCK_PROCESS_CPUTIME_ID, &mut event, &mut timer) < 0
            || libc::timer_settime(timer, libc::TIMER_ABSTIME, &setting, std::ptr::null_mut()) < 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).min(MOST_SECONDS)
}

/// What the kernel counts against its limit of data: private writable memory, touched or not, stacks of threads included.
fn data_size() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    size.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not say how much data a process has"))
}

/// The resident size of this process from which its memory limit counts: all of what the kernel's limit of data counts from may become
/// resident, and the stack with it. Whoever copes with the allocations that fail is not to be killed for having used the others.
pub(crate) fn size_at_birth() -> io::Result<u64> {
    Ok(data_size()?.max(resident()?).saturating_add(STACK))
}

/// The methods of every builder that takes limits; `$limits` is where its [`Limits`] are.
#[doc(hidden)]
#[macro_export]
macro_rules! __limit_methods {
    ($self:ident, $limits:expr) => {
        /// How much memory the process may use, in bytes, beyond what it was born with (the program itself, what a preload built, and
        /// its arguments as they came); at least 1 MiB.
        ///
        /// Two things are limited. *Private writable memory, touched or not* (`RLIMIT_DATA`: heap, anonymous mappings, the stacks of
        /// threads): an allocation beyond it fails, in Rust with an abort, in C with a null pointer. And *private resident memory*,
        /// which is looked at every 50 ms: a process above it is killed. Memory shared with others (files, `memfd`) counts for neither.
        /// Either death is reported as `KillReason::MemoryLimit`.
        ///
        /// The limit is each process's own: it also holds in the programs that the process starts, but their memory does not count for
        /// it. As with all limits, the actors that this one spawns have the same, or a lower one where their builder says so.
        pub fn memory_limit(mut $self, bytes: u64) -> Self {
            $limits.memory_limit(bytes);
            $self
        }

        /// How much CPU time the process may use, in all its threads together. It is sent SIGXCPU then, and its end is reported as
        /// `KillReason::CpuTimeLimit`. One that handles SIGXCPU has between one and two seconds of CPU time more before it is killed.
        /// The actors that this one spawns have the same limit, counted from zero for each, or a lower one where their builder says so.
        pub fn cpu_time_limit(mut $self, time: ::core::time::Duration) -> Self {
            $limits.cpu_time_limit(time);
            $self
        }

        /// How many files, sockets and other descriptors the process may have open (`RLIMIT_NOFILE`); at least 24. About a dozen are
        /// its own streams, control link and event loops; each mailbox, lock, queue or pipe end in use takes one more, and fails to
        /// connect where there is none left. Never more than the process would have without it.
        pub fn open_files_limit(mut $self, files: u64) -> Self {
            $limits.open_files_limit(files);
            $self
        }

        /// The process's niceness, from -20 to 19: the higher, the more it lets others go first. What is below the spawner's own
        /// `niceness` has no effect, and what is below that of the program takes a privilege.
        pub fn niceness(mut $self, niceness: i32) -> Self {
            $limits.niceness(niceness);
            $self
        }

        /// The cores that the process may run on, counted from 0; of those only the ones that its spawner may run on. Where that leaves
        /// none, or the machine has no such core, the spawn fails.
        pub fn cpu_affinity(mut $self, cores: impl ::core::iter::IntoIterator<Item = usize>) -> Self {
            $limits.cpu_affinity(cores);
            $self
        }
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = Limits> {
        let memory = proptest::option::of(LEAST_MEMORY..u64::MAX);
        let cpu_time = proptest::option::of((1..100_000u64).prop_map(Duration::from_millis));
        let cores = proptest::option::of(proptest::collection::btree_set(0..installed_cores(), 1..4));
        (memory, cpu_time, proptest::option::of(LEAST_FILES..9000), proptest::option::of(-20..=19), cores)
            .prop_map(|(memory, cpu_time, open_files, niceness, cores)| Limits { memory, cpu_time, open_files, niceness, cores })
    }

    /// Whether whatever `one` allows `other` allows too.
    fn is_within(one: &Limits, other: &Limits) -> bool {
        fn at_most<T: Ord>(one: &Option<T>, other: &Option<T>) -> bool {
            other.as_ref().is_none_or(|other| one.as_ref().is_some_and(|one| one <= other))
        }
        at_most(&one.memory, &other.memory)
            && at_most(&one.cpu_time, &other.cpu_time)
            && at_most(&one.open_files, &other.open_files)
            && other.niceness.is_none_or(|other| one.niceness.is_some_and(|one| one >= other))
            && other.cores.as_ref().is_none_or(|other| one.cores.as_ref().is_some_and(|one| one.is_subset(other)))
    }

    proptest! {
        #[test]
        fn nothing_gets_looser(own in limits(), spawner in limits()) {
            match own.within(&spawner) {
                Ok(both) => {
                    prop_assert!(is_within(&both, &own) && is_within(&both, &spawner), "{both:?}");
                    prop_assert_eq!(spawner.within(&own), Ok(both.clone()));
                    prop_assert_eq!(both.within(&spawner), Ok(both));
                }
                Err(why) => {
                    let disjoint = own.cores.zip(spawner.cores).is_some_and(|(own, spawners)| own.is_disjoint(&spawners));
                    prop_assert!(disjoint, "{why}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_limited_is_the_other() {
        let limited = Limits { memory: Some(LEAST_MEMORY), niceness: Some(-3), ..Limits::default() };
        assert_eq!(Limits::default().within(&limited), Ok(limited.clone()));
        assert_eq!(limited.within(&Limits::default()), Ok(limited));
    }

    #[test]
    fn impossible_ones_say_why() {
        let why = |set: fn(&mut Limits)| {
            let mut limits = Limits::default();
            set(&mut limits);
            limits.check().unwrap_err()
        };
        assert!(why(|limits| limits.memory_limit(1)).contains("memory limit of 1 bytes is too low"));
        assert!(why(|limits| limits.cpu_time_limit(Duration::ZERO)).contains("no time to run"));
        assert!(why(|limits| limits.open_files_limit(3)).contains("open-files limit of 3 is too low"));
        assert!(why(|limits| limits.niceness(20)).contains("no niceness of 20"));
        assert!(why(|limits| limits.cpu_affinity([])).contains("no core"));
        assert!(why(|limits| limits.cpu_affinity([0, 100_000])).contains("no core 100000"));
        let on = |core| Limits { cores: Some(BTreeSet::from([core])), ..Limits::default() };
        assert!(on(0).within(&on(1)).unwrap_err().contains("(core 0) has no core in common with its spawner's (core 1)"));
    }

    #[test]
    fn time_is_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::MAX), MOST_SECONDS);
    }
}
