//! What stands between serde and MessagePack so that nothing changes silently and nothing recurses without end.
//!
//! `rmp-serde` writes `Some(x)` as `x` and `None` as nil. A `Some` whose content is itself written as nil
//! (`Some(None)`, `Some(())`) would come out as `None` on the other side; here it is refused. It writes 128-bit
//! integers as byte strings, which an untagged enum takes for bytes; here they are integers, or an extension type
//! where they are too large. It trusts the lengths that a `Serialize` claims; here they are compared with what it
//! gave. And its bound on depth overlooks enums and options, so that a few kilobytes from a peer could overflow the
//! stack; here every level counts, in both directions.
//!
//! [`mod@write`] wraps the serializer and [`mod@read`] the deserializer. Both delegate everything else; the state of a level
//! is two small numbers that are passed by value.

pub(crate) mod read;
pub(crate) mod write;

/// Most levels of lists, maps and enums inside each other; as many as `serde_json` reads.
pub(crate) const MAX_DEPTH: u8 = 128;

/// Most options and newtypes directly inside each other. They leave no trace in the bytes, so a type that refers to
/// itself through them alone would otherwise be read without end.
const MAX_THIN: u8 = 32;

/// Extension type of a negative integer that needs more than 64 bits: 16 bytes, big endian, two's complement.
const NEGATIVE: i8 = 1;

/// Extension type of a positive integer that needs more than 64 bits: 16 bytes, big endian.
const POSITIVE: i8 = 2;

/// How many levels lie above a value.
#[derive(Clone, Copy)]
struct Level {
    /// Lists, maps and enums.
    depth: u8,
    /// Options and newtypes since the last of those.
    thin: u8,
}

impl Level {
    /// Above the outermost value.
    const TOP: Level = Level { depth: 0, thin: 0 };

    /// One list, map or enum further down.
    #[inline]
    fn deeper<E>(self, error: impl FnOnce(String) -> E) -> Result<Level, E> {
        if self.depth < MAX_DEPTH { Ok(Level { depth: self.depth + 1, thin: 0 }) } else { Err(too_deep(error)) }
    }

    /// One option or newtype further down.
    #[inline]
    fn thinner<E>(self, error: impl FnOnce(String) -> E) -> Result<Level, E> {
        if self.thin < MAX_THIN { Ok(Level { thin: self.thin + 1, ..self }) } else { Err(too_deep(error)) }
    }
}

#[cold]
fn too_deep<E>(error: impl FnOnce(String) -> E) -> E {
    error(format!("it is nested more than {MAX_DEPTH} levels deep; send it flat, as a list with indices for instance"))
}
