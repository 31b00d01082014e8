//! An error that an alias hides has a text.

use procession::process_actor;

struct Opaque;

type Result<T> = std::result::Result<T, Opaque>;

#[process_actor]
fn fail() -> Result<i64> {
    Err(Opaque)
}

fn main() {}
