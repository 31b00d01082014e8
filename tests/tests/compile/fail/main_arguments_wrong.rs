//! Arguments are what they say.

#[procession::main(flavor = "many_threads", worker_threads = 0, preload = 4, signals = "no")]
async fn main() {}
