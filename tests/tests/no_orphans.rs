//! No process outlives its family's root, or the actor that started it, whatever either is doing.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession_tests::{PATIENCE, Program, is_gone, nursery, parent, signal, wait_gone, wait_until};

const SOON: Duration = Duration::from_secs(1);

fn busy_family() -> (Program, Vec<u32>) {
    let program = Program::start(env!("CARGO_BIN_EXE_busy_family"), &[]);
    let mut pids: Vec<u32> = (0..4).map(|_| program.line().parse().expect("a pid")).collect();
    pids.push(nursery(program.pid()).expect("a nursery"));
    (program, pids)
}

#[test]
fn a_killed_root_takes_its_busy_family_with_it() {
    let start = Instant::now();
    for round in 0..100 {
        if start.elapsed() > Duration::from_secs(20) {
            assert!(round >= 10, "a round takes too long");
            break;
        }
        let (mut program, pids) = busy_family();
        program.signal(libc::SIGKILL);
        wait_gone(&pids, SOON);
        program.wait();
    }
}

#[test]
fn without_a_nursery_too() {
    let (mut program, mut pids) = busy_family();
    let nursery = pids.pop().expect("the nursery's");
    signal(nursery, libc::SIGKILL);
    wait_gone(&[nursery], SOON);
    assert!(pids.iter().all(|&pid| !is_gone(pid)));
    program.signal(libc::SIGKILL);
    wait_gone(&pids, SOON);
    program.wait();
}

/// Spins below a chain of others; each prints its pid.
#[process_actor]
fn chain(depth: u32) {
    if depth > 1 {
        Chain::spawn(depth - 1).blocking().expect("a child of its own");
    }
    println!("{}", std::process::id());
    loop {
        std::hint::spin_loop();
    }
}

fn output() -> (BufReader<PipeReader>, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (BufReader::new(reader), writer)
}

fn pid(lines: &mut impl BufRead) -> u32 {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    line.trim().parse().expect("a pid")
}

// covers 12
#[procession::test]
async fn a_killed_actor_takes_its_descendants_with_it() {
    for _ in 0..10 {
        let (mut lines, writer) = output();
        let top = Chain::builder().stdout(writer).spawn(4).await.unwrap();
        let mut pids: Vec<u32> = (0..4).map(|_| pid(&mut lines)).collect();
        pids.retain(|&pid| pid != top.pid());
        assert_eq!(pids.len(), 3);
        // The second from the top: its two descendants go, its parent stays.
        let actors: Vec<_> = pids.iter().map(|&pid| (pid, depth_of(pid))).collect();
        let (&(middle, _), rest) = actors.split_last().expect("three");
        signal(middle, libc::SIGKILL);
        wait_gone(&pids, SOON);
        assert_eq!(rest.len(), 2);
        assert!(top.is_alive() && !is_gone(top.pid()));
        top.kill();
        top.exit().await.unwrap();
    }
}

/// All actors are children of the nursery; the test knows their order by the order in which they print.
fn depth_of(pid: u32) -> Option<u32> {
    parent(pid)
}

#[process_actor]
fn litters(how: String) {
    match how.as_str() {
        "child" => {
            let child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("sleep");
            println!("{}", child.id());
        }
        command => {
            let output = Command::new("sh").args(["-c", command]).output().expect("sh");
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    loop {
        std::thread::park();
    }
}

#[procession::test]
async fn strays_end_with_their_actor() {
    let ways = [
        "child",
        "sleep 1000 >/dev/null 2>&1 & echo $!",
        "setsid sleep 1000 >/dev/null 2>&1 & echo $!",
        "(sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!; exec sleep 1000 >/dev/null 2>&1' &) | head -1",
    ];
    for way in ways {
        let (mut lines, writer) = output();
        let actor = Litters::builder().stdout(writer).spawn(way.to_owned()).await.unwrap();
        let stray = pid(&mut lines);
        assert!(!is_gone(stray), "{way}");
        actor.kill();
        actor.exit().await.unwrap();
        wait_gone(&[stray], SOON);
    }
}

#[procession::test]
async fn a_child_in_order_leaves_no_zombie() {
    #[process_actor]
    fn brief() {}
    let mut pids = Vec::new();
    for _ in 0..20 {
        let process = Brief::spawn().await.unwrap();
        pids.push(process.pid());
        process.join().await.unwrap();
    }
    // Reaped before it is reported.
    for pid in pids {
        wait_until("a reaped process has no entry", PATIENCE, || procession_tests::state(pid).is_none());
    }
}
