//! No process outlives its family's root, or the actor that started it, whatever either is doing.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procession::prelude::*;
use procession_tests::{PATIENCE, Program, is_gone, nursery, signal, wait_gone, wait_until};

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

/// Spins below a chain of others; each prints how deep the chain is below it, and its pid.
#[process_actor]
fn chain(depth: u32) {
    if depth > 1 {
        Chain::spawn(depth - 1).blocking().expect("a child of its own");
    }
    println!("{depth} {}", std::process::id());
    loop {
        std::hint::spin_loop();
    }
}

fn output() -> (BufReader<PipeReader>, PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (BufReader::new(reader), writer)
}

fn line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

// covers 12
#[procession::test]
async fn a_killed_actor_takes_its_descendants_with_it() {
    for _ in 0..10 {
        let (mut lines, writer) = output();
        let top = Chain::builder().stdout(writer).spawn(4).await.unwrap();
        let mut below = Vec::new();
        for _ in 0..4 {
            let line = line(&mut lines);
            let (depth, pid) = line.split_once(' ').expect("two numbers");
            below.push((depth.parse::<u32>().unwrap(), pid.parse::<u32>().unwrap()));
        }
        below.sort_unstable();
        let pids: Vec<u32> = below.iter().map(|&(_, pid)| pid).collect();
        assert_eq!(pids[3], top.pid());
        signal(pids[2], libc::SIGKILL);
        wait_gone(&pids[..3], SOON);
        assert!(top.is_alive() && !is_gone(top.pid()));
        top.kill();
        top.exit().await.unwrap();
    }
}

#[process_actor]
fn litters(how: String) {
    match how.as_str() {
        "child" => {
            #[expect(clippy::zombie_processes, reason = "leaving it is what this actor is for")]
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
        let stray = line(&mut lines).parse().unwrap();
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
