//! Why a blob cannot be made.

use std::io;

/// A blob, or a shared slice, cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The system gives no shared memory, or no descriptor for it.
    #[error("there is no shared memory for a blob of {length} bytes: {cause}")]
    Memory {
        /// How many bytes it should have.
        length: usize,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// What it was to be filled from failed.
    #[error("the contents of a blob cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The bytes are no whole number of elements.
    #[error("{bytes} bytes are no whole number of `{element}`")]
    Uneven {
        /// How many bytes there are.
        bytes: usize,
        /// The type that they should be.
        element: &'static str,
    },
}
