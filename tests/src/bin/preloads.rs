//! A program with a preload. `preloads share`: a large table that children share. `preloads thread`: it leaves a thread.
//! `preloads panic`: it panics. Prints what happens.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use procession::prelude::*;

static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
const ENTRIES: u64 = 4 << 20;

fn load() {
    match std::env::args().nth(1).as_deref() {
        Some("thread") => {
            std::thread::spawn(std::thread::park);
        }
        Some("panic") => panic!("the preload cannot"),
        _ => {
            // Uses randomness, as loading anything does.
            let _ = RandomState::new();
            // SAFETY: the preload runs before anything else of this process.
            unsafe { std::env::set_var("PRELOADED", "yes") };
            let _ = TABLE.set((0..ENTRIES).collect());
        }
    }
}

/// The sum of the table, and how many KiB this process has of its own, in the end.
#[process_actor]
fn sum() -> (Option<u64>, u64, u64, Option<String>) {
    let sum = TABLE.get().map(|table| table.iter().sum());
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(|line| line.split_ascii_whitespace().nth(1));
    let private = private.filter_map(|kib| kib.parse::<u64>().ok()).sum();
    (sum, private, RandomState::new().hash_one(1), std::env::var("PRELOADED").ok())
}

#[process_actor]
fn nests() -> (Option<u64>, u64, u64, Option<String>) {
    Sum::spawn().blocking().expect("a child").join().blocking().expect("its sum")
}

#[procession::main(preload = load)]
fn main() -> procession::Result<()> {
    for round in 0..2 {
        match Sum::spawn().blocking() {
            Ok(process) => {
                let (sum, private, hash, preloaded) = process.join().blocking()?;
                println!("{sum:?} {} {preloaded:?}", private < ENTRIES * 8 / 1024 / 2);
                let (nested, _, other, preloaded) = Nests::spawn().blocking()?.join().blocking()?;
                println!("{} {} {preloaded:?}", nested == sum, hash != other);
                if round == 1 {
                    let (fresh, _, another, preloaded) = Sum::builder().fresh().spawn().blocking()?.join().blocking()?;
                    println!("{fresh:?} {} {preloaded:?}", another != hash);
                }
            }
            Err(error) => println!("{error}"),
        }
    }
    println!("{:?} {:?}", TABLE.get().is_some(), std::env::var("PRELOADED").is_ok());
    Ok(())
}
