//! An argument is given once.

#[procession::main(signals = false, signals = true)]
async fn main() {}
