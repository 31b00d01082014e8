//! Encoded arguments on their way to workers, kept until their tasks have ended.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::scheduler::Bundle;
use crate::actor::batch::{self, LARGE, RECORD, next_record, put_number, record_word};
use crate::link::frame::{FRAME_CAP, Flags};
use crate::link::parcel::{Borrowed, Parcel};
use crate::link::value::Shapes;
use crate::link::value::{self, EncodeError, Message};

/// Bytes of arguments from which on a bundle takes no more tasks.
pub(crate) const FULL: usize = 256 * 1024;

/// The encoded arguments of consecutive tasks. Clones and cuts share the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    count: usize,
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
    form: Form,
    /// The names of the structs in it.
    table: Arc<[u8]>,
}

#[derive(Clone, Debug)]
enum Form {
    /// Plain numbers of so many bytes each.
    Numbers(usize),
    /// Each with its length before it.
    Records,
    /// One, by itself: it is large, or has descriptors.
    Alone(Flags, Arc<[OwnedFd]>),
}

impl Encoded {
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }

    /// The names of the structs in it.
    pub(crate) fn table(&self) -> &[u8] {
        &self.table
    }

    /// The flags and descriptors of an argument that travels alone.
    pub(crate) fn alone(&self) -> Option<(Flags, &[OwnedFd])> {
        match &self.form {
            Form::Alone(flags, descriptors) => Some((*flags, descriptors)),
            _ => None,
        }
    }

    /// Where the `place`th argument begins.
    fn offset(&self, place: usize) -> usize {
        match self.form {
            Form::Numbers(width) => self.range.start + width * place.min(self.count),
            Form::Alone(..) => {
                if place == 0 {
                    self.range.start
                } else {
                    self.range.end
                }
            }
            Form::Records => {
                let mut rest = self.body();
                for _ in 0..place {
                    if next_record(&mut rest).is_none() {
                        break;
                    }
                }
                self.range.end - rest.len()
            }
        }
    }

    /// The first of single arguments as one bundle, `most` at the most, and how many those were.
    pub(crate) fn join(open: &mut VecDeque<Encoded>, most: usize) -> Option<(usize, Encoded)> {
        let first = open.pop_front()?;
        let joins = |next: &Encoded| !matches!(next.form, Form::Alone(..));
        if most <= 1 || !joins(&first) || !open.front().is_some_and(joins) {
            return Some((1, first));
        }
        let mut bytes = first.body().to_vec();
        let mut count = 1;
        while count < most
            && bytes.len() < FULL
            && let Some(next) = open.pop_front_if(|next| joins(next))
        {
            bytes.extend_from_slice(next.body());
            count += 1;
        }
        let range = 0..bytes.len();
        Some((count, Encoded { count, bytes: Arc::new(bytes), range, ..first }))
    }

    fn part(&self, places: Range<usize>) -> Encoded {
        let start = self.offset(places.start);
        let end = if places.end >= self.count { self.range.end.max(start) } else { self.offset(places.end) };
        Encoded { count: places.len(), range: start..end, ..self.clone() }
    }
}

impl Bundle for Encoded {
    fn count(&self) -> usize {
        self.count
    }

    fn head(&mut self, count: usize) -> Encoded {
        let head = self.part(0..count);
        self.range.start = head.range.end;
        self.count -= count;
        head
    }

    fn tail(&mut self, keep: usize) -> Encoded {
        let tail = self.part(keep..self.count);
        self.count = keep;
        self.range.end = tail.range.start;
        tail
    }

    fn again(&mut self, place: usize) -> Encoded {
        self.part(place..place + 1)
    }

    fn join(&mut self, next: Encoded) -> Result<(), Encoded> {
        let alike = match (&self.form, &next.form) {
            (Form::Numbers(_), Form::Numbers(_)) => true,
            (Form::Records, Form::Records) => next.table.starts_with(&self.table),
            _ => false,
        };
        if !alike || self.range.len() + next.range.len() > FULL {
            return Err(next);
        }
        let count = self.count + next.count;
        match Arc::get_mut(&mut self.bytes).filter(|bytes| self.range.end == bytes.len()) {
            Some(bytes) => bytes.extend_from_slice(next.body()),
            None => {
                let bytes = [self.body(), next.body()].concat();
                self.range = 0..bytes.len();
                self.bytes = Arc::new(bytes);
            }
        }
        // A later table of the same writer has all that an earlier one has.
        *self = Encoded { count, range: self.range.start..self.bytes.len(), table: next.table, ..self.clone() };
        Ok(())
    }
}

/// Fills bundles.
pub(crate) struct Packer {
    width: Option<usize>,
    /// The names of the structs so far, where they are not written with each.
    shapes: Option<Shapes>,
    table: Arc<[u8]>,
    bytes: Vec<u8>,
    count: usize,
    /// Where an argument begins that is being written.
    begun: Option<usize>,
}

/// What became of an argument.
pub(crate) enum Packed {
    /// It is in the bundle, and there is room for more.
    Room,
    /// It is in the bundle, which is full.
    Full,
    /// It is a bundle by itself, behind what is in the bundle so far.
    Alone(Encoded),
    /// It cannot be sent.
    Refused(EncodeError),
}

