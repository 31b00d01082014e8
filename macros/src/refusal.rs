//! Collects the faults of an item, so that one build shows all of them.
//!
//! A macro that stops at the first fault makes its user build once for each. Checks push what they find and go on;
//! [`Refusals::check`] then says whether anything was found.

use std::fmt::Display;

use proc_macro2::Span;
use quote::ToTokens;
use syn::{Error, Result};

/// The faults found so far.
#[derive(Default)]
pub(crate) struct Refusals(Option<Error>);

impl Refusals {
    /// Refuses `tokens`; the sentence is shown at all of them.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, sentence: impl Display) {
        self.push(Error::new_spanned(tokens, sentence));
    }

    /// Refuses what is at one span.
    pub(crate) fn at_span(&mut self, span: Span, sentence: impl Display) {
        self.push(Error::new(span, sentence));
    }

    /// Takes over a fault found elsewhere.
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    /// The value of a check that may have failed, with its fault taken over.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// All faults as one error, if there are any.
    pub(crate) fn check(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
