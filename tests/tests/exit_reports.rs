//! How every process ended is known exactly, by everybody who waits for it.

use std::time::{Duration, Instant};

use procession::prelude::*;
use procession::{ExitReport, JoinError, KillReason, Outcome, StopStep};
use procession_tests::{PATIENCE, signal, wait_until};

const SOON: Duration = Duration::from_secs(2);

async fn report<R: procession::Message>(process: &Process<R>) -> ExitReport {
    (*process.exit().timeout(PATIENCE).await.expect("an end")).clone()
}

#[process_actor]
fn double(x: i64) -> i64 {
    x * 2
}

#[process_actor]
fn waits() {
    loop {
        std::thread::park();
    }
}

#[process_actor]
async fn serves(mut mailbox: Mailbox<()>) -> String {
    while mailbox.recv().await.is_some() {}
    "served".to_owned()
}

// covers 3, 7
#[procession::test]
async fn returned() {
    let process = Double::builder().name("twice").spawn(21).await.unwrap();
    assert_eq!(process.join().await.unwrap(), 42);
    let report = report(&process).await;
    assert_eq!((report.outcome.clone(), report.code(), report.pid), (Outcome::Returned, Some(0), process.pid()));
    assert_eq!(report.name, "twice");
    assert!(matches!(process.join().await, Err(JoinError::Taken)));
    assert!(!process.is_alive());
}

// covers 22
#[procession::test]
async fn failed_with_its_chain() {
    #[process_actor]
    fn reads() -> anyhow::Result<String> {
        use anyhow::Context;
        std::fs::read_to_string("/no/such/file").context("reading the settings").context("starting up")
    }
    let process = Reads::spawn().await.unwrap();
    let chain = process.join().await.unwrap().unwrap_err();
    let messages: Vec<&str> = chain.messages().collect();
    assert_eq!(messages[..2], ["starting up", "reading the settings"]);
    assert!(messages[2].contains("No such file"), "{messages:?}");
    let report = report(&process).await;
    assert!(matches!(&report.outcome, Outcome::Failed(same) if *same == chain), "{report}");
    assert_eq!(report.code(), Some(1));
}

#[procession::test]
async fn an_error_of_ones_own_is_a_value() {
    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    enum Fault {
        Odd(i64),
    }
    #[process_actor]
    fn halve(x: i64) -> Result<i64, Fault> {
        if x % 2 == 0 { Ok(x / 2) } else { Err(Fault::Odd(x)) }
    }
    let process = Halve::spawn(7).await.unwrap();
    assert_eq!(process.join().await.unwrap(), Err(Fault::Odd(7)));
    assert_eq!(report(&process).await.outcome, Outcome::Returned);
}

// covers 22, 100
#[procession::test]
async fn panicked() {
    #[process_actor]
    fn indexes(list: Vec<u8>) -> u8 {
        list[3]
    }
    let process = Indexes::builder().stderr(procession::Stream::Null).spawn(vec![1, 2]).await.unwrap();
    let error = process.join().await.unwrap_err();
    let Some(Outcome::Panicked(panic)) = error.report().map(|report| &report.outcome) else { panic!("{error}") };
    assert_eq!(panic.message, "index out of bounds: the len is 2 but the index is 3");
    let place = panic.place.as_deref().unwrap();
    assert!(place.contains("exit_reports.rs:"), "{place}");
    assert!(panic.backtrace.contains("indexes"), "{}", panic.backtrace);
}

#[procession::test]
async fn a_panic_that_was_caught_is_none() {
    #[process_actor]
    fn catches() -> bool {
        std::panic::catch_unwind(|| panic!("caught")).is_err()
    }
    let process = Catches::builder().stderr(procession::Stream::Null).spawn().await.unwrap();
    assert!(process.join().await.unwrap());
    assert_eq!(report(&process).await.outcome, Outcome::Returned);
}

#[process_actor]
fn ends_by(signal: i32) {
    // SAFETY: no core is wanted; then a signal to this process itself.
    unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[procession::test]
async fn signalled_from_inside() {
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGUSR1] {
        let process = EndsBy::spawn(signal).await.unwrap();
        let report = report(&process).await;
        assert_eq!(report.outcome, Outcome::Signalled { signal, core: false });
        assert_eq!((report.signal(), report.code()), (Some(signal), Some(-signal)));
    }
}

