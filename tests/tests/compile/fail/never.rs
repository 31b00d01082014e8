//! A process actor returns.

use procession::process_actor;

#[process_actor]
fn forever() -> ! {
    loop {
        std::thread::park();
    }
}

fn main() {}
