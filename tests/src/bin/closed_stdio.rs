//! A root that closes its standard streams, before its first spawn or after it, and goes on: the results go to the file named
//! by the first argument.

use std::io::Write;
use std::os::fd::AsRawFd;

use procession::prelude::*;

#[process_actor]
fn streams() -> Vec<String> {
    println!("into nothing");
    (0..3).map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).map_or_else(|e| e.to_string(), |p| p.display().to_string())).collect()
}

#[process_actor]
fn nests() -> Vec<String> {
    Streams::spawn().blocking().expect("a child").join().blocking().expect("its streams")
}

#[procession::main]
fn main() -> procession::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_default();
    let mut file = std::fs::File::create(path)?;
    assert!(file.as_raw_fd() > 2);
    if arguments.next().as_deref() == Some("late") {
        Streams::spawn().blocking()?.join().blocking()?;
    }
    for fd in 0..3 {
        // SAFETY: the standard streams belong to this program, which uses none of them from here on.
        unsafe { libc::close(fd) };
    }
    for _ in 0..3 {
        writeln!(file, "{:?}", Streams::spawn().blocking()?.join().blocking()?)?;
        writeln!(file, "{:?}", Nests::spawn().blocking()?.join().blocking()?)?;
    }
    Ok(())
}