#[procession::test]
async fn a_real_segmentation_fault() {
    #[process_actor]
    fn dereferences(address: usize) -> u8 {
        // SAFETY: none. This is what the test is about.
        unsafe { std::ptr::read_volatile(address as *const u8) }
    }
    let process = Dereferences::builder().capture_output().spawn(8).await.unwrap();
    let report = report(&process).await;
    assert_eq!(report.signal(), Some(libc::SIGSEGV), "{report}");
    assert!(matches!(report.outcome, Outcome::Signalled { .. }));
}

#[procession::test]
async fn aborted() {
    #[process_actor]
    fn aborts() {
        std::process::abort();
    }
    let process = Aborts::spawn().await.unwrap();
    assert_eq!(report(&process).await.signal(), Some(libc::SIGABRT));
}

#[procession::test]
async fn signalled_from_outside() {
    for number in [libc::SIGKILL, libc::SIGTERM] {
        let process = Waits::spawn().await.unwrap();
        assert!(signal(process.pid(), number));
        let report = report(&process).await;
        assert_eq!(report.outcome, Outcome::Signalled { signal: number, core: false });
    }
}

// covers 23
#[procession::test]
async fn exited() {
    #[process_actor]
    fn exits(code: i32) {
        std::process::exit(code);
    }
    for code in [0, 3, 255] {
        let process = Exits::spawn(code).await.unwrap();
        let error = process.join().await.unwrap_err();
        assert_eq!(error.report().map(|report| report.outcome.clone()), Some(Outcome::Exited(code)));
    }
}

// covers 8, 9
#[procession::test]
async fn ended_by_us() {
    let process = Waits::spawn().await.unwrap();
    assert!(matches!(process.join().timeout(Duration::ZERO).await, Err(JoinError::Timeout)));
    process.terminate();
    assert_eq!(report(&process).await.outcome, Outcome::Killed { signal: libc::SIGTERM, reason: KillReason::Terminated });
    assert_eq!(report(&process).await.code(), Some(-libc::SIGTERM));

    let process = Waits::spawn().await.unwrap();
    process.kill();
    assert_eq!(report(&process).await.outcome, Outcome::Killed { signal: libc::SIGKILL, reason: KillReason::Killed });

    // Whichever of the two it was, it was ours.
    let process = Waits::spawn().await.unwrap();
    process.terminate();
    process.kill();
    assert!(matches!(report(&process).await.outcome, Outcome::Killed { .. }));
    // Afterwards, both do nothing.
    process.terminate();
    process.kill();
}
// covers 21

#[procession::test]
async fn stopped_when_asked() {
    let actor = Serves::spawn().await.unwrap();
    assert_eq!(actor.stop().await.unwrap(), "served");
    let report = actor.exit().await.unwrap();
    assert_eq!((&report.outcome, report.stop), (&Outcome::Returned, Some(StopStep::Asked)));
}

#[procession::test]
async fn a_function_can_heed_a_stop() {
    #[process_actor]
    fn works() -> u64 {
        let mut rounds = 0;
        while !procession::current().stop_requested() {
            rounds += 1;
        }
        rounds
    }
    let process = Works::spawn().await.unwrap();
    process.stop().await.unwrap();
    assert_eq!(report(&process).await.stop, Some(StopStep::Asked));
}

#[procession::test]
async fn stopped_by_sigterm_after_its_grace() {
    let process = Waits::spawn().await.unwrap();
    process.stop().grace(Duration::from_millis(20)).await.unwrap_err();
    let report = report(&process).await;
    assert_eq!(report.outcome, Outcome::Killed { signal: libc::SIGTERM, reason: KillReason::StopEscalated });
    assert_eq!(report.stop, Some(StopStep::Terminated));
}

#[procession::test]
async fn stopped_by_sigkill_after_that() {
    #[process_actor]
    fn is_deaf(mailbox: Mailbox<Reply<()>>) {
        // SAFETY: ignoring a signal touches no memory.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        let mut mailbox = mailbox;
        mailbox.recv().blocking().expect("one message").send(());
        loop {
            std::thread::park();
        }
    }
    let actor = IsDeaf::builder().grace(Duration::from_millis(20)).spawn().await.unwrap();
    actor.ask(|reply| reply).await.unwrap();
    actor.stop().await.unwrap_err();
    let report = actor.exit().await.unwrap();
    assert_eq!(report.outcome, Outcome::Killed { signal: libc::SIGKILL, reason: KillReason::StopEscalated });
    assert_eq!(report.stop, Some(StopStep::Killed));
}

