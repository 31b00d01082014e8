//! Limits are felt inside, are inherited and only tighten, and a death by one is reported as that limit.

use std::hint::black_box;
use std::time::Duration;

use procession::prelude::*;
use procession::{ExitReport, KillReason, Outcome, SpawnError, Stream};
use procession_tests::{PATIENCE, Program, signal, wait_until};

const MIB: u64 = 1 << 20;

async fn report<R: procession::Message>(process: &Process<R>) -> ExitReport {
    (*process.exit().timeout(PATIENCE).await.expect("an end")).clone()
}

/// What a process has by its limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Felt {
    data: Option<u64>,
    cpu_seconds: Option<u64>,
    open_files: (Option<u64>, Option<u64>),
    niceness: i32,
    cores: Vec<usize>,
}

fn felt() -> Felt {
    use rustix::process::{Resource, getpriority_process, getrlimit};
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let data: u64 = status.lines().find_map(|line| line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    let files = getrlimit(Resource::Nofile);
    let cores = rustix::thread::sched_getaffinity(None).unwrap();
    Felt {
        data: getrlimit(Resource::Data).maximum.map(|most| most.saturating_sub(data * 1024)),
        cpu_seconds: getrlimit(Resource::Cpu).current,
        open_files: (files.current, files.maximum),
        niceness: getpriority_process(None).unwrap(),
        cores: (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| cores.is_set(core)).collect(),
    }
}

#[process_actor]
fn feels() -> Felt {
    felt()
}

/// What a child feels whose builder asks for more than this process has.
#[process_actor]
async fn asks_for_more(cores: Vec<usize>) -> Felt {
    let greedy = Feels::builder().memory_limit(1 << 40).cpu_time_limit(Duration::from_secs(90_000)).open_files_limit(1 << 20);
    greedy.niceness(-20).cpu_affinity(cores).spawn().await.unwrap().join().await.unwrap()
}

/// What a child and a grandchild feel that ask for nothing.
#[process_actor]
fn asks_for_nothing(depth: u32) -> Vec<Felt> {
    let mut all = if depth == 0 { Vec::new() } else { AsksForNothing::spawn(depth - 1).blocking().unwrap().join().blocking().unwrap() };
    all.push(felt());
    all
}

fn is_tight(felt: &Felt, niceness: i32, core: usize) {
    let data = felt.data.unwrap();
    assert!((60 * MIB..=64 * MIB).contains(&data), "{felt:?}");
    assert_eq!((felt.cpu_seconds, felt.open_files), (Some(50), (Some(40), Some(40))));
    assert_eq!((felt.niceness, felt.cores.as_slice()), (niceness, [core].as_slice()));
}

#[procession::test]
async fn they_are_felt_inherited_and_never_loosened() {
    let free = Feels::spawn().await.unwrap().join().await.unwrap();
    let (cores, niceness) = (free.cores.clone(), free.niceness + 3);
    let core = *cores.last().unwrap();
    assert_eq!((free.data, free.cpu_seconds), (None, None));
    assert!(free.open_files.1 > Some(40));
    // Every kind of builder has the methods; each of these is limited the same way.
    macro_rules! limited {
        ($builder:expr) => {
            $builder
                .memory_limit(64 * MIB)
                .cpu_time_limit(Duration::from_secs(50))
                .open_files_limit(40)
                .niceness(niceness)
                .cpu_affinity([core])
        };
    }
    is_tight(&limited!(Feels::builder()).spawn().await.unwrap().join().await.unwrap(), niceness, core);
    is_tight(&limited!(Feels::builder().fresh()).spawn().await.unwrap().join().await.unwrap(), niceness, core);
    let below = limited!(AsksForMore::builder()).spawn(cores.clone()).await.unwrap().join().await.unwrap();
    is_tight(&below, niceness, core);
    let below = limited!(AsksForNothing::builder()).spawn(2).await.unwrap().join().await.unwrap();
    assert_eq!(below.len(), 3);
    below.iter().for_each(|felt| is_tight(felt, niceness, core));
    // The spawner and the nursery are what they were.
    assert_eq!(Feels::spawn().await.unwrap().join().await.unwrap(), free);
}

#[procession::test]
async fn a_child_may_be_limited_more_than_its_spawner() {
    #[process_actor]
    async fn limits_more() -> Felt {
        let child = Feels::builder().memory_limit(16 * MIB).open_files_limit(30).cpu_time_limit(Duration::from_secs(7));
        child.spawn().await.unwrap().join().await.unwrap()
    }
    let spawner = LimitsMore::builder().memory_limit(64 * MIB).open_files_limit(40).cpu_time_limit(Duration::from_secs(50));
    let felt = spawner.spawn().await.unwrap().join().await.unwrap();
    assert!(felt.data.unwrap() <= 16 * MIB, "{felt:?}");
    assert_eq!((felt.open_files, felt.cpu_seconds), ((Some(30), Some(30)), Some(7)));
}

#[procession::test]
async fn one_that_its_root_owns_is_limited_like_its_spawner() {
    #[process_actor]
    async fn tells_what_it_feels(mut mailbox: Mailbox<Reply<Felt>>) {
        while let Some(reply) = mailbox.recv().await {
            reply.send(felt());
        }
    }
    #[process_actor]
    async fn spawns_for_the_root() -> (Option<u64>, Option<u64>) {
        let child = TellsWhatItFeels::builder().owned_by_root().spawn().await.unwrap();
        let felt = child.ask(|reply| reply).await.unwrap();
        child.kill();
        felt.open_files
    }
    let spawner = SpawnsForTheRoot::builder().open_files_limit(40).spawn().await.unwrap();
    assert_eq!(spawner.join().await.unwrap(), (Some(40), Some(40)));
}

#[procession::test]
async fn impossible_ones_fail_the_spawn_and_say_why() {
    #[process_actor]
    async fn spawns_on(core: usize) -> String {
        Feels::builder().cpu_affinity([core]).spawn().await.unwrap_err().to_string()
    }
    let error = Feels::builder().cpu_affinity([0, 100_000]).spawn().await.unwrap_err();
    assert!(matches!(error, SpawnError::Io(_)) && error.to_string().contains("there is no core 100000"), "{error}");
    let error = Feels::builder().cpu_affinity([]).spawn().await.unwrap_err();
    assert!(error.to_string().contains("no core"), "{error}");
    let error = Feels::builder().open_files_limit(3).spawn().await.unwrap_err();
    assert!(error.to_string().contains("open-files limit of 3 is too low"), "{error}");
    let error = Feels::builder().memory_limit(4096).spawn().await.unwrap_err();
    assert!(error.to_string().contains("memory limit of 4096 bytes is too low"), "{error}");
    let error = Feels::builder().niceness(40).spawn().await.unwrap_err();
    assert!(error.to_string().contains("no niceness of 40"), "{error}");
    let cores = Feels::spawn().await.unwrap().join().await.unwrap().cores;
    if let [one, .., other] = cores[..] {
        let said = SpawnsOn::builder().cpu_affinity([one]).spawn(other).await.unwrap().join().await.unwrap();
        assert!(said.contains("no core in common with its spawner's"), "{said}");
    }
}

/// The reason of the report, and its sentence.
async fn reason(process: Process<()>) -> (Option<KillReason>, String) {
    let report = report(&process).await;
    let said = report.to_string();
    match report.outcome {
        Outcome::Killed { reason, .. } => (Some(reason), said),
        _ => (None, said),
    }
}

#[process_actor]
fn takes_a_lot_at_once() {
    black_box(vec![1u8; 1 << 30]);
}

#[process_actor]
fn takes_more_and_more() {
    let mut pages: Vec<Box<[u8; 4096]>> = Vec::new();
    loop {
        pages.push(black_box(Box::new([1; 4096])));
    }
}

#[process_actor]
fn uses_what_malloc_gave() {
    // SAFETY: none: this is what careless C does, and the process is expected to die of it.
    unsafe {
        let block = libc::malloc(1 << 30).cast::<u8>();
        black_box(block).add(8).write_volatile(1);
    }
}

/// Pages of a stack are no data of the kernel's counting: only the samples see them.
#[process_actor]
fn grows_a_stack() {
    let size = 512 << 20;
    // SAFETY: maps memory of its own and writes to it, within its size.
    unsafe {
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN | libc::MAP_NORESERVE;
        let memory = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0);
        assert_ne!(memory, libc::MAP_FAILED);
        for offset in (0..size).step_by(4096) {
            if offset > 100 << 20 {
                std::thread::park_timeout(Duration::from_micros(10));
            }
            memory.cast::<u8>().add(offset).write_volatile(1);
        }
    }
    loop {
        std::thread::park();
    }
}

