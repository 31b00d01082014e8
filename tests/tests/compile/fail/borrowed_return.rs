//! What is returned is owned.

use procession::process_actor;

#[process_actor]
fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[process_actor]
fn name() -> &'static str {
    "a name"
}

#[process_actor]
fn first_words(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.as_str()).collect()
}

#[process_actor]
fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn main() {}
