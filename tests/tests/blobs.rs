//! Blobs between real processes: they arrive whole wherever they are put, stay as they are for whoever holds them, and their memory
//! is used again when the last holder has let go of it, or died.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use procession::prelude::*;
use procession::{BlobError, BlobWriter};
use procession_tests::PATIENCE;

/// Large enough that it could not travel as bytes unnoticed, and no multiple of anything.
const SIZE: usize = 3_000_001;

fn bytes(seed: u8) -> Vec<u8> {
    let part: Vec<u8> = (0..4099u32).map(|at| (at as u8).wrapping_mul(7) ^ (at >> 8) as u8 ^ seed).collect();
    let mut bytes = part.repeat(SIZE / part.len() + 1);
    bytes.truncate(SIZE);
    bytes
}

/// The inodes of blobs that this process has descriptors of.
fn inodes() -> BTreeSet<u64> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    let blobs = entries.filter(|path| fs::read_link(path).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:procession-blob")));
    blobs.filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.ino()).collect()
}

/// How many descriptors and mappings of blobs this process has.
fn held() -> (usize, usize) {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let descriptors = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let descriptors = descriptors.filter(|name| name.to_string_lossy().contains("procession-blob")).count();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    (descriptors, maps.lines().filter(|line| line.contains("procession-blob")).count())
}

#[derive(Serialize, Deserialize)]
struct Letter {
    name: String,
    pages: Vec<Option<Blob>>,
    numbers: SharedSlice<f32>,
}

#[derive(Serialize, Deserialize)]
enum Ask {
    /// A new blob of the one who is asked.
    New(u8, Reply<Blob>),
    /// How many segments it keeps for its blobs.
    Kept(Reply<usize>),
    /// To hold on to a blob.
    Hold(Blob, Reply<usize>),
    /// What it holds.
    Held(Reply<Vec<Blob>>),
    /// Whether all it holds is of this seed.
    AreAll(u8, Reply<bool>),
    /// To let go of all.
    Drop(Reply<()>),
    /// Descriptors and mappings.
    Count(Reply<(usize, usize)>),
    /// Whether a letter is what it should be.
    Read(Letter, Reply<bool>),
    /// To hand a blob on, and say what the other says.
    Pass(Blob, ActorRef<Ask>, Reply<usize>),
}

#[process_actor]
fn keeper(mailbox: Mailbox<Ask>) {
    let mut blobs: Vec<Blob> = Vec::new();
    for ask in mailbox {
        match ask {
            Ask::New(seed, reply) => reply.send(Blob::new(&bytes(seed)).unwrap()),
            Ask::Kept(reply) => reply.send(inodes().len()),
            Ask::Hold(blob, reply) => {
                let length = blob.len();
                blobs.push(blob);
                reply.send(length);
            }
            Ask::Held(reply) => reply.send(blobs.clone()),
            Ask::AreAll(seed, reply) => {
                let expected = bytes(seed);
                reply.send(blobs.iter().all(|blob| **blob == *expected));
            }
            Ask::Drop(reply) => {
                blobs.clear();
                reply.send(());
            }
            Ask::Count(reply) => reply.send(held()),
            Ask::Read(letter, reply) => {
                let pages: Vec<Option<&[u8]>> = letter.pages.iter().map(Option::as_deref).collect();
                let right = pages == [Some(&bytes(1)[..]), None, Some(&[])] && letter.numbers.iter().sum::<f32>() == 499_500.0;
                reply.send(right && letter.name == "both");
            }
            Ask::Pass(blob, to, reply) => {
                let length = to.ask(|reply| Ask::Hold(blob, reply)).blocking().unwrap();
                reply.send(length);
            }
        }
    }
}

async fn keepers() -> [Actor<(), Ask>; 2] {
    [Keeper::spawn().await.unwrap(), Keeper::spawn().await.unwrap()]
}

async fn new(maker: &Actor<(), Ask>, seed: u8) -> Blob {
    maker.ask(move |reply| Ask::New(seed, reply)).timeout(PATIENCE).await.unwrap()
}

async fn kept(maker: &Actor<(), Ask>) -> usize {
    maker.ask(Ask::Kept).timeout(PATIENCE).await.unwrap()
}

async fn hold(keeper: &Actor<(), Ask>, blob: Blob) {
    assert_eq!(keeper.ask(|reply| Ask::Hold(blob, reply)).timeout(PATIENCE).await.unwrap(), SIZE);
}

/// Has blobs made, all of which are held, until one took no new memory.
async fn until_used_again(maker: &Actor<(), Ask>) {
    let deadline = Instant::now() + PATIENCE;
    let mut held = Vec::new();
    while held.len() < 10 && Instant::now() < deadline {
        let before = kept(maker).await;
        held.push(new(maker, 0).await);
        if kept(maker).await == before {
            return;
        }
    }
    panic!("no memory was used again for {} blobs", held.len());
}

// --- where it can be put ---

#[process_actor]
fn longest(blobs: Vec<Blob>, numbers: SharedSlice<i64>) -> (usize, i64) {
    (blobs.iter().map(|blob| blob.len()).max().unwrap_or(0), numbers.iter().sum())
}

#[process_actor]
fn inverted(blob: Blob) -> Result<Blob, String> {
    let mut writer = BlobWriter::with_capacity(blob.len());
    for part in blob.chunks(1000) {
        let part: Vec<u8> = part.iter().map(|byte| !byte).collect();
        std::io::Write::write_all(&mut writer, &part).map_err(|error| error.to_string())?;
    }
    writer.finish().map_err(|error: BlobError| error.to_string())
}

