//! What a user holds and receives.
//!
//! * [`definition`]: what `#[process_actor]` makes, and the table of all actors of the program
//! * [`address`], [`peer`]: who is meant, and the connection to them; [`family`]: what this room needs of the one above
//! * [`reference`]: [`ActorRef`](reference::ActorRef), tell and ask; [`mailbox`]; [`reply`]
//! * [`current`]: the running actor itself; [`batch`]: a function applied to many arguments
//! * [`error`]: one enum an operation

pub(crate) mod address;
pub(crate) mod ask;
pub(crate) mod batch;
pub(crate) mod current;
pub(crate) mod definition;
pub(crate) mod error;
pub(crate) mod family;
pub(crate) mod inbound;
pub(crate) mod mailbox;
pub(crate) mod peer;
pub(crate) mod reference;
pub(crate) mod reply;
