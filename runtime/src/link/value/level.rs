//! How deep a value lies, and what is wrong with one that lies too deep.

use std::fmt::{self, Display};

/// Most levels of lists, maps and enums inside each other; as many as `serde_json` reads.
const MAX_DEPTH: u8 = 128;

/// Most options and newtypes directly inside each other. They leave no trace in the bytes, so a type that refers to
/// itself through them alone would otherwise be read without end.
const MAX_THIN: u8 = 32;

/// How many levels lie above a value.
#[derive(Clone, Copy)]
pub(super) struct Level {
    /// Lists, maps and enums.
    depth: u8,
    /// Options and newtypes since the last of those.
    thin: u8,
}

impl Level {
    /// Above the outermost value.
    pub(super) const TOP: Level = Level { depth: 0, thin: 0 };

    /// One list, map or enum further down.
    #[inline]
    pub(super) fn deeper(self) -> Result<Level, Fault> {
        if self.depth < MAX_DEPTH { Ok(Level { depth: self.depth + 1, thin: 0 }) } else { Err(too_deep()) }
    }

    /// One option or newtype further down.
    #[inline]
    pub(super) fn thinner(self) -> Result<Level, Fault> {
        if self.thin < MAX_THIN { Ok(Level { thin: self.thin + 1, ..self }) } else { Err(too_deep()) }
    }
}

#[cold]
fn too_deep() -> Fault {
    Fault::new(format_args!("it is nested more than {MAX_DEPTH} levels deep; send it flat, as a list with indices for instance"))
}

/// Why a value cannot be written or read. One word wide, as it is part of every result on the way.
#[derive(Debug)]
pub(super) struct Fault(Box<Box<str>>);

impl Fault {
    #[cold]
    pub(super) fn new(reason: impl Display) -> Fault {
        Fault(Box::new(reason.to_string().into()))
    }
}

impl Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    #[cold]
    fn custom<T: Display>(reason: T) -> Fault {
        Fault::new(reason)
    }
}

impl serde::de::Error for Fault {
    #[cold]
    fn custom<T: Display>(reason: T) -> Fault {
        Fault::new(reason)
    }
}