// covers 71, 75
#[procession::test]
async fn it_is_an_argument_and_a_result() {
    let blobs = vec![Blob::default(), Blob::new(&bytes(1)).unwrap(), Blob::new(b"short").unwrap()];
    let numbers = SharedSlice::from_fn(100_001, |index| index as i64).unwrap();
    let process = Longest::spawn(blobs.clone(), numbers).await.unwrap();
    assert_eq!(process.join().timeout(PATIENCE).await.unwrap(), (SIZE, 5_000_050_000));
    // The result outlives the process that made it.
    let inverted = Inverted::spawn(blobs[1].clone()).await.unwrap().join().timeout(PATIENCE).await.unwrap().unwrap();
    assert!(inverted.len() == SIZE && inverted.iter().zip(blobs[1].iter()).all(|(one, other)| *one == !other));
    assert!(*blobs[1] == *bytes(1));
}

#[procession::test]
async fn it_is_a_pools_argument_and_result() {
    let pool = Pool::new(2).unwrap();
    let blobs: Vec<Blob> = (0..6).map(|seed| Blob::new(&bytes(seed)).unwrap()).collect();
    let results = pool.map(Inverted, blobs.clone()).await.unwrap();
    for (result, blob) in results.into_iter().zip(blobs) {
        assert!(result.unwrap().iter().zip(blob.iter()).all(|(one, other)| *one == !other));
    }
}

// covers 74
#[procession::test]
async fn it_travels_inside_a_message() {
    let [keeper, _] = keepers().await;
    let letter = Letter {
        name: "both".to_owned(),
        pages: vec![Some(Blob::new(&bytes(1)).unwrap()), None, Some(Blob::default())],
        numbers: SharedSlice::from_fn(1000, |index| index as f32).unwrap(),
    };
    assert!(keeper.ask(|reply| Ask::Read(letter, reply)).timeout(PATIENCE).await.unwrap());
}

// covers 74, 77
#[procession::test]
async fn a_third_process_gets_it_from_the_second() {
    let [second, third] = keepers().await;
    let (blob, to) = (Blob::new(&bytes(5)).unwrap(), third.reference());
    let passed = second.ask(|reply| Ask::Pass(blob, to, reply)).timeout(PATIENCE).await.unwrap();
    assert_eq!(passed, SIZE);
    // It needs neither the one that handed it on nor, here, the one that made it.
    second.stop().timeout(PATIENCE).await.unwrap();
    assert!(third.ask(|reply| Ask::AreAll(5, reply)).timeout(PATIENCE).await.unwrap());
    let back = third.ask(Ask::Held).timeout(PATIENCE).await.unwrap();
    third.kill();
    third.exit().await.unwrap();
    assert!(back.len() == 1 && *back[0] == *bytes(5));
}

// --- who holds it ---

#[procession::test]
async fn memory_is_used_again_when_its_holders_have_let_go() {
    let [maker, holder] = keepers().await;
    hold(&holder, new(&maker, 1).await).await;
    assert_eq!(kept(&maker).await, 1);
    holder.ask(Ask::Drop).timeout(PATIENCE).await.unwrap();
    until_used_again(&maker).await;
}

// covers 78
#[procession::test]
async fn what_somebody_holds_is_not_written() {
    let [maker, holder] = keepers().await;
    let mine = new(&maker, 1).await;
    hold(&holder, mine.clone()).await;
    // Both hold it, then the other alone, while more are made than are ever kept.
    for round in 2..=40 {
        let other = new(&maker, round).await;
        assert!(*other == *bytes(round));
        assert!(*mine == *bytes(1));
    }
    drop(mine);
    for round in 2..=100 {
        assert!(*new(&maker, round).await == *bytes(round));
    }
    assert!(holder.ask(|reply| Ask::AreAll(1, reply)).timeout(PATIENCE).await.unwrap());
}

// covers 77
#[procession::test]
async fn a_holder_that_is_killed_lets_go() {
    let [maker, holder] = keepers().await;
    hold(&holder, new(&maker, 1).await).await;
    // While it lives, no memory is used twice.
    let others = [new(&maker, 2).await, new(&maker, 3).await];
    assert_eq!(kept(&maker).await, 3);
    holder.kill();
    holder.exit().await.unwrap();
    until_used_again(&maker).await;
    assert!(*others[0] == *bytes(2) && *others[1] == *bytes(3));
}

#[procession::test]
async fn nothing_is_left_of_it() {
    let [maker, holder] = keepers().await;
    for round in 0..50 {
        hold(&holder, new(&maker, round).await).await;
        if round % 5 == 4 {
            holder.ask(Ask::Drop).timeout(PATIENCE).await.unwrap();
        }
    }
    assert_eq!(holder.ask(Ask::Count).timeout(PATIENCE).await.unwrap(), (0, 0));
    // The maker has its segments, each with one descriptor and one mapping, once its last answer is away.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (descriptors, mappings) = maker.ask(Ask::Count).timeout(PATIENCE).await.unwrap();
        assert!((5..=16).contains(&mappings), "{mappings} mappings");
        if descriptors == mappings {
            return;
        }
        assert!(Instant::now() < deadline, "{descriptors} descriptors, {mappings} mappings");
    }
}
