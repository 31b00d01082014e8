//! The frame header: 24 bytes that say what follows them on a link.
//!
//! All numbers are little endian. A frame is its header, then 25 bytes of trace context where the flags say so, then
//! the body.
//!
//! ```text
//!  byte   0   1   2   3   4   5   6   7   8   9  10  11  12  13  14  15  16  17  18  19  20  21  22  23
//!       +-------------------------------+---+---+-------+---------------+-------------------------------+
//!       |            length             | k | f | descr |   time left   |             call              |
//!       +-------------------------------+---+---+-------+---------------+-------------------------------+
//!
//!   0..8   length      u64  bytes of body; the trace context is not counted
//!   8      kind        u8   one of [`Kind`]; any other number is an error
//!   9      flags       u8   bit 0 BLOCK: the body is one block, not MessagePack
//!                           bit 1 TRACE: a trace context sits between header and body
//!                           bit 2 ERROR: free for a kind to use
//!                           bits 3 to 7: zero; anything else is an error
//!  10..12  descriptors u16  file descriptors that ride along, at most 253
//!  12..16  time left   u32  milliseconds until the deadline; 0xffff_ffff: there is none
//!  16..24  call        u64  the call a frame belongs to; 0: none
//!
//!  24..49  trace context, with TRACE only: 16 bytes trace id, 8 bytes span id, 1 byte trace flags
//! ```
//!
//! Time left travels rather than a wall clock's time, because two processes, or two machines, need not agree on the
//! latter. A length is a claim: it is checked against the link's cap here, and whoever receives the body still lets
//! its buffers grow only with the bytes that arrive (see `assemble`).
//!
//! Encoding cannot fail. Decoding is total: any 24 bytes are a header or a [`FrameError`]. After such an error the
//! stream has no known next frame, so a link that sees one is finished.

use serde::{Deserialize, Serialize};

/// Bytes in a header.
pub(crate) const HEADER: usize = 24;

/// Bytes in a trace context: trace id (16), span id (8), trace flags (1).
pub(crate) const TRACE_CONTEXT: usize = 25;

/// Most file descriptors that can ride along with one frame. Linux passes no more in one message (`SCM_MAX_FD`).
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Largest body that a link takes unless it is told otherwise: 256 MiB.
pub(crate) const FRAME_CAP: u64 = 256 * 1024 * 1024;

/// What the number for time left says when there is no deadline.
const NO_DEADLINE: u32 = u32::MAX;

/// Declares [`Kind`] and its reading of a byte from one list, so the two cannot drift apart.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame is for. The numbers are the wire's and never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(crate) enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind, in the order of their numbers.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Kind] = &[$(Kind::$name),*];
        }

        impl TryFrom<u8> for Kind {
            type Error = FrameError;

            fn try_from(number: u8) -> Result<Kind, FrameError> {
                match number {
                    $($number => Ok(Kind::$name),)*
                    kind => Err(FrameError::UnknownKind { kind }),
                }
            }
        }
    };
}

kinds! {
    /// Either side's first word on a control link: magic, protocol version, build identity.
    Hello = 1,
    /// To a new child: who it is, its entry, its arguments, what it is born with.
    Boot = 2,
    /// From a child: its function returned this value.
    Returned = 3,
    /// From a child: it could not begin, or its function returned an error that cannot travel as itself.
    Failed = 4,
    /// From a child: its function panicked; message, place and backtrace.
    Panicked = 5,
    /// To the root: introduce me to the actor at this address, or tell me when that one ends.
    Connect = 6,
    /// From the root: the descriptor that rides along is one end of a new mailbox link.
    Link = 7,
    /// From the root: a request will not be carried out, and why.
    Refused = 8,
    /// Somebody has ended: with the exit report, or from the nursery with the wait status.
    Ended = 9,
    /// To the root, or from it to the nursery: a child is to be born.
    Spawn = 10,
    /// From the nursery, or from the root: it was born, or why not.
    Spawned = 11,
    /// To a child: close your mailbox, finish, return.
    Stop = 12,
    /// To the root: do this to a descendant of mine.
    Signal = 13,
    /// A plain value, for links that carry nothing else.
    Value = 14,
    /// To a mailbox: a message that wants no answer.
    Tell = 32,
    /// To a mailbox: a message that is answered under its call id.
    Ask = 33,
    /// The answer to an ask.
    Reply = 34,
    /// The reply to an ask was dropped unsent.
    NoReply = 35,
    /// The asker has given up on a call.
    Cancel = 36,
    /// The reply to a call was handed on; it comes over the socket that rides along.
    Moved = 37,
    /// From the new holder of a reply that was handed on: who that is.
    Held = 38,
    /// Nobody receives here any more: nothing that is sent to this mailbox from now on arrives.
    Closed = 39,
    /// A message or an answer could not be encoded, decoded or taken, and why.
    Rejected = 40,
}

