//! The cases, one a file. Each measures itself and its floor in turns and gives its rows.

pub mod ask;
pub mod bulk;
pub mod idle;
pub mod pipeline;
pub mod spawn;
pub mod tell;

use procession::ActorRef;

use crate::actors::Work;
use crate::floors::Floors;
use crate::place::{self, Sides};
use crate::table::Row;

/// A case: what it is called when it is picked out, and its function.
type Case = fn(&Floors) -> Vec<Row>;

pub const ALL: &[(&str, Case)] = &[
    ("spawn", spawn::measure),
    ("ask", ask::measure),
    ("pipeline", pipeline::measure),
    ("tell", tell::measure),
    ("bulk", bulk::measure),
    ("idle", idle::measure),
];

/// Puts this process on the near side's core and the actor on the far one, until the guard is dropped.
pub fn placed(actor: &ActorRef<Work>, sides: Sides) -> Placed {
    let cores = place::cores();
    let (near, far) = sides.of(&cores);
    actor.ask(move |reply| Work::Pin(vec![far], reply)).blocking().expect("the actor answers");
    place::pin(&[near]);
    Placed(cores)
}

pub struct Placed(Vec<usize>);

impl Drop for Placed {
    fn drop(&mut self) {
        place::pin(&self.0);
    }
}

/// A runtime on the calling thread, for the async sides.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
