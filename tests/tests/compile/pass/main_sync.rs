//! A sync main, whose result is any that Rust takes from main.

use std::process::{ExitCode, Termination};

#[procession::main(signals = true)]
fn main() -> impl Termination {
    let numbers = ["1", "2"].map(str::parse::<i64>);
    let Ok([1, 2]) = numbers
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .as_deref()
    else {
        return ExitCode::FAILURE;
    };
    ExitCode::SUCCESS
}
