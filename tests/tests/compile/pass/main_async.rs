//! An async main with every argument; `?` and `return` are those of the function as it is written.

use std::sync::atomic::{AtomicBool, Ordering};

static LOADED: AtomicBool = AtomicBool::new(false);

mod startup {
    pub fn load() {
        super::LOADED.store(true, super::Ordering::Relaxed);
    }
}

#[procession::main(flavor = "multi_thread", worker_threads = 2, preload = startup::load, signals = false)]
async fn main() -> anyhow::Result<()> {
    #![allow(unused_variables)]
    let unused = std::future::ready(1).await;
    let number: i64 = "5".parse()?;
    if number == 5 {
        return Ok(());
    }
    Err("not five").map_err(anyhow::Error::msg)
}
