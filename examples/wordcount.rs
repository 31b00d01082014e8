//! Map and reduce: workers count the words of one file each, and the program adds up the counts as they come. A file that cannot be
//! read is reported at the end, and the rest is counted all the same.
//!
//! `cargo run --release --example wordcount` counts the library's own source, `cargo run --release --example wordcount -- FOLDER`
//! any other text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use procession::prelude::*;

const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/src");

#[process_actor]
fn count(file: PathBuf) -> Result<HashMap<String, u64>, String> {
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut counts = HashMap::new();
    for word in text.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    Ok(counts)
}

#[procession::main]
async fn main() -> procession::Result<()> {
    let folder = env::args_os().nth(1).map_or(PathBuf::from(LIBRARY), PathBuf::from);
    let mut files = Vec::new();
    let mut skipped = Vec::new();
    list(&folder, &mut files, &mut skipped)?;

    let pool = Pool::builder().name("counter").build()?; // as many workers as there are cores
    let mut results = pool.map(Count, files).progress("counting").stream().unordered();
    let mut totals: HashMap<String, u64> = HashMap::new();
    let mut read = 0;
    while let Some(result) = results.next().await {
        match result {
            Ok(Ok(counts)) => {
                read += 1;
                counts.into_iter().for_each(|(word, times)| *totals.entry(word).or_default() += times);
            }
            Ok(Err(unreadable)) => skipped.push(unreadable),
            Err(failed) => skipped.push(failed.to_string()),
        }
    }

    let words: u64 = totals.values().sum();
    println!("{words} words in {read} files, {} of them different; the most common:", totals.len());
    let mut ranking: Vec<_> = totals.into_iter().collect();
    ranking.sort_by(|(one, often), (other, oftener)| oftener.cmp(often).then(one.cmp(other)));
    for (word, times) in ranking.iter().take(10) {
        println!("{times:8} {word}");
    }
    for why in skipped {
        println!("not counted: {why}");
    }
    Ok(())
}

/// Collects the files of a folder and of those in it. Symbolic links are not followed.
fn list(folder: &Path, files: &mut Vec<PathBuf>, skipped: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_file() {
            files.push(path);
        } else if kind.is_dir()
            && let Err(error) = list(&path, files, skipped)
        {
            skipped.push(format!("{}: {error}", path.display()));
        }
    }
    Ok(())
}
