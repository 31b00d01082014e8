//! What INT, TERM and HUP do to a family, and what the end of `main` does.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use procession_tests::{Program, is_gone, signal, wait_gone};

const SOON: Duration = Duration::from_secs(1);

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

const IN_ORDER: [&str; 5] = ["heeded", "lingered", "lingered", "terminated", "terminated"];

#[test]
fn a_signal_stops_the_family_in_order() {
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut program = Program::start(env!("CARGO_BIN_EXE_stops"), &["wait"]);
        let pids = program.pids();
        assert_eq!(pids.len(), 5);
        program.signal(number);
        assert_eq!(program.wait().signal(), Some(number));
        assert_eq!(sorted(program.rest()), IN_ORDER);
        wait_gone(&pids, SOON);
    }
}

// covers 145, 151
#[test]
fn the_end_of_main_stops_what_is_left() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_stops"), &["return"]);
    let pids = program.pids();
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(sorted(program.rest()), IN_ORDER);
    wait_gone(&pids, SOON);
}

#[test]
fn a_panic_of_main_ends_the_family() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_stops"), &["panic"]);
    let pids = program.pids();
    assert_eq!(program.wait().code(), Some(101));
    wait_gone(&pids, SOON);
}

#[test]
fn a_second_interrupt_kills() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_stops"), &["stubborn"]);
    let pids = program.pids();
    program.signal(libc::SIGINT);
    // The first one was heard when the first actor says so.
    while program.line() != "heeded" {}
    program.signal(libc::SIGINT);
    assert_eq!(program.wait().signal(), Some(libc::SIGINT));
    wait_gone(&pids, SOON);
}

#[test]
fn a_terminals_interrupt_is_the_roots_alone_but_not_ignored_below() {
    let mut program = Program::start(env!("CARGO_BIN_EXE_stops"), &["wait"]);
    let pids = program.pids();
    let (&sleep, actors) = pids.split_last().expect("five");
    for &pid in &pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
        let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
        assert_eq!(ignored & (1 << (libc::SIGINT - 1) | 1 << (libc::SIGHUP - 1)), 0, "{pid}");
    }
    for &pid in actors {
        signal(pid, libc::SIGINT);
        signal(pid, libc::SIGHUP);
    }
    signal(sleep, libc::SIGINT);
    wait_gone(&[sleep], SOON);
    assert!(actors.iter().all(|&pid| !is_gone(pid)));
    program.signal(libc::SIGTERM);
    assert_eq!(program.wait().signal(), Some(libc::SIGTERM));
    // The actors went on until then: they stopped in order.
    assert_eq!(sorted(program.rest()), IN_ORDER);
}
