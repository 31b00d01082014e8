//! The reader's side of records; see [`shapes`](super::shapes).

use super::shapes::MAX_TABLE;
use super::{DecodeError, decode_with};
use crate::link::frame::Flags;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::os::fd::OwnedFd;

/// The reader's side of a table of names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The entries that are known.
    table: Vec<u8>,
    /// The name that each shape adds to its parent's. The first shape has none; the name here is not used.
    names: Vec<Box<str>>,
    /// Where in `fields` those of each shape are.
    shapes: Vec<Range<usize>>,
    /// Indices into `names`. A shape that was added right after its parent shares its fields, so they are few; at the
    /// worst a table of 4 KiB makes half a million of them.
    fields: Vec<u16>,
}

impl Default for Names {
    fn default() -> Names {
        Names::new()
    }
}

impl Names {
    /// Without names, as a writer's table is at first.
    pub(crate) fn new() -> Names {
        Names { table: Vec::new(), names: vec!["".into()], shapes: vec![Range::default()], fields: Vec::new() }
    }

    /// Takes in a table. That is quick for one that is known already, for an earlier state of it and for a later one;
    /// any other takes its place.
    ///
    /// # Errors
    ///
    /// If it is none. What came before the fault is known then.
    pub(crate) fn learn(&mut self, table: &[u8]) -> Result<(), DecodeError> {
        if self.table.starts_with(table) {
            return Ok(());
        }
        if !table.starts_with(&self.table) {
            *self = Names::new();
        }
        self.take_in(table).ok_or_else(|| DecodeError {
            type_name: "table of names".into(),
            reason: "an entry is cut off, is no text, or names a shape that is not there".into(),
        })
    }

    /// Takes in what is new. `None` if that is no table.
    fn take_in(&mut self, table: &[u8]) -> Option<()> {
        if table.len() > MAX_TABLE {
            return None;
        }
        while let Some([high, low, length, rest @ ..]) = table.get(self.table.len()..) {
            let name = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
            self.add(u16::from_be_bytes([*high, *low]), name)?;
            let end = self.table.len() + 3 + name.len();
            self.table.extend_from_slice(&table[self.table.len()..end]);
        }
        (self.table.len() == table.len()).then_some(())
    }

    /// Adds a shape, if its parent is there.
    fn add(&mut self, parent: u16, name: &str) -> Option<()> {
        let fields = self.shapes.get(usize::from(parent))?.clone();
        let number = u16::try_from(self.names.len()).ok()?;
        let start = if fields.end == self.fields.len() {
            fields.start
        } else {
            let start = self.fields.len();
            self.fields.extend_from_within(fields);
            start
        };
        self.fields.push(number);
        self.names.push(name.into());
        self.shapes.push(start..self.fields.len());
        Some(())
    }

    /// Reads a value that was encoded with the table.
    ///
    /// # Errors
    ///
    /// As [`decode`](super::decode), and if it refers to a shape that is not known.
    #[inline]
    pub(crate) fn decode<T: DeserializeOwned + 'static>(
        &self,
        flags: Flags,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<T, DecodeError> {
        decode_with(flags, body, descriptors, Some(self))
    }

    /// The names of a shape's fields, as indices.
    #[inline]
    pub(super) fn shape(&self, number: u16) -> Option<&[u16]> {
        self.fields.get(self.shapes.get(usize::from(number))?.clone())
    }

    /// One of those names.
    #[inline]
    pub(super) fn name(&self, index: u16) -> Option<&str> {
        self.names.get(usize::from(index)).map(|name| &**name)
    }
}
