//! Random bytes in random cuts, as a link would read them.
//!
//! They must be frames or an error: no panic, and no more memory than the bytes that arrived account for. The first byte
//! decides the cuts. Run it with `cargo +nightly fuzz run frames -- -max_len=65536`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| procession::__fuzz::frames(data));