/// The flags of a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags(u8);

impl Flags {
    /// No flag.
    pub(crate) const NONE: Flags = Flags(0);
    /// The body is one block: raw bytes, UTF-8 text or little-endian plain numbers, not MessagePack.
    pub(crate) const BLOCK: Flags = Flags(1);
    /// A trace context of [`TRACE_CONTEXT`] bytes sits between header and body. Nothing here sends one; one that arrives is skipped.
    pub(crate) const TRACE: Flags = Flags(2);
    /// Left to each kind: where it means anything, it says that the body is an error rather than a value.
    pub(crate) const ERROR: Flags = Flags(4);

    /// Every bit that has a meaning.
    const KNOWN: u8 = Flags::BLOCK.0 | Flags::TRACE.0 | Flags::ERROR.0;

    /// The flags in `bits`, or `None` if a bit has no meaning.
    #[must_use]
    pub(crate) const fn from_bits(bits: u8) -> Option<Flags> {
        if bits & !Flags::KNOWN == 0 { Some(Flags(bits)) } else { None }
    }

    /// The byte on the wire.
    #[must_use]
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every flag in `other` is set.
    #[must_use]
    pub(crate) const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those in `other`.
    #[cfg(test)]
    pub(crate) const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of body. The trace context is not counted.
    pub(crate) length: u64,
    /// What the frame is for.
    pub(crate) kind: Kind,
    /// How the body is written, and whether a trace context precedes it.
    pub(crate) flags: Flags,
    /// File descriptors that ride along, at most [`MAX_DESCRIPTORS`].
    pub(crate) descriptors: u16,
    /// Milliseconds until the deadline of the call, or `None` if it has no deadline. `u32::MAX` cannot be told from
    /// `None` on the wire and is sent as one millisecond less.
    pub(crate) time_left: Option<u32>,
    /// The call that the frame belongs to; 0 for none.
    pub(crate) call: u64,
}

impl Header {
    /// A header of this kind for this call, with no body, flags, descriptors or deadline.
    #[must_use]
    pub(crate) const fn new(kind: Kind, call: u64) -> Header {
        Header { length: 0, kind, flags: Flags::NONE, descriptors: 0, time_left: None, call }
    }

    /// The bytes on the wire.
    #[must_use]
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let time_left = self.time_left.map_or(NO_DEADLINE, |left| left.min(NO_DEADLINE - 1));
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8] = self.kind as u8;
        bytes[9] = self.flags.bits();
        bytes[10..12].copy_from_slice(&self.descriptors.to_le_bytes());
        bytes[12..16].copy_from_slice(&time_left.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.call.to_le_bytes());
        bytes
    }

    /// Reads a header whose body may have up to `cap` bytes.
    ///
    /// # Errors
    ///
    /// `UnknownKind`, `UnknownFlags`, `TooManyDescriptors` or `TooLong`, whichever is seen first.
    pub(crate) fn decode(bytes: &[u8; HEADER], cap: u64) -> Result<Header, FrameError> {
        let [l0, l1, l2, l3, l4, l5, l6, l7, kind, flags, d0, d1, t0, t1, t2, t3, call @ ..] = *bytes;
        let kind = Kind::try_from(kind)?;
        let flags = Flags::from_bits(flags).ok_or(FrameError::UnknownFlags { flags })?;
        let descriptors = u16::from_le_bytes([d0, d1]);
        if usize::from(descriptors) > MAX_DESCRIPTORS {
            return Err(FrameError::TooManyDescriptors { claimed: descriptors });
        }
        let length = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]);
        if length > cap {
            return Err(FrameError::TooLong { claimed: length, cap });
        }
        let time_left = u32::from_le_bytes([t0, t1, t2, t3]);
        let time_left = (time_left != NO_DEADLINE).then_some(time_left);
        Ok(Header { length, kind, flags, descriptors, time_left, call: u64::from_le_bytes(call) })
    }
}

