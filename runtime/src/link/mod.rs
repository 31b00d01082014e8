//! Bytes between two processes.
//!
//! * [`frame`]: the header, a pure function over bytes; [`assemble`]: bytes in, frames out
//! * [`value`]: message bodies; [`parcel`]: one that is encoded; [`attach`]: descriptors that ride along;
//!   [`shared`]: shared memory among them
//! * [`socket`]: the system calls; [`outgoing`]: frames that wait to be written; [`wire`]: when they are written
//! * [`call`]: requests and their responses over one wire, and who reads it; [`calls`]: what each of them waits for
//! * [`library`]: the one thread a process that runs what must not wait for the user
//!
//! The wire is drawn in `docs/PROTOCOL.md`.

pub(crate) mod assemble;
pub(crate) mod attach;
pub(crate) mod call;
pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod library;
pub(crate) mod outgoing;
pub(crate) mod parcel;
mod shared;
pub(crate) mod socket;
pub(crate) mod value;
pub(crate) mod wire;