impl Packer {
    /// For many arguments.
    pub(crate) fn new<T: 'static>() -> Packer {
        Packer { shapes: Some(Shapes::new()), ..Packer::plain::<T>() }
    }

    /// For one argument.
    pub(crate) fn plain<T: 'static>() -> Packer {
        Packer { width: batch::width::<T>(), shapes: None, table: Arc::default(), bytes: Vec::new(), count: 0, begun: None }
    }

    /// Adds an argument. Runs the user's `Serialize`; where that panics, call [`recover`](Packer::recover).
    #[inline]
    pub(crate) fn pack<T: Message>(&mut self, item: T) -> Packed {
        if self.width.is_some() {
            put_number(&item, &mut self.bytes);
        } else if let Some(other) = self.record(item) {
            return other;
        }
        self.count += 1;
        if self.bytes.len() < FULL { Packed::Room } else { Packed::Full }
    }

    fn record<T: Message>(&mut self, item: T) -> Option<Packed> {
        let item = match value::take_block(item) {
            Ok(block) if block.len() > LARGE => return Some(Packed::Alone(self.alone(block, Flags::BLOCK, Vec::new()))),
            Ok(block) => {
                self.bytes.extend_from_slice(&record_word(Flags::BLOCK, block.len()).unwrap_or_default().to_le_bytes());
                self.bytes.extend_from_slice(&block);
                return None;
            }
            Err(item) => item,
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD]);
        self.begun = Some(start);
        let encoded = match &mut self.shapes {
            Some(shapes) => shapes.put(&item, &mut self.bytes),
            None => value::put(&item, &mut self.bytes),
        };
        self.begun = None;
        let length = self.bytes.len() - start - RECORD;
        if let (Some(flags), ..=LARGE) = (encoded.flags(), length) {
            self.bytes[start..start + RECORD].copy_from_slice(&record_word(flags, length).unwrap_or_default().to_le_bytes());
            return None;
        }
        match encoded.into_result() {
            Ok(encoding) => {
                let body = self.bytes.split_off(start + RECORD);
                self.bytes.truncate(start);
                self.name();
                Some(Packed::Alone(self.alone(body, encoding.flags, encoding.descriptors)))
            }
            Err(error) => {
                self.bytes.truncate(start);
                Some(Packed::Refused(error))
            }
        }
    }

    /// After a panic: whether it came from an argument's `Serialize`, of which nothing is left then.
    pub(crate) fn recover<T>(&mut self) -> Option<EncodeError> {
        self.bytes.truncate(self.begun.take()?);
        Some(EncodeError { type_name: std::any::type_name::<T>().into(), reason: "its `Serialize` panicked".into() })
    }

    /// Sees that the table of names has all that were used.
    fn name(&mut self) {
        if let Some(shapes) = self.shapes.as_ref().filter(|shapes| shapes.table().len() > self.table.len()) {
            self.table = shapes.table().into();
        }
    }

    fn alone(&self, body: Vec<u8>, flags: Flags, descriptors: Vec<OwnedFd>) -> Encoded {
        debug_assert!(body.len() as u64 <= FRAME_CAP);
        let range = 0..body.len();
        Encoded { count: 1, bytes: Arc::new(body), range, form: Form::Alone(flags, descriptors.into()), table: self.table.clone() }
    }

    /// Arguments in the bundle so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The bundle, if anything is in it.
    pub(crate) fn take(&mut self) -> Option<Encoded> {
        if self.count == 0 {
            return None;
        }
        let count = std::mem::take(&mut self.count);
        let bytes = std::mem::take(&mut self.bytes);
        self.name();
        let form = self.width.map_or(Form::Records, Form::Numbers);
        Some(Encoded { count, range: 0..bytes.len(), bytes: Arc::new(bytes), form, table: self.table.clone() })
    }
}

/// A bundle inside a message: how many arguments, bytes of each if they are numbers, what stands alone, the table of names.
impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (width, flags, descriptors) = match &self.form {
            Form::Numbers(width) => (Some(*width), None, &[][..]),
            Form::Records => (None, None, &[][..]),
            Form::Alone(flags, descriptors) => (None, Some(flags.bits()), &descriptors[..]),
        };
        let parcel = Borrowed { flags: flags.unwrap_or_default(), body: self.body(), descriptors };
        (self.count, width, flags.is_some(), Borrowed { flags: 0, body: &self.table, descriptors: &[] }, parcel).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Wire = (usize, Option<usize>, bool, Parcel, Parcel);
        let (count, width, alone, table, parcel) = Wire::deserialize(deserializer)?;
        let form = match (width, alone) {
            (Some(width), _) => Form::Numbers(width),
            (None, true) => Form::Alone(parcel.flags, parcel.descriptors.into()),
            (None, false) => Form::Records,
        };
        let whole = match form {
            Form::Numbers(width) => count.checked_mul(width) == Some(parcel.body.len()) && width > 0,
            Form::Alone(..) => count == 1,
            Form::Records => {
                let mut rest = &parcel.body[..];
                let mut records = 0;
                while records < count && next_record(&mut rest).is_some() {
                    records += 1;
                }
                records == count && rest.is_empty()
            }
        };
        if !whole || count == 0 {
            return Err(de::Error::custom("a bundle whose arguments are not as many as it says"));
        }
        let range = 0..parcel.body.len();
        Ok(Encoded { count, bytes: Arc::new(parcel.body), range, form, table: table.body.into() })
    }
}
