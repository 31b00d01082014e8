//! Only `&str` and `&[T]` can be borrowed from a message.

use std::borrow::Cow;
use std::path::Path;

use procession::process_actor;

#[process_actor]
fn number(x: &i64) -> i64 {
    *x
}

#[process_actor]
fn text(text: &String, items: &Vec<u8>, path: &Path) -> usize {
    text.len() + items.len() + path.as_os_str().len()
}

#[process_actor]
fn changed(items: &mut Vec<u8>) {
    items.clear();
}

#[process_actor]
fn forever(text: &'static str, bytes: &'static [u8]) -> usize {
    text.len() + bytes.len()
}

#[process_actor]
fn inside(maybe: Option<&str>, lines: &[&str], text: Cow<'_, str>) -> usize {
    maybe.map_or(0, str::len) + lines.len() + text.len()
}

#[process_actor]
fn object(error: &dyn std::error::Error) -> String {
    error.to_string()
}

fn main() {}
