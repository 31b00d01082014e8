//! What the pools are given to do.

use procession::prelude::*;

use super::spin;

pub const WORKERS: usize = 2;
/// So many tasks that each take next to nothing.
pub const TINY: usize = 2_000_000;
/// The bytes of a large blob.
pub const BLOB: usize = 64 << 20;

#[process_actor]
pub fn square(x: i64) -> i64 {
    x.wrapping_mul(x)
}

/// A small struct.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Particle {
    pub id: u64,
    pub x: f64,
    pub y: f64,
}

impl Particle {
    pub fn new(id: u64) -> Particle {
        Particle { id, x: 1.0, y: 0.5 }
    }

    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.x.to_le_bytes());
        bytes[16..].copy_from_slice(&self.y.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 24]) -> Particle {
        let (fields, _) = bytes.as_chunks();
        Particle { id: u64::from_le_bytes(fields[0]), x: f64::from_le_bytes(fields[1]), y: f64::from_le_bytes(fields[2]) }
    }
}

#[process_actor]
pub fn moved(particle: Particle) -> Particle {
    Particle { x: particle.x + particle.y, ..particle }
}

#[process_actor]
pub fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[process_actor]
pub fn hand_back(blob: Blob) -> Blob {
    blob
}

/// Reads a byte of every page, as a reader would at the least.
#[process_actor]
pub fn look(blob: Blob) -> usize {
    blob.iter().step_by(4096).filter(|byte| **byte == 7).count()
}

#[process_actor]
pub fn toil(rounds: u64) -> u64 {
    spin::spin(rounds)
}
