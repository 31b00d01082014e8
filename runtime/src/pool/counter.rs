//! A pool's counter: where tasks from other processes come in.
//!
//! It is a service of the process that made the pool. Each request is a bundle of tasks and is answered with what became of them. A
//! request from one of the pool's own workers *parks* that worker until it is answered: its task waits, and somebody else has to
//! run what it waits for.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::bundle::Encoded;
use super::driver::Shared;
use super::error::{Failure, PoolError, TaskError};
use super::job::Function;
use super::part::{Body, Odd, Part, ranges};
use super::scheduler::{Bundle, PARKED, Terms};
use crate::link::frame::Flags;
use crate::link::library;
use crate::link::parcel::Parcel;
use crate::service::host::{Answers, Machine, Owner, Ticket};

/// One of a pool's workers: the pool's key, and the worker's number in it.
pub(crate) type Badge = (u128, u64);

/// What other processes ask of a pool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Run {
        entry: u32,
        /// Bytes of a result, where it is a plain number.
        width: Option<usize>,
        timeout: Option<u64>,
        retries: u32,
        chunk: Option<usize>,
        bundle: Encoded,
        /// Who asks, where that is a pool's worker.
        badge: Option<Badge>,
    },
    Close,
    Terminate,
    Resize(usize),
}

/// What became of one task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Value(Parcel),
    Failed(TaskError),
}

/// What became of a bundle's tasks, in their order; or why none of them was run.
pub(crate) type Response = Result<Vec<Outcome>, String>;

/// See the module's documentation.
pub(crate) struct Counter {
    pool: Weak<Shared>,
    answers: UnboundedSender<(Ticket, Response)>,
    running: HashMap<Ticket, AbortHandle>,
}

impl Counter {
    /// Opens the pool's counter.
    pub(crate) fn open(pool: &Arc<Shared>) -> Arc<Owner<Counter>> {
        let (answers, mut ready) = unbounded_channel();
        let counter = Counter { pool: Arc::downgrade(pool), answers, running: HashMap::new() };
        let owner = Arc::new(Owner::new(counter));
        let here = Arc::downgrade(&owner);
        if let Ok(library) = library::handle() {
            library.spawn(async move {
                while let Some((ticket, response)) = ready.recv().await {
                    let Some(owner) = here.upgrade() else { return };
                    owner.answer(ticket, response);
                }
            });
        }
        owner
    }

    /// The counter of a pool that is gone.
    pub(crate) fn closed() -> Arc<Owner<Counter>> {
        Arc::new(Owner::new(Counter { pool: Weak::new(), answers: unbounded_channel().0, running: HashMap::new() }))
    }

    fn run(&mut self, pool: Arc<Shared>, ticket: Ticket, function: Function, terms: Terms, bundle: Encoded, badge: Option<Badge>) {
        let answers = self.answers.clone();
        let refuse = |error: &PoolError| {
            let _ = self.answers.send((ticket, Err(error.to_string())));
        };
        let parked = match badge.map(|badge| Parked::of(&pool, badge)).transpose() {
            Ok(parked) => parked.flatten(),
            Err(error) => return refuse(&error),
        };
        let Ok(library) = library::handle() else { return };
        let running = library.spawn(async move {
            let response = run(&pool, function, terms, bundle).await.map_err(|error| error.to_string());
            // Its worker goes on when it has the answer.
            drop(parked);
            let _ = answers.send((ticket, response));
        });
        self.running.retain(|_, running| !running.is_finished());
        self.running.insert(ticket, running.abort_handle());
    }
}

/// Runs the tasks of one bundle.
async fn run(pool: &Arc<Shared>, function: Function, terms: Terms, bundle: Encoded) -> Result<Vec<Outcome>, Arc<PoolError>> {
    let count = bundle.count();
    let (job, mut seat) = pool.open(function, terms, false)?;
    seat.supply(0, bundle, 0);
    let mut outcomes: Vec<Option<Outcome>> = (0..count).map(|_| None).collect();
    let mut left = count;
    while left > 0 {
        let parts = poll_fn(|context| {
            loop {
                let polled = job.poll(context);
                if polled.is_ready() || seat.attend(context, || job.has_mail()) {
                    return polled;
                }
            }
        });
        for part in parts.await? {
            sort(part, function.width, |index, outcome| {
                if let Some(slot) = outcomes.get_mut(index) {
                    left -= usize::from(slot.is_none());
                    *slot = Some(outcome);
                }
            });
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

/// Takes a part to pieces.
fn sort(part: Part, width: Option<usize>, mut each: impl FnMut(usize, Outcome)) {
    match part {
        Part::Failed(error) => each(error.index, Outcome::Failed(error)),
        Part::Results { job, start, done, body: Body::Bytes(bytes, _), mut odd, .. } => {
            for (place, range) in ranges(&bytes, width, done).enumerate() {
                let value = |flags: Flags, body: Vec<u8>, descriptors| Outcome::Value(Parcel { flags, body, descriptors });
                let outcome = match (odd.remove(&place), range) {
                    (Some(Odd::Void), _) => continue,
                    (Some(Odd::Failed(failure)), _) => Outcome::Failed(TaskError::new(job, start + place, 1, failure)),
                    (Some(Odd::Value(flags, body, descriptors)), _) => value(flags, body, descriptors),
                    (None, Some((flags, range))) => value(flags, bytes[range].to_vec(), Vec::new()),
                    (None, None) => {
                        let lost = Failure::Decode(Arc::new(super::part::lost::<()>()));
                        Outcome::Failed(TaskError::new(job, start + place, 1, lost))
                    }
                };
                each(start + place, outcome);
            }
        }
        // Never: whoever asks from elsewhere is given bytes.
        Part::Results { .. } => {}
    }
}

/// A worker that waits for its own pool.
struct Parked {
    pool: Arc<Shared>,
    worker: u64,
}

impl Parked {
    fn of(pool: &Arc<Shared>, (key, worker): Badge) -> Result<Option<Parked>, PoolError> {
        if key != pool.key() {
            return Ok(None);
        }
        if !pool.park(worker) {
            return Err(PoolError::TooDeep { limit: PARKED });
        }
        Ok(Some(Parked { pool: pool.clone(), worker }))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.pool.unpark(self.worker);
    }
}

impl Machine for Counter {
    type Request = Request;
    type Response = Response;

    fn handle(&mut self, ticket: Ticket, request: Request, answers: &mut Answers<Response>) {
        let Some(pool) = self.pool.upgrade() else {
            answers.push((ticket, Some(Err(PoolError::Closed.to_string()))));
            return;
        };
        match request {
            Request::Run { entry, width, timeout, retries, chunk, bundle, badge } => {
                let function = Function::elsewhere(entry, width);
                let terms = Terms { chunk, cap: function.cap, timeout, retries };
                self.run(pool, ticket, function, terms, bundle, badge);
            }
            Request::Close => pool.close(),
            Request::Terminate => pool.terminate(),
            Request::Resize(workers) => pool.resize(workers),
        }
    }

    fn cancel(&mut self, ticket: Ticket, _answers: &mut Answers<Response>) {
        if let Some(running) = self.running.remove(&ticket) {
            running.abort();
        }
    }

    fn gone(&mut self, client: u64, _answers: &mut Answers<Response>) {
        self.running.retain(|ticket, running| {
            if ticket.client == client {
                running.abort();
            }
            ticket.client != client
        });
    }

    fn close(&mut self, _answers: &mut Answers<Response>) {
        self.running.drain().for_each(|(_, running)| running.abort());
    }
}
