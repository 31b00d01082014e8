//! Filling a blob piece by piece, in the place where it will be read.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use super::blob::Blob;
use super::error::BlobError;
use super::segment::Segment;
use super::shelf;

/// The first segment of a writer that was told nothing.
const FIRST: usize = 1 << 20;
/// The most that is read at once.
const PART: usize = 1 << 20;

/// Fills a [`Blob`] piece by piece, without a copy in between.
///
/// ```
/// use procession::BlobWriter;
/// use std::io::Write;
///
/// # fn main() -> procession::Result<()> {
/// let mut writer = BlobWriter::with_capacity(11);
/// write!(writer, "hello ")?;
/// writer.write_all(b"world")?;
/// assert_eq!(&*writer.finish()?, b"hello world");
/// # Ok(())
/// # }
/// ```
///
/// It grows as needed; growing copies what is there, so say how much it will be if that is known. Writing fails where the
/// system has no more shared memory.
#[derive(Default)]
pub struct BlobWriter {
    segment: Option<Segment>,
    length: usize,
    capacity: usize,
}

impl BlobWriter {
    /// A writer that does not know how much will be written.
    #[must_use]
    pub fn new() -> BlobWriter {
        BlobWriter::default()
    }

    /// A writer for about so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> BlobWriter {
        BlobWriter { segment: None, length: 0, capacity: bytes }
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends everything that the reader has, and returns how many bytes that was.
    ///
    /// # Errors
    ///
    /// [`BlobError::Read`] where the reader fails. What it had given before stays.
    pub fn read_from(&mut self, mut reader: impl Read) -> Result<u64, BlobError> {
        let before = self.length;
        loop {
            // A full segment may be all that there is: it grows when there is more.
            let mut probe = [0; 64];
            let full = self.segment.as_ref().is_some_and(|segment| segment.capacity() == self.length);
            let read = if full { read(&mut reader, &mut probe)? } else { read(&mut reader, self.room()?)? };
            match read {
                0 => return Ok((self.length - before) as u64),
                read if full => self.append(probe.get(..read).unwrap_or_default())?,
                read => self.length += read,
            }
        }
    }

    /// The blob.
    ///
    /// # Errors
    ///
    /// [`BlobError::Memory`] where the system has no descriptor for it.
    pub fn finish(mut self) -> Result<Blob, BlobError> {
        match self.segment.take() {
            Some(segment) if self.length > 0 => {
                Blob::lend(segment, self.length).map_err(|cause| BlobError::Memory { length: self.length, cause })
            }
            unused => {
                self.segment = unused;
                Ok(Blob::default())
            }
        }
    }

    /// Makes room for so many bytes in all, and returns the segment.
    fn reserve(&mut self, bytes: usize) -> io::Result<&mut Segment> {
        let old = match self.segment.take() {
            Some(segment) if segment.capacity() >= bytes => return Ok(self.segment.insert(segment)),
            old => old,
        };
        let doubled = old.as_ref().map_or(0, |old| old.capacity().saturating_mul(2));
        let mut segment = match shelf::take(bytes.max(self.capacity).max(doubled)) {
            Ok(segment) => segment,
            Err(error) => {
                self.segment = old;
                return Err(error);
            }
        };
        if let Some(old) = old {
            if let Err(error) = segment.fill(0, old.filled(self.length)) {
                self.segment = Some(old);
                return Err(error);
            }
            shelf::keep(Arc::new(old));
        }
        Ok(self.segment.insert(segment))
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.write_all(bytes).map_err(|cause| BlobError::Memory { length: self.length.saturating_add(bytes.len()), cause })
    }

    /// Some bytes behind what was written, to be written in place. The segment, if there is one, is not full.
    fn room(&mut self) -> Result<&mut [u8], BlobError> {
        let length = self.length;
        let least = if self.capacity == 0 { FIRST } else { 1 };
        let bytes = self.segment.as_ref().map_or(least, Segment::capacity);
        let room = self.reserve(bytes).and_then(|segment| {
            let room = (segment.capacity() - length).min(PART);
            segment.room(length, room)
        });
        room.map_err(|cause| BlobError::Memory { length: bytes, cause })
    }
}

/// Reads once.
fn read(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, BlobError> {
    loop {
        match reader.read(buffer) {
            Ok(read) => return Ok(read.min(buffer.len())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BlobError::Read(error)),
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.length;
        let end = length.checked_add(bytes.len()).ok_or(io::ErrorKind::OutOfMemory)?;
        if !bytes.is_empty() {
            self.reserve(end)?.fill(length, bytes)?;
            self.length = end;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if let Some(segment) = self.segment.take() {
            shelf::keep(Arc::new(segment));
        }
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobWriter({} bytes)", self.length)
    }
}
