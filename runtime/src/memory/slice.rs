//! Plain numbers that any process of the family reads in place.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use super::blob::Blob;
use super::error::BlobError;
use super::writer::BlobWriter;

/// A number that means the same in every process, whatever its bytes are: `u8` to `u64`, `i8` to `i64`, `f32` and `f64`.
///
/// It is implemented for these and cannot be implemented for others.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is not a plain number",
    label = "not a plain number",
    note = "a shared slice holds `u8` to `u64`, `i8` to `i64`, `f32` or `f64`; for anything else, send a `Vec`, or bytes in a `Blob`"
)]
pub trait Plain: Copy + Send + Sync + 'static + sealed::Number {}

mod sealed {
    /// # Safety
    ///
    /// Every pattern of its bytes is a value, none of them is padding, and it is aligned to 16 at most.
    pub unsafe trait Number {}
}

macro_rules! plain {
    ($($number:ty)*) => {
        $(
            // SAFETY: integers and floats have no padding and no invalid patterns, and the widest of these is aligned to 8.
            unsafe impl sealed::Number for $number {}
            impl Plain for $number {}
        )*
    };
}

plain! { u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 }

/// Plain numbers in memory that processes share: a [`Blob`] that is read as `&[T]`.
///
/// ```
/// use procession::SharedSlice;
///
/// # fn main() -> procession::Result<()> {
/// let squares = SharedSlice::from_fn(1000, |index| (index * index) as f64)?;
/// assert_eq!(squares[30], 900.0);
/// assert_eq!(squares.iter().sum::<f64>(), 332_833_500.0);
/// # Ok(())
/// # }
/// ```
pub struct SharedSlice<T> {
    bytes: Blob,
    element: PhantomData<T>,
}

impl<T: Plain> SharedSlice<T> {
    /// A shared slice of these numbers, which are copied once.
    ///
    /// # Errors
    ///
    /// [`BlobError::Memory`], as for [`Blob::new`].
    pub fn new(numbers: &[T]) -> Result<SharedSlice<T>, BlobError> {
        Blob::new(as_bytes(numbers)).map(SharedSlice::over)
    }

    /// A shared slice of so many numbers, each made from its index.
    ///
    /// # Errors
    ///
    /// [`BlobError::Memory`], as for [`Blob::new`].
    pub fn from_fn(length: usize, mut make: impl FnMut(usize) -> T) -> Result<SharedSlice<T>, BlobError> {
        const PART: usize = 256;
        let mut writer = BlobWriter::with_capacity(length.saturating_mul(size_of::<T>()));
        let mut part = Vec::with_capacity(PART);
        for start in (0..length).step_by(PART) {
            part.clear();
            part.extend((start..length.min(start + PART)).map(&mut make));
            writer.append(as_bytes(&part))?;
        }
        writer.finish().map(SharedSlice::over)
    }

    fn over(bytes: Blob) -> SharedSlice<T> {
        SharedSlice { bytes, element: PhantomData }
    }
}

impl<T> SharedSlice<T> {
    /// Its bytes, in the machine's order.
    pub fn as_blob(&self) -> &Blob {
        &self.bytes
    }

    /// Its bytes, in the machine's order.
    pub fn into_blob(self) -> Blob {
        self.bytes
    }
}

/// The bytes of numbers.
fn as_bytes<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: plain numbers have no padding, so all their bytes are initialised; a byte is aligned to one.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

impl<T: Plain> Deref for SharedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the blob is readable and unchanging for as long as it exists, begins on a page's edge (or is empty and aligned to
        // 16), and every pattern of bytes is a plain number.
        unsafe { std::slice::from_raw_parts(self.bytes.start().as_ptr().cast(), self.bytes.len() / size_of::<T>()) }
    }
}

impl<T: Plain> AsRef<[T]> for SharedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Plain> TryFrom<Blob> for SharedSlice<T> {
    type Error = BlobError;

    /// Reads bytes as numbers, in place.
    fn try_from(bytes: Blob) -> Result<SharedSlice<T>, BlobError> {
        if bytes.len().is_multiple_of(size_of::<T>()) {
            return Ok(SharedSlice::over(bytes));
        }
        Err(BlobError::Uneven { bytes: bytes.len(), element: type_name::<T>() })
    }
}

impl<T: Plain> TryFrom<&[T]> for SharedSlice<T> {
    type Error = BlobError;

    fn try_from(numbers: &[T]) -> Result<SharedSlice<T>, BlobError> {
        SharedSlice::new(numbers)
    }
}

impl<T: Plain> TryFrom<Vec<T>> for SharedSlice<T> {
    type Error = BlobError;

    fn try_from(numbers: Vec<T>) -> Result<SharedSlice<T>, BlobError> {
        SharedSlice::new(&numbers)
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> SharedSlice<T> {
        SharedSlice { bytes: self.bytes.clone(), element: PhantomData }
    }
}

impl<T> Default for SharedSlice<T> {
    fn default() -> SharedSlice<T> {
        SharedSlice { bytes: Blob::default(), element: PhantomData }
    }
}

impl<T: Plain + PartialEq> PartialEq for SharedSlice<T> {
    fn eq(&self, other: &SharedSlice<T>) -> bool {
        self[..] == other[..]
    }
}

impl<T> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSlice<{}>({})", type_name::<T>(), self.bytes.len() / size_of::<T>().max(1))
    }
}
