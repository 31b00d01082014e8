//! An unsafe function's contract cannot be kept from another process.

use procession::process_actor;

#[process_actor]
unsafe fn read(address: usize) -> u8 {
    unsafe { *(address as *const u8) }
}

fn main() {}
