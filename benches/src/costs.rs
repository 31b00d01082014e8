//! What Procession costs: one table, each figure beside its *floor*, what the same thing costs with nothing but system calls.
//!
//! `cargo bench -p procession-benches`, or with `-- tell spawn` only the cases whose names contain one of the words, with
//! `-- --quick` one round of each, with `-- --alone` neither floors nor Python, for a profiler, and with `-- plot` what the pool's plot
//! is drawn from. The pools have a table of their own, in which
//! Python's stand beside them.
//!
//! Floor and case are measured in turns, round by round, in the same run and with the same placement, and the table shows the
//! median of each. The floors live in a helper process of their own ([`floors`]): this same program, executed afresh, so that it is as
//! small as the nursery and forks as cheaply.

mod actors;
mod cases;
mod floors;
mod place;
mod pool;
mod python;
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
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (quick, alone) = (has("--quick"), has("--alone"));
    let python = if alone { python::Python::none() } else { python::Python::start() };
    let bench = pool::Bench { floors: floors::Floors::start(), python, quick, alone };
    if words.iter().any(|word| *word == "plot") {
        pool::plot::print(&bench);
        return;
    }
    let costs = wanted(cases::ALL, &words).into_iter().flat_map(|case| case(&bench.floors));
    print(&table::heading(), costs);
    let pools = wanted(pool::ALL, &words).into_iter().flat_map(|case| case(&bench));
    print(&pool::heading(&bench), pools);
}

/// The cases that one of the words is about; all, where there are none.
fn wanted<C: Copy>(cases: &[(&str, C)], words: &[&String]) -> Vec<C> {
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    cases.iter().filter(|(name, _)| is_wanted(name)).map(|(_, case)| *case).collect()
}

/// A table; nothing where it has no rows.
fn print(heading: &str, rows: impl Iterator<Item = impl std::fmt::Display>) {
    for (number, row) in rows.enumerate() {
        if number == 0 {
            println!("{heading}");
        }
        println!("{row}");
    }
    println!();
}
