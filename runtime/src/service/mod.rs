//! Special actors: a state machine each, hosted in the process that made it, and a handle that any process of the family can use.
//!
//! * [`host`]: runs any machine behind a port; [`handle`], [`client`]: what a handle is made of, and one request of it
//! * [`lock`], [`queue`]: a machine and its handle each; [`pipe`]: two ends and nothing between them

pub(crate) mod client;
pub(crate) mod handle;
pub(crate) mod host;
mod line;
pub(crate) mod lock;
pub(crate) mod pipe;
pub(crate) mod queue;
