//! A root that has started a thousand processes holds no more than one that has started ten.

use procession::prelude::*;
use procession_tests::{PATIENCE, wait_until};

#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    kib: u64,
}

fn held() -> Held {
    let count = |path| std::fs::read_dir(path).map_or(0, Iterator::count);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_ascii_whitespace().next()?.parse().ok());
    Held { descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"), kib: kib.unwrap_or(0) }
}

#[process_actor]
fn double(x: u32) -> u32 {
    x * 2
}

#[process_actor]
async fn echoes(mut mailbox: Mailbox<(u32, Reply<u32>)>) {
    while let Some((x, reply)) = mailbox.recv().await {
        reply.send(x);
    }
}

#[process_actor]
fn spawns(x: u32) -> u32 {
    Double::spawn(x).blocking().unwrap().join().blocking().unwrap()
}

async fn one(x: u32) {
    match x % 4 {
        0 => {
            let echoes = Echoes::builder().capture_output().spawn().await.unwrap();
            assert_eq!(echoes.ask(move |reply| (x, reply)).await.unwrap(), x);
            echoes.stop().await.unwrap();
        }
        1 => assert_eq!(Spawns::spawn(x).await.unwrap().join().await.unwrap(), x * 2),
        2 => {
            let echoes = Echoes::spawn().await.unwrap();
            assert_eq!(echoes.ask(move |reply| (x, reply)).await.unwrap(), x);
            echoes.kill();
            echoes.exit().await.unwrap();
        }
        _ => assert_eq!(Double::spawn(x).await.unwrap().join().await.unwrap(), x * 2),
    }
}

// covers 16, 31, 127
#[procession::test]
async fn after_a_thousand_births() {
    for x in 0..12 {
        one(x).await;
    }
    let before = held();
    for x in 0..1000 {
        one(x).await;
    }
    // The last link is closed a moment after its report.
    wait_until("descriptors and threads are as before", PATIENCE, || {
        let now = held();
        now.descriptors <= before.descriptors && now.threads <= before.threads
    });
    let after = held();
    assert!(after.kib < before.kib + 4096, "{before:?} {after:?}");
    assert!(procession::children().is_empty());
}
