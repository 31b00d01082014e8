//! Memory that processes share: large values that are handed over instead of copied.
//!
//! * [`blob`]: bytes that any process of the family reads in place; [`slice`](mod@slice): the same for plain numbers
//! * [`writer`]: how they are filled; [`error`]: why one cannot be made
//! * [`segment`]: the memory under a blob, and how it is known that nobody reads it any more; [`mapping`]: its place in the
//!   address space
//! * [`shelf`]: segments that were used before and wait to be used again
//!
//! # Why a reader may trust its bytes
//!
//! A blob is read as `&[u8]`, so its bytes must not change and must not go away while it exists, in any process.
//!
//! * They do not go away. The segment is sealed against shrinking before anybody gets it, and nobody can take the seals off.
//! * Nobody but its maker can write it. It is sealed against writing and against new writable mappings (`F_SEAL_FUTURE_WRITE`), and
//!   what travels is a descriptor that was opened for reading.
//! * Its maker has one writable mapping, from before the seal, and writes it only through a `&mut Segment`. A segment under a blob
//!   is in an `Arc`, and the only way back to a `&mut` is [`shelf`]'s: when the maker has no blob on it any more, *and* the kernel
//!   says that no other open file on it exists anywhere ([`segment`] tells how it is asked). A descriptor in another process, one
//!   that is on its way in a socket and a mapping are all such an open file, and all end with their process, whatever ends it.
//!
//! So a reader that dies, by whatever cause, lets go; one that lives is never written under; and nobody has to say that he is done.
//!
//! The maker is trusted to run this code: a member that was taken over by hostile input could write to the mapping that
//! it kept. The receiver is not trusted: one that was taken over can neither write a blob, nor cut it, nor make its maker believe
//! that it was let go, nor find in it what an older blob held.
//!
//! The descriptor of a blob is not given out. With it the bytes could be spliced into a pipe, which holds pages without an
//! open file.

pub(crate) mod blob;
pub(crate) mod error;
mod mapping;
mod segment;
mod shelf;
pub(crate) mod slice;
pub(crate) mod writer;
