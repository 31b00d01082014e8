//! Records: many values in which the names of each struct's fields are written once.
//!
//! The fields that a struct has, in the order in which they are written, are its *shape*. The writer's [`Shapes`] is a
//! tree of them: each node is one more field after those of its parent, so that a shape is found while a struct is being
//! written, one step for each field, and one that leaves out a field is a shape of its own. The node's number goes where
//! the names would be. The tree is append-only, and its entries, parent and name, are the *table* that the reader needs
//! ([`Names`](super::names::Names)).
//!
//! The table has an end, [`MAX_TABLE`]. A field that is not in it then and the fields after it have their names with
//! them.

#[cfg(any(test, feature = "fuzzing"))]
use super::{EncodeError, Encoding};
use super::{Encoded, encode_with};
use serde::Serialize;

/// Most bytes in a table.
pub(super) const MAX_TABLE: usize = 4096;

/// The writer's side of a table of names.
#[derive(Debug, Clone)]
pub(crate) struct Shapes {
    /// The first one is the shape without fields.
    nodes: Vec<Node>,
    /// For each but the first: its parent's number, the length of its name, its name.
    table: Vec<u8>,
}

/// A shape: its parent's fields, and one more.
#[derive(Debug, Clone)]
struct Node {
    name: &'static str,
    /// The child that was asked for last, by its name and number.
    likely: Option<(&'static str, u16)>,
    /// Its youngest child, if it has one.
    child: Option<u16>,
    /// Its parent's next older child.
    sibling: Option<u16>,
}

/// The shape of the fields that were written so far.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    number: u16,
    /// Whether a field was refused. Those after it are too, as a shape is the first fields of a struct.
    pub(super) ended: bool,
}

impl Shape {
    /// Without fields.
    pub(super) const EMPTY: Shape = Shape { number: 0, ended: false };

    /// Its number in the table.
    #[inline]
    pub(super) fn number(self) -> u16 {
        self.number
    }
}

impl Default for Shapes {
    fn default() -> Shapes {
        Shapes::new()
    }
}

impl Shapes {
    /// An empty table.
    pub(crate) fn new() -> Shapes {
        Shapes { nodes: vec![Node { name: "", likely: None, child: None, sibling: None }], table: Vec::new() }
    }

    /// Like [`encode`](super::encode), but structs are records of this table.
    ///
    /// # Errors
    ///
    /// As `encode`. The table may have grown all the same.
    #[cfg(any(test, feature = "fuzzing"))]
    #[inline]
    pub(crate) fn encode<T: Serialize + 'static>(&mut self, value: &T, out: &mut Vec<u8>) -> Result<Encoding, EncodeError> {
        self.put(value, out).into_result()
    }

    /// The same, for many small values.
    #[inline]
    pub(crate) fn put<T: Serialize + 'static>(&mut self, value: &T, out: &mut Vec<u8>) -> Encoded {
        encode_with(value, out, Some(self))
    }

    /// All names so far, for the reader: it needs those of the time when a value was encoded, or any later ones.
    pub(crate) fn table(&self) -> &[u8] {
        &self.table
    }

    /// The shape with one more field. One that has ended if that is impossible: then the field's name must be written.
    #[inline]
    pub(super) fn extend(&mut self, shape: Shape, name: &'static str) -> Shape {
        match self.nodes[usize::from(shape.number)].likely {
            // The same address, which is what a type's fields have each time, tells that without a look at the name.
            Some((known, number)) if std::ptr::eq(known, name) && !shape.ended => Shape { number, ended: false },
            _ => self.search(shape, name),
        }
    }

    /// The same, among all children.
    #[inline(never)]
    fn search(&mut self, shape: Shape, name: &'static str) -> Shape {
        if shape.ended {
            return shape;
        }
        let parent = usize::from(shape.number);
        let mut child = self.nodes[parent].child;
        while let Some(number) = child.map(usize::from) {
            if self.nodes[number].name == name {
                break;
            }
            child = self.nodes[number].sibling;
        }
        let Some(number) = child.or_else(|| self.add(shape.number, name)) else {
            return Shape { ended: true, ..shape };
        };
        self.nodes[parent].likely = Some((name, number));
        Shape { number, ended: false }
    }

    /// Adds a node, if there is room.
    fn add(&mut self, parent: u16, name: &'static str) -> Option<u16> {
        let length = u8::try_from(name.len()).ok()?;
        if self.table.len() + 3 + name.len() > MAX_TABLE {
            return None;
        }
        let number = u16::try_from(self.nodes.len()).ok()?;
        let sibling = self.nodes[usize::from(parent)].child.replace(number);
        self.nodes.push(Node { name, likely: None, child: None, sibling });
        self.table.extend_from_slice(&parent.to_be_bytes());
        self.table.push(length);
        self.table.extend_from_slice(name.as_bytes());
        Some(number)
    }
}
