//! Random bytes as message bodies.
//!
//! They must be a value or an error: no panic, no stack overflow, no memory for lengths that are only claimed; and a value
//! that could be read can be sent on. The first byte chooses the type. Run it with
//! `cargo +nightly fuzz run values -- -max_len=4096`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procession::__fuzz::values(data));
