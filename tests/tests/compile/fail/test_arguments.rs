//! A test has no nursery and no signals of its own to set.

#[procession::test(preload = load, signals = false)]
async fn settings() {}

#[procession::test(worker_threads = 2)]
async fn workers_of_one_thread() {}

fn main() {}