#[procession::test]
async fn an_allocation_that_fails_is_the_limits_death() {
    let limit = 64 * MIB;
    for backtrace in ["0", "1"] {
        let at_once = || TakesALotAtOnce::builder().memory_limit(limit).env("RUST_BACKTRACE", backtrace);
        let bit_by_bit = TakesMoreAndMore::builder().memory_limit(limit).env("RUST_BACKTRACE", backtrace);
        let careless = UsesWhatMallocGave::builder().memory_limit(limit).env("RUST_BACKTRACE", backtrace);
        for (process, signal) in [
            (at_once().stderr(Stream::Null).spawn().await.unwrap(), "SIGABRT"),
            (at_once().capture_output().fresh().spawn().await.unwrap(), "SIGABRT"),
            (bit_by_bit.stderr(Stream::Null).spawn().await.unwrap(), "SIGABRT"),
            (careless.spawn().await.unwrap(), "SIGSEGV"),
        ] {
            let (reason, said) = reason(process).await;
            assert_eq!(reason, Some(KillReason::MemoryLimit { limit, used: None }), "{said}");
            assert!(said.contains("ran out of its memory limit of 64 MiB") && said.contains(signal), "{said}");
        }
    }
}

#[procession::test]
async fn a_resident_size_over_the_limit_is_the_limits_death() {
    let limit = 64 * MIB;
    let (reason, said) = reason(GrowsAStack::builder().memory_limit(limit).spawn().await.unwrap()).await;
    assert!(matches!(reason, Some(KillReason::MemoryLimit { limit: 67_108_864, used: Some(used) }) if used > limit), "{said}");
    assert!(
        said.contains("was ended by us with SIGKILL because it used ") && said.contains("more than its memory limit of 64 MiB"),
        "{said}"
    );
}

