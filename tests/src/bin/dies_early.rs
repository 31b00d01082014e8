//! A program whose fresh processes die on their way to `init`: by SIGKILL, or with an exit code. Prints what the spawn says.

use procession::prelude::*;

#[process_actor]
fn square(x: i64) -> i64 {
    x * x
}

fn main() -> procession::Result<()> {
    if std::env::var("PROCESSION_HELPER").is_ok_and(|helper| helper.starts_with("actor:")) {
        if std::env::args().nth(1).as_deref() == Some("kill") {
            // SAFETY: ends this process.
            unsafe { libc::raise(libc::SIGKILL) };
        }
        std::process::exit(7);
    }
    procession::init()?;
    for _ in 0..3 {
        match Square::builder().fresh().spawn(5).blocking() {
            Ok(_) => println!("spawned"),
            Err(error) => println!("{error}"),
        }
    }
    println!("{}", Square::spawn(5).blocking()?.join().blocking()?);
    Ok(())
}
