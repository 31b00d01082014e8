//! Programs worth reading: each file beside this folder is one, started with `cargo run --release --example NAME`.