#[procession::test]
async fn what_fits_is_left_alone() {
    #[process_actor]
    fn fits() -> usize {
        // Twice what it may have, but never at once; and what it did not get it can do without.
        for _ in 0..4 {
            black_box(vec![1u8; 32 << 20]);
        }
        let refused = Vec::<u8>::new().try_reserve_exact(1 << 30).is_err();
        // All that there is, touched, for longer than from one look to the next.
        let mut all: Vec<Vec<u8>> = Vec::with_capacity(4096);
        let mut block = Vec::new();
        while block.try_reserve_exact(1 << 16).is_ok() {
            block.resize(1 << 16, 1);
            all.push(std::mem::take(&mut block));
        }
        std::thread::sleep(Duration::from_millis(200));
        all.clear();
        black_box(vec![1u8; 32 << 20]).len() + usize::from(refused)
    }
    let process = Fits::builder().memory_limit(64 * MIB).spawn().await.unwrap();
    assert_eq!(process.join().timeout(PATIENCE).await.unwrap(), (32 << 20) + 1);
}

#[process_actor]
fn aborts() {
    std::process::abort();
}

#[process_actor]
fn faults() {
    // SAFETY: none: the process is expected to die of it.
    unsafe { black_box(std::ptr::null_mut::<u8>()).write_volatile(1) };
}

#[process_actor]
fn is_sent(signal: i32) {
    // SAFETY: sends this process a signal; one that is not handled ends it.
    unsafe { libc::kill(libc::getpid(), signal) };
    loop {
        std::thread::park();
    }
}

#[process_actor]
fn overflows_its_stack() {
    fn deeper(depth: u64) -> u64 {
        let here = black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { deeper(depth + 1) + here[3] }
    }
    black_box(deeper(0));
}