/// Bytes on a link that are no frame. The link they arrived on is finished; no other link is touched. The one
/// exception is [`FrameError::TruncatedDescriptors`], which is the error of one frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FrameError {
    /// The kind in a header is none that this build knows.
    #[error("frame of unknown kind {kind}: the peer is no procession process or of another build; run both ends from one build")]
    UnknownKind {
        /// The number that arrived.
        kind: u8,
    },
    /// The flags in a header have a bit that this build does not know.
    #[error("frame with unknown flags {flags:#010b}: the peer is no procession process or of another build; run both ends from one build")]
    UnknownFlags {
        /// The byte that arrived.
        flags: u8,
    },
    /// A body is longer than the link takes.
    #[error("frame of {claimed} bytes, and the link takes at most {cap}: send it in parts or as a blob, or raise the frame cap")]
    TooLong {
        /// The length that the header claims.
        claimed: u64,
        /// The link's cap.
        cap: u64,
    },
    /// A header claims more descriptors than one message can carry.
    #[error("frame with {claimed} file descriptors, and a message carries at most {MAX_DESCRIPTORS}: send them in several messages")]
    TooManyDescriptors {
        /// The count that the header claims.
        claimed: u16,
    },
    /// A header claims more descriptors than came with it.
    #[error("frame claims {claimed} file descriptors and {arrived} arrived: the peer breaks the protocol; drop the link")]
    MissingDescriptors {
        /// The count that the header claims.
        claimed: u16,
        /// How many had arrived.
        arrived: u16,
    },
    /// The kernel could not deliver all descriptors of a frame. The link goes on; this frame is lost.
    #[error("file descriptors of a message were lost because this process has no room for more: close some or raise RLIMIT_NOFILE")]
    TruncatedDescriptors,
    /// More descriptors arrived than any frame claims.
    #[error("file descriptors arrived that no frame claims: the peer breaks the protocol; drop the link")]
    SpareDescriptors,
    /// The stream ended inside a frame.
    #[error("the link ended in the middle of a frame: the peer died or closed it while sending; see its exit report")]
    Truncated,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Headers and their bytes, as printed in docs/PROTOCOL.md.
    fn golden() -> Vec<(Header, &'static str)> {
        vec![
            (Header::new(Kind::Stop, 0), "0000000000000000 0c 00 0000 ffffffff 0000000000000000"),
            (
                Header { length: 3, time_left: Some(1500), ..Header::new(Kind::Ask, 7) },
                "0300000000000000 21 00 0000 dc050000 0700000000000000",
            ),
            (
                Header { length: 8, flags: Flags::BLOCK, ..Header::new(Kind::Reply, 7) },
                "0800000000000000 22 01 0000 ffffffff 0700000000000000",
            ),
            (
                Header {
                    length: 0x0102_0304,
                    flags: Flags::BLOCK.with(Flags::TRACE).with(Flags::ERROR),
                    descriptors: 253,
                    time_left: Some(0),
                    ..Header::new(Kind::Rejected, 0x1122_3344_5566_7788)
                },
                "0403020100000000 28 07 fd00 00000000 8877665544332211",
            ),
        ]
    }

    fn bytes(hex: &str) -> [u8; HEADER] {
        let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        pairs.collect::<Vec<u8>>().try_into().unwrap()
    }

    #[test]
    fn golden_vectors() {
        for (header, hex) in golden() {
            assert_eq!(header.encode(), bytes(hex), "{header:?}");
            assert_eq!(Header::decode(&bytes(hex), FRAME_CAP), Ok(header));
        }
    }

    #[test]
    fn every_number_is_a_kind_or_an_error() {
        for number in 0..=u8::MAX {
            match Kind::try_from(number) {
                Ok(kind) => assert_eq!(kind as u8, number),
                Err(error) => assert_eq!(error, FrameError::UnknownKind { kind: number }),
            }
        }
        let known: Vec<u8> = Kind::ALL.iter().map(|kind| *kind as u8).collect();
        assert_eq!(known, (1..=14).chain(32..=40).collect::<Vec<u8>>());
    }

    #[test]
    fn claims_are_checked() {
        let mut header = Header { length: 101, ..Header::new(Kind::Tell, 0) };
        assert_eq!(Header::decode(&header.encode(), 100), Err(FrameError::TooLong { claimed: 101, cap: 100 }));
        assert_eq!(Header::decode(&header.encode(), 101), Ok(header));
        header.descriptors = 254;
        assert_eq!(Header::decode(&header.encode(), 101), Err(FrameError::TooManyDescriptors { claimed: 254 }));
        let mut bytes = header.encode();
        bytes[9] = 8;
        assert_eq!(Header::decode(&bytes, 101), Err(FrameError::UnknownFlags { flags: 8 }));
    }

    #[test]
    fn the_longest_deadline_stays_a_deadline() {
        let header = Header { time_left: Some(u32::MAX), ..Header::new(Kind::Ask, 1) };
        let read = Header::decode(&header.encode(), FRAME_CAP).unwrap();
        assert_eq!(read.time_left, Some(u32::MAX - 1));
    }

    #[test]
    fn errors_travel() {
        let error = FrameError::MissingDescriptors { claimed: 2, arrived: 1 };
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<FrameError>(&text).unwrap(), error);
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in any::<[u8; HEADER]>(), kind in 0u8..48, flags in 0u8..8) {
            let mut bytes = bytes;
            bytes[8] = kind;
            bytes[9] = flags;
            bytes[11] = 0;
            if let Ok(header) = Header::decode(&bytes, u64::MAX) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes in any::<[u8; HEADER]>(), cap in any::<u64>()) {
            if let Ok(header) = Header::decode(&bytes, cap) {
                prop_assert!(header.length <= cap);
                prop_assert!(usize::from(header.descriptors) <= MAX_DESCRIPTORS);
            }
        }
    }
}
