//! The attribute goes on a function.

#[procession::main]
struct Main;

fn main() {}