#[procession::test]
async fn the_end_of_a_captured_stderr() {
    #[process_actor]
    fn complains(lines: u32) {
        for line in 0..lines {
            eprintln!("line {line}");
        }
        std::process::exit(9);
    }
    let process = Complains::builder().capture_output().spawn(3).await.unwrap();
    let few = report(&process).await;
    assert_eq!(few.stderr.as_deref(), Some("line 0\nline 1\nline 2\n"));
    assert!(few.to_string().ends_with("line 2"), "{few}");
    let process = Complains::builder().capture_output().spawn(100_000).await.unwrap();
    let tail = report(&process).await.stderr.unwrap();
    assert!(tail.len() <= 16 * 1024 && tail.len() > 15 * 1024, "{}", tail.len());
    assert!(tail.ends_with("line 99999\n"));
    let process = Complains::spawn(0).await.unwrap();
    assert_eq!(report(&process).await.stderr, None);
}

#[procession::test]
async fn one_that_never_stops_complaining_disturbs_nobody() {
    #[process_actor]
    fn floods() {
        use std::io::Write;
        loop {
            let _ = std::io::stderr().write_all(&[b'x'; 65536]);
        }
    }
    let flood = Floods::builder().capture_output().spawn().await.unwrap();
    for x in 0..10 {
        assert_eq!(Double::spawn(x).await.unwrap().join().timeout(PATIENCE).await.unwrap(), 2 * x);
    }
    flood.kill();
    assert_eq!(report(&flood).await.stderr.map(|tail| tail.len()), Some(16 * 1024));
}

// covers 13
#[procession::test]
async fn a_death_is_reported_while_a_grandchild_holds_the_link() {
    #[process_actor]
    fn forks(mailbox: Mailbox<Reply<u32>>) {
        let mut mailbox = mailbox;
        let reply = mailbox.recv().blocking().expect("one message");
        // SAFETY: the copy calls nothing but setsid and pause; it keeps a copy of every descriptor.
        let pid = unsafe {
            match libc::fork() {
                0 => {
                    libc::setsid();
                    loop {
                        libc::pause();
                    }
                }
                pid => pid,
            }
        };
        reply.send(pid.cast_unsigned());
        let _ = mailbox.recv().blocking();
    }
    let actor = Forks::spawn().await.unwrap();
    let grandchild = actor.ask(|reply| reply).await.unwrap();
    let hanging = actor.ask(|reply| reply);
    let start = Instant::now();
    signal(actor.pid(), libc::SIGKILL);
    assert_eq!(actor.exit().timeout(PATIENCE).await.unwrap().signal(), Some(libc::SIGKILL));
    assert!(start.elapsed() < SOON);
    let died = hanging.timeout(PATIENCE).await.unwrap_err();
    assert!(matches!(died, procession::AskError::Died(_)), "{died}");
    wait_until("the grandchild is gone too", SOON, || procession_tests::is_gone(grandchild));
}

#[procession::test]
async fn everybody_gets_the_same_report() {
    let actor = Serves::spawn().await.unwrap();
    let monitor = actor.reference();
    let (first, second, asked) = tokio::join!(
        async { actor.exit().await.unwrap() },
        async { actor.process().join().await.unwrap_err().report().cloned().unwrap() },
        async {
            loop {
                match monitor.tell(()).await {
                    Ok(()) => signal(actor.pid(), libc::SIGKILL),
                    Err(error) => break error.reason,
                };
            }
        }
    );
    assert_eq!(*first, second);
    assert!(matches!(&asked, procession::TellReason::Died(report) if **report == *first), "{asked:?}");
    assert_eq!(actor.report().as_deref(), Some(&*first));
}

#[procession::test]
async fn what_an_actor_told_arrives_however_it_ends() {
    #[process_actor]
    fn tells(to: procession::ActorRef<u32>, how: String) {
        for n in 0..200 {
            to.tell(n).blocking().expect("told");
        }
        match how.as_str() {
            "return" => {}
            "panic" => panic!("as told"),
            _ => std::process::exit(3),
        }
    }
    #[process_actor]
    fn counts(mailbox: Mailbox<u32>, expected: u32) -> u32 {
        let mut mailbox = mailbox;
        let mut count = 0;
        while count < expected && mailbox.recv().blocking() == Some(count) {
            count += 1;
        }
        count
    }
    for how in ["return", "panic", "exit"] {
        let counts = Counts::spawn(200).await.unwrap();
        let tells = Tells::builder().stderr(procession::Stream::Null).spawn(counts.reference(), how.to_owned()).await.unwrap();
        tells.exit().await.unwrap();
        assert_eq!(counts.join().timeout(PATIENCE).await.unwrap(), 200, "{how}");
    }
}
