//! What Procession costs: one table, each figure beside its *floor*, what the same thing costs with nothing but system calls.
//!
//! `cargo bench -p procession-benches`, or with `-- tell spawn` only the cases whose names contain one of the words.
//!
//! Floor and case are measured in turns, round by round, in the same run and with the same placement, and the table shows the
//! median of each. The floors live in a helper process of their own ([`floors`]): this same program, executed afresh, so that it is as
//! small as the nursery and forks as cheaply.

mod actors;
mod cases;
mod floors;
mod place;
mod table;

#[procession::main]
fn main() {
    if floors::is_helper() {
        floors::serve();
        return;
    }
    // `cargo bench` passes `--bench`; `cargo test --benches` does not, and then only wants to know that it runs.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let floors = floors::Floors::start();
    println!("{}", table::heading());
    for (name, case) in cases::ALL {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            for row in case(&floors) {
                println!("{row}");
            }
        }
    }
}
