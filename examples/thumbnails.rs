//! Thumbnails of a folder of PNG images that nobody has vetted. The decoder is as trusting as most; each image is decoded in a worker
//! that may use 256 MiB, and for two seconds. What is torn, claims to be gigabytes or never ends costs one thumbnail.
//!
//! `cargo run --release --example thumbnails` makes itself a folder with the worst of all, `cargo run --release --example thumbnails
//! -- FOLDER` writes into `FOLDER/thumbnails`.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io, process};

use procession::prelude::*;

/// A thumbnail's longer side.
const SIDE: usize = 128;

#[process_actor]
fn thumbnail(image: PathBuf, to: PathBuf) -> Result<(usize, usize), Box<dyn Error>> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(image)?));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().ok_or("more pixels than there are addresses")?;
    let mut pixels = vec![0; size]; // What a few bytes of header say.
    let info = reader.next_frame(&mut pixels)?;

    let (width, height) = (info.width as usize, info.height as usize);
    let step = width.max(height).div_ceil(SIDE);
    let shrunk = shrink(&pixels, (width, height), info.color_type.samples(), step);
    let (width, height) = (width.div_ceil(step), height.div_ceil(step));
    write(&to, (width, height), info.color_type, &shrunk)?;
    Ok((width, height))
}

/// Each pixel is the mean of a square of `step` by `step`.
fn shrink(pixels: &[u8], (width, height): (usize, usize), samples: usize, step: usize) -> Vec<u8> {
    let mut shrunk = Vec::new();
    for top in (0..height).step_by(step) {
        for left in (0..width).step_by(step) {
            let (bottom, right) = (height.min(top + step), width.min(left + step));
            for sample in 0..samples {
                let square = (top..bottom).flat_map(|y| (left..right).map(move |x| (y * width + x) * samples + sample));
                let sum: usize = square.map(|place| usize::from(pixels[place])).sum();
                shrunk.push((sum / ((bottom - top) * (right - left))) as u8);
            }
        }
    }
    shrunk
}

fn write(to: &Path, (width, height): (usize, usize), color: png::ColorType, pixels: &[u8]) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(to)?), width as u32, height as u32);
    encoder.set_color(color);
    encoder.write_header()?.write_image_data(pixels)
}

#[procession::main]
async fn main() -> procession::Result<()> {
    match env::args_os().nth(1) {
        Some(folder) => thumbnails(Path::new(&folder)).await,
        None => {
            let sample = env::temp_dir().join(format!("thumbnails-{}", process::id()));
            make_sample(&sample)?;
            let done = thumbnails(&sample).await;
            fs::remove_dir_all(&sample)?;
            done
        }
    }
}

async fn thumbnails(folder: &Path) -> procession::Result<()> {
    let results = folder.join("thumbnails");
    fs::create_dir_all(&results)?;
    let mut names: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "png"));
    names.sort();

    let pool = Pool::builder().name("decoder").memory_limit(256 << 20).task_timeout(Duration::from_secs(2)).build()?;
    let tasks = names.iter().map(|name| (folder.join(name), results.join(name)));
    let outcomes = pool.map(Thumbnail, tasks).chunk(1).progress("thumbnails").outcomes().await;

    for (name, outcome) in names.iter().zip(outcomes) {
        let name = name.display();
        match outcome {
            Ok(Ok((width, height))) => println!("{name}: {width} x {height}"),
            Ok(Err(error)) => println!("{name}: {error}"),
            Err(error) => println!("{name}: {}", error.failure),
        }
    }
    println!("{} thumbnails", fs::read_dir(results)?.count());
    Ok(())
}

/// Three images, and what else is found where users upload them.
fn make_sample(folder: &Path) -> procession::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, width, height) in [("harbour", 1200, 800), ("portrait", 600, 900), ("icon", 32, 32)] {
        let gradient: Vec<u8> = (0..width * height).flat_map(|at| [at % width, at / width, width].map(|value| (value / 5) as u8)).collect();
        write(&folder.join(name).with_extension("png"), (width, height), png::ColorType::Rgb, &gradient)?;
    }
    // Half an image.
    let whole = fs::read(folder.join("harbour.png"))?;
    fs::write(folder.join("torn.png"), &whole[..whole.len() / 2])?;
    // No image at all.
    fs::write(folder.join("letter.png"), "Dear editor, please find the picture attached.")?;
    // A header that promises 3.6 billion pixels, and none of them.
    let mut bomb = png::Encoder::new(File::create(folder.join("bomb.png"))?, 60_000, 60_000).write_header()?;
    bomb.write_chunk(png::chunk::IDAT, &[])?;
    // A pipe that nobody writes to: it takes forever to open.
    process::Command::new("mkfifo").arg(folder.join("stuck.png")).status()?;
    Ok(())
}
