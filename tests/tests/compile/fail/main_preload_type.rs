//! What is preloaded is a function of nothing, for nothing.

fn load(path: String) -> usize {
    path.len()
}

#[procession::main(preload = load)]
fn main() {}
