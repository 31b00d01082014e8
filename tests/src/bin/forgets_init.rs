//! A program that forgot `init`: prints what its first spawn says, and how many processes it has started.

use procession::prelude::*;

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    println!("main");
    for _ in 0..2 {
        match Square::spawn(5).blocking() {
            Ok(_) => println!("spawned"),
            Err(error) => println!("{error}"),
        }
    }
    println!("{}", procession_tests::children(std::process::id()).len());
}
