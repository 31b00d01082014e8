//! A program that calls `init` where threads exist already: prints what it says, and what a spawn says.

use procession::prelude::*;

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

#[tokio::main]
async fn main() {
    match procession::init() {
        Ok(()) => println!("initialised"),
        Err(error) => println!("{error}"),
    }
    match Square::spawn(5).await {
        Ok(_) => println!("spawned"),
        Err(error) => println!("{error}"),
    }
    println!("{}", procession_tests::children(std::process::id()).len());
}
