//! What is said on control links: between the root and each actor, and between the root and its nursery.
//!
//! Drawn, with who says what when, in `docs/PROTOCOL.md`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::limits::Limits;
use crate::actor::address::{Address, Key};
use crate::actor::definition::build_identity;
use crate::exit::{ActorId, ExitReport, Panic};
use crate::link::attach::Attached;
use crate::link::frame::{Header, Kind};
use crate::link::parcel::Parcel;
use crate::link::value::EncodeError;
use crate::link::wire::{Broken, Wire};
use std::sync::Arc;
use std::time::Duration;

/// `PRCN`, as a number.
pub(crate) const MAGIC: u32 = 0x5052_434e;
/// Raised whenever something on the wire changes.
pub(crate) const VERSION: u16 = 1;

/// The first thing either side says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) magic: u32,
    pub(crate) version: u16,
    pub(crate) build: u64,
    pub(crate) pid: u32,
    /// The resident size from which a child's memory limit counts, in bytes; 0 where it has none, and from anyone else.
    pub(crate) at_birth: u64,
}

impl Hello {
    pub(crate) fn mine() -> Hello {
        Hello { magic: MAGIC, version: VERSION, build: build_identity(), pid: std::process::id(), at_birth: 0 }
    }

    /// Whether the two sides can talk; the sentence says what differs.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mine = Hello::mine();
        if self.magic != mine.magic {
            return Err("the other side does not speak this protocol".to_owned());
        }
        if self.version != mine.version {
            return Err(format!("the other side speaks protocol version {}, this side {}", self.version, mine.version));
        }
        if self.build != mine.build {
            return Err("the other side is another build of this program; all processes of a family must be one build".to_owned());
        }
        Ok(())
    }
}

/// A change of the environment: a name and its new value, or none.
pub(crate) type EnvironmentChange = (Vec<u8>, Option<Vec<u8>>);

/// What a process is born with. Streams and directory travel as descriptors beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Birth {
    pub(crate) entry: u32,
    pub(crate) name: Option<String>,
    pub(crate) environment: Vec<EnvironmentChange>,
    pub(crate) umask: u32,
    pub(crate) threads: usize,
    pub(crate) mailbox_messages: usize,
    pub(crate) mailbox_bytes: usize,
    pub(crate) grace_ms: u64,
    pub(crate) fresh: bool,
    pub(crate) owned_by_root: bool,
    pub(crate) capture: bool,
    /// The builder's; from the root on, together with the spawner's.
    pub(crate) limits: Limits,
    pub(crate) arguments: Parcel,
}

/// The streams and the directory of a process to be born; a missing one is `/dev/null`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Places {
    pub(crate) stdin: Option<Attached>,
    pub(crate) stdout: Option<Attached>,
    pub(crate) stderr: Option<Attached>,
    pub(crate) directory: Attached,
}

/// The root's first frame to a new child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    pub(crate) hello: Hello,
    pub(crate) family: Uuid,
    pub(crate) id: ActorId,
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) parent: (ActorId, String, u32),
    /// The soft limit of open files that the program had before the family raised it.
    pub(crate) open_files: Option<u64>,
    /// Where it leaves a mark when it dies of a failed allocation, where it has a memory limit.
    pub(crate) mark: Option<Attached>,
    pub(crate) birth: Birth,
}

/// A member asks for a child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpawnRequest {
    pub(crate) birth: Birth,
    pub(crate) places: Places,
}

/// The answer: the child lives and has said hello, or the report of why it does not.
pub(crate) type Spawned = Result<Born, ExitReport>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Born {
    pub(crate) id: ActorId,
    pub(crate) key: Key,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) grace_ms: u64,
}

/// What the root asks of the nursery, beside the descriptors in [`NurseryFork`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NurseryFork {
    pub(crate) slot: u32,
    pub(crate) fresh: bool,
    pub(crate) control: Attached,
    pub(crate) places: Places,
}

/// The nursery forked: the child's pid and a descriptor for it, or the error's number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forked {
    pub(crate) slot: u32,
    pub(crate) child: Result<(u32, Attached), i32>,
}

/// The nursery reaped a child: its raw wait status, and what it had used.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reaped {
    pub(crate) slot: u32,
    pub(crate) status: i32,
    /// How much CPU time it had used, with the children that it had waited for.
    pub(crate) cpu_time: Duration,
}

/// A child's last words.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum LastWords {
    Panicked(Panic),
    NotStarted(String),
}

/// A member asks to be connected with an address, or to be told of an actor's end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Connect {
    To(Address),
    Watch(ActorId),
}

/// Why not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Refused {
    Unknown,
    Ended(ExitReport),
    Failed(String),
}

/// A connection from another process of the family, to one of the receiver's ports.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) port: u32,
    pub(crate) key: Key,
    pub(crate) from: ActorId,
    pub(crate) socket: Attached,
}

/// The answer to [`Connect::To`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Socket(pub(crate) Attached);

/// An actor that the receiver knows of has ended; its owner gets what it returned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) report: ExitReport,
    pub(crate) value: Option<Parcel>,
}

/// A member asks that something be done to a descendant of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SignalRequest {
    pub(crate) target: ActorId,
    pub(crate) action: Action,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// Ask, then SIGTERM after this many milliseconds, then SIGKILL.
    Stop {
        grace_ms: u64,
    },
    Terminate,
    Kill,
    /// The same, because a task of its did not stop.
    KillForTask,
}

/// Says something on a control link. Control frames are small and their own cause: nothing here waits.
pub(crate) fn say<T: Serialize + 'static>(wire: &Arc<Wire>, kind: Kind, call: u64, body: &T) -> Result<Result<(), Broken>, EncodeError> {
    wire.post(false, |queue| queue.push(Header::new(kind, call), |bytes| crate::link::value::encode(body, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doctored_hello_is_refused_with_what_differs() {
        let mine = Hello::mine();
        assert_eq!(mine.check(), Ok(()));
        let refused = |doctored: Hello| doctored.check().unwrap_err();
        assert!(refused(Hello { magic: 0x7f45_4c46, ..mine.clone() }).contains("does not speak this protocol"));
        assert!(refused(Hello { version: VERSION + 1, ..mine.clone() }).contains("protocol version 2, this side 1"));
        assert!(refused(Hello { build: !mine.build, ..mine }).contains("another build"));
    }

    #[test]
    fn a_hello_survives_the_wire() {
        let mut bytes = Vec::new();
        let encoding = crate::link::value::encode(&Hello::mine(), &mut bytes).unwrap();
        assert_eq!(crate::link::value::decode::<Hello>(encoding.flags, &bytes, Vec::new()).unwrap(), Hello::mine());
    }
}
