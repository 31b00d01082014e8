//! Main is an ordinary function.

#[procession::main]
const unsafe extern "C" fn main() {}
