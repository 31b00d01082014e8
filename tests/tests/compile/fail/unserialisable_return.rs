//! What is returned is serialisable; the complaint is at its type.

use procession::process_actor;

struct Opaque;

#[process_actor]
fn value() -> Opaque {
    Opaque
}

#[process_actor]
async fn error() -> Result<i64, Opaque> {
    Err(Opaque)
}

#[process_actor]
fn success() -> std::io::Result<Opaque> {
    Ok(Opaque)
}

fn main() {}
