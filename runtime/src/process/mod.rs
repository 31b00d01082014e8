//! An operating-system process from birth to exit.
//!
//! * [`init`]: what a program calls first; [`session`]: a `main` from its beginning to its end; [`signals`]
//! * [`nursery`]: the helper that forks and reaps, with [`lifeline`] and [`strays`]; [`boot`]: a child until its function runs
//! * [`root`]: the family as its root keeps it, with [`directory`] as its state; [`member`]: the same as a child sees it
//! * [`builder`], [`handle`]: what a user spawns with, and holds afterwards
//! * [`limits`]: what a process may use at most, with [`starved`] and [`resident`]
//! * [`control`]: what is said on control links

pub(crate) mod boot;
pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod init;
pub(crate) mod lifeline;
pub(crate) mod limits;
pub(crate) mod member;
pub(crate) mod nursery;
pub(crate) mod resident;
pub(crate) mod root;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod starved;
pub(crate) mod strays;
pub(crate) mod unfinished;

use member::Member;
use root::Root;

/// Where in its family this process stands.
#[derive(Clone, Copy)]
pub(crate) enum Here {
    Root(&'static Root),
    Member(&'static Member),
}
