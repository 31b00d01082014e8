//! A runtime of one thread has no workers.

#[procession::main(flavor = "current_thread", worker_threads = 4)]
async fn main() {}