#[procession::test]
async fn other_deaths_keep_their_names_under_a_limit() {
    let memory = 256 * MIB;
    let signal_of = async |process: Process<()>| {
        let report = report(&process).await;
        assert!(matches!(report.outcome, Outcome::Signalled { .. }), "{report}");
        report.signal()
    };
    let (abort, fault) = (Some(libc::SIGABRT), Some(libc::SIGSEGV));
    assert_eq!(signal_of(Aborts::builder().memory_limit(memory).spawn().await.unwrap()).await, abort);
    assert_eq!(signal_of(IsSent::builder().memory_limit(memory).spawn(libc::SIGABRT).await.unwrap()).await, abort);
    assert_eq!(signal_of(Faults::builder().memory_limit(memory).spawn().await.unwrap()).await, fault);
    let brief = Duration::from_secs(90);
    assert_eq!(signal_of(IsSent::builder().cpu_time_limit(brief).spawn(libc::SIGKILL).await.unwrap()).await, Some(libc::SIGKILL));
    // Without that limit it is a signal like another.
    assert_eq!(signal_of(IsSent::spawn(libc::SIGXCPU).await.unwrap()).await, Some(libc::SIGXCPU));
    // What std says about a stack overflow, it says still.
    let overflows = || OverflowsItsStack::builder().capture_output();
    for overflows in [overflows(), overflows().memory_limit(memory)] {
        let report = report(&overflows.spawn().await.unwrap()).await;
        assert!(matches!(report.outcome, Outcome::Signalled { signal: libc::SIGABRT, .. }), "{report}");
        assert!(report.to_string().contains("has overflowed its stack"), "{report}");
    }
}

#[procession::test]
async fn without_a_limit_a_failed_allocation_is_an_abort() {
    #[process_actor]
    fn takes_everything() {
        black_box(vec![1u8; 1 << 62]);
    }
    let process = TakesEverything::builder().stderr(Stream::Null).spawn().await.unwrap();
    assert_eq!(report(&process).await.signal(), Some(libc::SIGABRT));
    assert!(matches!(report(&process).await.outcome, Outcome::Signalled { .. }));
}

#[procession::test]
async fn cpu_time_runs_out() {
    #[process_actor]
    fn spins(threads: usize) {
        let spin = || {
            loop {
                black_box(0);
            }
        };
        for _ in 1..threads {
            std::thread::spawn(spin);
        }
        spin();
    }
    #[process_actor]
    async fn spawns_a_spinner() -> String {
        Spins::spawn(1).await.unwrap().exit().await.unwrap().to_string()
    }
    let limit = Duration::from_millis(300);
    let reason_of = async |threads| reason(Spins::builder().cpu_time_limit(limit).spawn(threads).await.unwrap()).await;
    for threads in [1, 3] {
        let (reason, said) = reason_of(threads).await;
        assert_eq!(reason, Some(KillReason::CpuTimeLimit { limit }), "{said}");
        assert!(said.ends_with("because it used up its CPU time limit of 300ms"), "{said}");
    }
    // Its spawner waits, which takes no CPU time: each has its own.
    let spawner = SpawnsASpinner::builder().cpu_time_limit(limit).spawn().await.unwrap();
    assert!(spawner.join().timeout(PATIENCE).await.unwrap().contains("CPU time limit of 300ms"));
}

#[procession::test]
async fn cpu_time_cannot_be_extended_by_a_handler() {
    extern "C" fn nothing(_signal: i32) {}
    #[process_actor]
    fn does_not_heed() {
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGXCPU, nothing as extern "C" fn(i32) as libc::sighandler_t) };
        loop {
            black_box(0);
        }
    }
    let limit = Duration::from_millis(100);
    let process = DoesNotHeed::builder().cpu_time_limit(limit).spawn().await.unwrap();
    let outcome = report(&process).await.outcome;
    assert_eq!(outcome, Outcome::Killed { signal: libc::SIGKILL, reason: KillReason::CpuTimeLimit { limit } });
}

#[procession::test]
async fn sleeping_takes_no_cpu_time() {
    #[process_actor]
    fn sleeps() -> u32 {
        std::thread::sleep(Duration::from_millis(400));
        7
    }
    let process = Sleeps::builder().cpu_time_limit(Duration::from_millis(200)).spawn().await.unwrap();
    assert_eq!(process.join().timeout(PATIENCE).await.unwrap(), 7);
}

