//! The nursery takes no notice of signals, and a family goes on when it is killed.

use std::time::Duration;

use procession::Outcome;
use procession::prelude::*;
use procession_tests::{PATIENCE, children, is_gone, nursery, signal, wait_gone, wait_until};

const SOON: Duration = Duration::from_secs(2);

#[process_actor]
fn double(x: i64) -> i64 {
    x * 2
}

#[process_actor]
fn says(number: u32) {
    println!("{number}");
}

/// Lives until it is told a number, and returns that.
#[process_actor]
async fn holds(mut mailbox: Mailbox<i64>) -> i64 {
    mailbox.recv().await.unwrap_or(-1)
}

fn own_nursery() -> u32 {
    nursery(std::process::id()).expect("this process's nursery")
}
// covers 20, 128

/// One test: other tests of this process would share the nursery that it kills.
#[procession::test]
async fn killed_and_replaced() {
    // covers 20, 128
    assert_eq!(Double::spawn(1).await.unwrap().join().await.unwrap(), 2);
    let first = own_nursery();
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        assert!(signal(first, number));
        assert_eq!(Double::spawn(2).await.unwrap().join().await.unwrap(), 4);
        assert_eq!(own_nursery(), first);
    }

    // Living children go on; what they return arrives; a signal's number is lost, their death is not.
    let returns = Holds::spawn().await.unwrap();
    let signalled = Holds::spawn().await.unwrap();
    let fails = Holds::spawn().await.unwrap();
    signal(first, libc::SIGKILL);
    wait_gone(&[first], SOON);
    assert!(returns.is_alive() && signalled.is_alive() && !is_gone(returns.pid()) && !is_gone(signalled.pid()));
    returns.tell(7).await.unwrap();
    assert_eq!(returns.join().timeout(PATIENCE).await.unwrap(), 7);
    signal(signalled.pid(), libc::SIGKILL);
    assert_eq!(signalled.exit().timeout(PATIENCE).await.unwrap().outcome, Outcome::Lost);

    // The next spawn starts another, beside those that live on.
    assert_eq!(Double::spawn(3).await.unwrap().join().timeout(PATIENCE).await.unwrap(), 6);
    let second = own_nursery();
    assert_ne!(second, first);
    assert_eq!(fails.stop().timeout(PATIENCE).await.unwrap(), -1);
    wait_until("the first nursery was reaped", SOON, || !children(std::process::id()).contains(&first));

    // Births that are under way when it is killed are repeated: every spawn succeeds, and its function runs once.
    let (mut lines, writer) = std::io::pipe().unwrap();
    let mut expected = 0;
    for _ in 0..20 {
        let born = (0..8).map(|_| {
            expected += 1;
            let (number, writer) = (expected, writer.try_clone().unwrap());
            async move { Says::builder().stdout(writer).spawn(number).await?.exit().await.map_err(procession::Error::from) }
        });
        let spawns: Vec<_> = born.map(tokio::spawn).collect();
        if let Some(nursery) = nursery(std::process::id()) {
            signal(nursery, libc::SIGKILL);
        }
        for spawn in spawns {
            let report = tokio::time::timeout(PATIENCE, spawn).await.expect("no hang").unwrap().unwrap();
            assert!(matches!(report.outcome, Outcome::Returned | Outcome::Lost), "{report}");
        }
    }
    drop(writer);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
    let mut said: Vec<u32> = said.lines().map(|line| line.parse().unwrap()).collect();
    let count = said.len();
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), count, "a function ran twice");
    assert!(said.iter().all(|number| (1..=expected).contains(number)));
}
