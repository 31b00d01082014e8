//! Other arguments are refused.

#[procession::main(threads = 4, flavor, "current_thread")]
async fn main() {}