#[procession::test]
async fn without_files_to_open_the_link_still_works() {
    #[process_actor]
    async fn opens(mut mailbox: Mailbox<Reply<(usize, Option<i32>)>>) -> usize {
        let mut open = Vec::new();
        while let Some(reply) = mailbox.recv().await {
            let refused = loop {
                match std::fs::File::open("/dev/null") {
                    Ok(file) => open.push(file),
                    Err(error) => break error.raw_os_error(),
                }
            };
            reply.send((open.len(), refused));
        }
        open.len()
    }
    #[process_actor]
    async fn asks(actor: ActorRef<Reply<(usize, Option<i32>)>>) -> String {
        format!("{:?}", actor.ask(|reply| reply).timeout(PATIENCE).await)
    }
    let actor = Opens::builder().open_files_limit(32).spawn().await.unwrap();
    for _ in 0..3 {
        let (open, refused) = actor.ask(|reply| reply).timeout(PATIENCE).await.unwrap();
        assert!((4..32).contains(&open), "{open}");
        assert_eq!(refused, Some(libc::EMFILE));
    }
    // Who is not connected yet cannot be, and is told so.
    let other = Asks::spawn(actor.reference()).await.unwrap();
    let said = other.join().timeout(PATIENCE).await.unwrap();
    assert!(said.starts_with("Err(Link("), "{said}");
    let (open, _) = actor.ask(|reply| reply).timeout(PATIENCE).await.unwrap();
    assert!((4..32).contains(&open), "{open}");
    assert!(actor.stop().timeout(PATIENCE).await.unwrap() >= 4);
}

// The lowest that is allowed is enough for each kind of actor to live, and to be talked to.
#[procession::test]
async fn the_lowest_limits_are_enough_to_live_with() {
    #[process_actor]
    async fn counts(mut mailbox: Mailbox<Reply<u32>>) -> u32 {
        let mut n = 0;
        while let Some(reply) = mailbox.recv().await {
            n += 1;
            reply.send(n);
        }
        n
    }
    #[process_actor]
    fn counts_sync(mailbox: Mailbox<Reply<u32>>) -> u32 {
        let (mut n, mut mailbox) = (0, mailbox);
        while let Some(reply) = mailbox.recv().blocking() {
            n += 1;
            reply.send(n);
        }
        n
    }
    #[process_actor]
    fn spawns() -> u32 {
        let child = CountsSync::spawn().blocking().unwrap();
        let first = child.ask(|reply| reply).blocking().unwrap();
        first + child.stop().blocking().unwrap()
    }
    let counts = Counts::builder().memory_limit(MIB).open_files_limit(24).spawn().await.unwrap();
    assert_eq!(counts.ask(|reply| reply).timeout(PATIENCE).await.unwrap(), 1);
    assert_eq!(counts.stop().timeout(PATIENCE).await.unwrap(), 1);
    let spawns = Spawns::builder().memory_limit(MIB).open_files_limit(24).spawn().await.unwrap();
    assert_eq!(spawns.join().timeout(PATIENCE).await.unwrap(), 2);
}

#[test]
fn what_a_preload_built_does_not_count() {
    let program = Program::start(env!("CARGO_BIN_EXE_limited"), &[]);
    assert_eq!(program.line(), "144");
    assert!(program.line().contains("ran out of its memory limit of 64 MiB"));
}

/// How often the threads of a process have woken.
fn wakes(pid: u32) -> u64 {
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().map(status);
    tasks
        .filter_map(|status| status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok()))
        .sum()
}

#[test]
fn the_root_samples_only_while_somebody_is_limited() {
    let program = Program::start(env!("CARGO_BIN_EXE_limited"), &[]);
    program.line();
    program.line();
    let limited: u32 = program.line().parse().unwrap();
    let before = wakes(program.pid());
    wait_until("the root has looked a few times", PATIENCE, || wakes(program.pid()) >= before + 5);
    assert!(signal(limited, libc::SIGKILL));
    assert_eq!(program.line(), "ended");
    // Far longer than from one look to the next.
    wait_until("the root sleeps", PATIENCE, || {
        let before = wakes(program.pid());
        std::thread::sleep(Duration::from_millis(500));
        wakes(program.pid()) == before
    });
}
