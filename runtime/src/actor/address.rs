//! Who is meant: an actor's identity, which of its mailboxes, and the key that shows the handle was given, not made up.

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};

use crate::exit::ActorId;

/// The mailbox of the actor's own function. Services count up from here.
pub(crate) const MAIN_PORT: u32 = 0;

/// Where a handle leads. Equal addresses share one connection in a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) actor: ActorId,
    pub(crate) port: u32,
    pub(crate) key: Key,
}

/// 128 random bits; never printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key(u64, u64);

impl Key {
    /// A new key from the kernel's generator.
    pub(crate) fn random() -> Key {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                // Not on any kernel this library runs on; a hasher seeded by the standard library is the next best source.
                Err(_) => {
                    use std::hash::{BuildHasher, RandomState};
                    let words = [RandomState::new().hash_one(0), RandomState::new().hash_one(1)];
                    return Key(words[0], words[1]);
                }
            }
        }
        let (low, high) = bytes.split_at(8);
        let word = |half: &[u8]| half.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
        Key(word(low), word(high))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.actor, self.port)
    }
}
