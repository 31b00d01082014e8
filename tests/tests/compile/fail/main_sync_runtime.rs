//! A function that is not async has no runtime to set.

#[procession::main(flavor = "current_thread", worker_threads = 4)]
fn main() {}
