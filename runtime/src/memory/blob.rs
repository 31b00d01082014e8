//! Bytes that any process of the family reads in place.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};

use super::error::BlobError;
use super::mapping::Mapping;
use super::segment::Segment;
use super::shelf;
use super::writer::BlobWriter;

/// Bytes in memory that processes share: sending them costs the same whether they are a thousand or a thousand million.
///
/// A blob is made once, from bytes or with a [`BlobWriter`], and is read in place as `&[u8]`, here and wherever it is sent: as an
/// argument, a result or inside either, and on from there. It cannot be changed. A clone is another handle to the same bytes.
///
/// ```
/// use procession::prelude::*;
///
/// #[process_actor]
/// fn count(bytes: Blob) -> usize {
///     bytes.iter().filter(|byte| **byte == b'a').count()
/// }
///
/// #[procession::main]
/// async fn main() -> procession::Result<()> {
///     let bytes = Blob::new(&vec![b'a'; 1 << 20])?;
///     assert_eq!(Count::spawn(bytes.clone()).await?.join().await?, bytes.len());
///     Ok(())
/// }
/// ```
///
/// The memory lives as long as anybody, in any process, has the blob. A process that dies lets go of its own. Afterwards the
/// maker's process uses the memory again for its next blob of about that size: so a stream of large blobs costs one copy
/// each. It keeps up to 512 MiB for that. Where blobs are read while the next ones are made, it settles at as many segments as are
/// read at once.
///
/// # What a reader may rely on
///
/// The bytes stay as they are, and there, while any process has the blob: the memory is sealed against shrinking and against new
/// writers, only its maker's library has it writable, and writes there again only when the kernel says that nobody has it
/// open any more. That trusts the maker to run this library, as all members of a family do, but nobody who receives.
/// A process that may have been taken over (a parser of hostile input) could go on writing to a blob that it made: copy it
/// (`to_vec`) before it is checked and used.
///
/// # What it costs
///
/// A blob takes one file descriptor in each process that has it, and one mapping. For many small things, send bytes.
///
/// Outside a message (`serde_json` and the like) it cannot be serialised, and says so: serialise its bytes there.
#[derive(Clone, Default)]
pub struct Blob(
    /// None where it is empty.
    Option<Arc<Held>>,
);

/// What a process has of a blob. The descriptor is what keeps the maker from using the memory again.
struct Held {
    descriptor: OwnedFd,
    length: usize,
    memory: Memory,
}

/// Where the bytes are.
enum Memory {
    /// The maker reads its own mapping.
    Made(Arc<Segment>),
    /// Anybody else has one for reading.
    Received(Mapping),
}

impl Blob {
    /// A blob of these bytes, which are copied once.
    ///
    /// # Errors
    ///
    /// [`BlobError::Memory`] where the system has no memory or no descriptor for it.
    pub fn new(bytes: &[u8]) -> Result<Blob, BlobError> {
        let mut writer = BlobWriter::with_capacity(bytes.len());
        writer.append(bytes)?;
        writer.finish()
    }

    /// A blob of everything that the reader has. Where it is known how much that is, a [`BlobWriter`] with that capacity saves some
    /// copying.
    ///
    /// # Errors
    ///
    /// [`BlobError::Read`] where the reader fails, [`BlobError::Memory`] as for [`new`](Blob::new).
    pub fn from_reader(reader: impl Read) -> Result<Blob, BlobError> {
        let mut writer = BlobWriter::new();
        writer.read_from(reader)?;
        writer.finish()
    }

    /// Makes what was filled into a blob, and keeps the segment for later.
    pub(super) fn lend(mut segment: Segment, length: usize) -> io::Result<Blob> {
        let descriptor = segment.lend(length)?;
        let segment = Arc::new(segment);
        shelf::keep(segment.clone());
        Ok(Blob(Some(Arc::new(Held { descriptor, length, memory: Memory::Made(segment) }))))
    }

    /// A blob that another process sent. Nothing is believed: the memory can be cut by nobody, nobody can map it for writing any
    /// more, and it is as long as it should be, or this is an error.
    pub(crate) fn received(descriptor: OwnedFd, length: u64) -> Result<Blob, String> {
        const TMPFS: u64 = 0x0102_1994;
        let failed = |error: rustix::io::Errno| format!("the blob's memory cannot be used: {error}");
        let length = usize::try_from(length).ok().filter(|length| (1..=isize::MAX as usize).contains(length));
        let length = length.ok_or("a blob cannot be of that length")?;
        // Memory that is not a memfd's (huge pages among it, which are mapped by other rules) has no such seals, or another file system.
        let seals = fcntl_get_seals(&descriptor).map_err(failed)?;
        let system = fstatfs(&descriptor).map_err(failed)?.f_type;
        if !seals.contains(SealFlags::SHRINK) || !seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE) || system as u64 != TMPFS {
            return Err("the blob's memory is not sealed".into());
        }
        let size = fstat(&descriptor).map_err(failed)?.st_size;
        if u64::try_from(size).map_or(true, |size| size < length as u64) {
            return Err(format!("the blob should have {length} bytes, and its memory has {size}"));
        }
        let mapping = Mapping::readable(descriptor.as_fd(), length);
        let mapping = mapping.map_err(|error| format!("the blob's {length} bytes cannot be mapped: {error}"))?;
        Ok(Blob(Some(Arc::new(Held { descriptor, length, memory: Memory::Received(mapping) }))))
    }

    /// What travels; nothing where the blob is empty.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|held| held.descriptor.as_fd())
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.length)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The first byte, on a page's edge; dangling, but aligned as well as any number wants, where there is none.
    pub(super) fn start(&self) -> NonNull<u8> {
        match self.0.as_ref().map(|held| &held.memory) {
            Some(Memory::Made(segment)) => segment.start(),
            Some(Memory::Received(mapping)) => mapping.start(),
            None => NonNull::<u128>::dangling().cast(),
        }
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped from `start` on, for as long as `self` has its part of them. They are there (the memory is
        // sealed against shrinking and at least that long) and nobody writes them while `self` has its descriptor: see the room's
        // documentation.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len()) }
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl TryFrom<&[u8]> for Blob {
    type Error = BlobError;

    fn try_from(bytes: &[u8]) -> Result<Blob, BlobError> {
        Blob::new(bytes)
    }
}

impl TryFrom<Vec<u8>> for Blob {
    type Error = BlobError;

    fn try_from(bytes: Vec<u8>) -> Result<Blob, BlobError> {
        Blob::new(&bytes)
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Blob {}

impl PartialEq<[u8]> for Blob {
    fn eq(&self, other: &[u8]) -> bool {
        self[..] == *other
    }
}

impl Hash for Blob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests;
