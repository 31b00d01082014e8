//! What the end of a program does with its pools.

use procession_tests::{PATIENCE, Program, wait_gone};

/// What the tasks printed of a program that came to its end in order.
fn printed(mode: &str) -> Vec<String> {
    let mut program = Program::start(env!("CARGO_BIN_EXE_leaves_a_pool"), &[mode]);
    let pids = program.pids();
    assert_eq!(pids.len(), 2);
    assert_eq!(program.wait().code(), Some(0));
    wait_gone(&pids, PATIENCE);
    program.rest()
}

// covers 107
#[test]
fn a_forgotten_pool_is_in_nobodys_way() {
    assert!(printed("idle").is_empty());
}

// covers 145
#[test]
fn what_was_submitted_is_done_before_the_end() {
    let mut numbers: Vec<u32> = printed("busy").iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

// covers 151
#[test]
fn a_task_without_an_end_does_not_keep_the_program() {
    assert!(printed("endless").is_empty());
}
