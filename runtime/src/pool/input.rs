//! Where a job's items come from: an iterator, or a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

/// A source of items.
pub trait Input {
    /// What it gives.
    type Item;

    #[doc(hidden)]
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Self::Item>>;

    #[doc(hidden)]
    fn size_hint(&self) -> (usize, Option<usize>);
}

/// The items of an iterator.
pub struct Items<I>(pub(crate) I);

impl<I: Iterator> Input for Items<I> {
    type Item = I::Item;

    #[inline]
    fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<I> fmt::Debug for Items<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Items")
    }
}

/// The items of a stream.
pub struct Streamed<S>(pub(crate) Pin<Box<S>>);

impl<S: Stream> Input for Streamed<S> {
    type Item = S::Item;

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<S> fmt::Debug for Streamed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streamed")
    }
}
