//! A forked process that does nothing: its proportional memory, in bytes.

use std::io::{Read, Write};

use super::Far;

pub(super) fn measure() -> u64 {
    let (mut near, far) = Far::start(|mut stream| {
        let _ = stream.write_all(&[1]);
        let _ = stream.read(&mut [0]);
    });
    near.read_exact(&mut [0]).expect("the child's byte");
    let memory = crate::cases::idle::proportional_memory(far.0 as u32);
    drop(near);
    far.end();
    memory
}
