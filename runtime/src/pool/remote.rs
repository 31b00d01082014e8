//! A pool from another process than the one that made it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Instant;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

use super::backend::Backend;
use super::bundle::Encoded;
use super::counter::{Badge, Outcome, Request, Response};
use super::driver::Single;
use super::error::PoolError;
use super::job::Function;
use super::part::{Body, Odd, Part};
use super::scheduler::{Bundle, Terms};
use super::{Handle, Pool};
use crate::actor::address::Address;
use crate::actor::peer::Peer;
use crate::link::library;
use crate::service::client::{self, Answered, Late, ServiceError};

/// Bundles under way at once.
const AHEAD: usize = 8;
/// What a bundle should take there and back, in nanoseconds.
const TARGET: u128 = 5_000_000;
/// Most tasks of a bundle.
const MOST: usize = 4096;

static BADGE: OnceLock<Badge> = OnceLock::new();

/// This process is a worker of a pool.
pub(crate) fn wear(badge: Badge) {
    let _ = BADGE.set(badge);
}

/// The way to a pool.
#[derive(Clone)]
pub(crate) struct Remote {
    peer: Arc<Peer>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Response, ServiceError>> + Send>>;

impl Remote {
    pub(crate) fn address(&self) -> Address {
        self.peer.address()
    }

    /// Asks for the tasks of a bundle to be run.
    fn ask(&self, function: Function, terms: &Terms, bundle: Encoded) -> Asking {
        let (entry, width) = (function.entry, function.width);
        let Terms { timeout, retries, chunk, .. } = *terms;
        let request = Request::Run { entry, width, timeout, retries, chunk, bundle, badge: BADGE.get().copied() };
        let peer = self.peer.clone();
        Box::pin(async move {
            let answered = client::request::<_, Response>(&peer, &request, None, Late::Counts, None).await?;
            Ok(answered.map_or_else(|| Err("it did not answer".to_owned()), |Answered { response, .. }| response))
        })
    }

    /// Tells the pool something, as far as it can be reached.
    pub(crate) fn tell(&self, request: Request) {
        let peer = self.peer.clone();
        if let Ok(library) = library::handle() {
            library.spawn(async move {
                if let Ok(link) = peer.link().await {
                    client::tell(link, &request);
                }
            });
        }
    }

    /// Runs one task; its outcome comes as a part of a job of one.
    pub(crate) async fn run(self, single: Single) -> Result<Part, Arc<PoolError>> {
        let Single { function, terms, argument } = single;
        part(0, 1, self.ask(function, &terms, argument).await)
    }
}

/// An answer as a part of a job.
fn part(start: usize, count: usize, answer: Result<Response, ServiceError>) -> Result<Part, Arc<PoolError>> {
    let outcomes = match answer {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(text)) => return Err(Arc::new(PoolError::Remote(text))),
        Err(error) => return Err(Arc::new(PoolError::Gone(error.to_string()))),
    };
    let odd = |outcome| match outcome {
        Outcome::Value(parcel) => Odd::Value(parcel.flags, parcel.body, parcel.descriptors),
        Outcome::Failed(error) => Odd::Failed(error.failure),
    };
    let odd = outcomes.into_iter().take(count).map(odd).enumerate().collect();
    Ok(Part::Results { job: 0, start, done: count, body: Body::Bytes(Arc::default(), Arc::default()), odd, given: None })
}

struct Asked {
    start: usize,
    count: usize,
    since: Instant,
    asking: Asking,
}

/// A job that is run elsewhere.
pub(crate) struct RemoteJob {
    remote: Remote,
    function: Function,
    terms: Terms,
    asked: Vec<Asked>,
    ready: Vec<Part>,
    over: Option<Arc<PoolError>>,
    size: usize,
}

impl RemoteJob {
    pub(crate) fn new(remote: Remote, function: Function, terms: Terms) -> RemoteJob {
        let size = terms.chunk.unwrap_or(1);
        RemoteJob { remote, function, terms, asked: Vec::new(), ready: Vec::new(), over: None, size }
    }

    /// Sees what has come; whether anything has.
    fn look(&mut self, context: &mut Context<'_>) -> bool {
        let mut at = 0;
        while let Some(asked) = self.asked.get_mut(at) {
            let Poll::Ready(answer) = asked.asking.as_mut().poll(context) else {
                at += 1;
                continue;
            };
            let asked = self.asked.swap_remove(at);
            if self.terms.chunk.is_none() {
                let took = asked.since.elapsed().as_nanos();
                self.size = if took < TARGET { (self.size * 2).min(MOST) } else { (self.size / 2).max(1) };
            }
            match part(asked.start, asked.count, answer) {
                Ok(part) => self.ready.push(part),
                Err(error) => self.over = Some(error),
            }
        }
        !self.ready.is_empty() || self.over.is_some()
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<Part>, Arc<PoolError>>> {
        self.look(context);
        if !self.ready.is_empty() {
            return Poll::Ready(Ok(std::mem::take(&mut self.ready)));
        }
        self.over.clone().map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }

    pub(crate) fn hunger(&self) -> Option<usize> {
        (self.asked.len() < AHEAD).then_some(self.size)
    }

    pub(crate) fn supply(&mut self, start: usize, bundle: Encoded) -> Option<usize> {
        let count = bundle.count();
        let asking = self.remote.ask(self.function, &self.terms, bundle);
        self.asked.push(Asked { start, count, since: Instant::now(), asking });
        self.hunger()
    }

    /// False where something came in between.
    pub(crate) fn attend(&mut self, context: &mut Context<'_>) -> bool {
        // What was just supplied is sent by this.
        !self.look(context)
    }
}

/// What of a pool travels.
#[derive(Serialize, Deserialize)]
struct Ticket {
    address: Address,
    timeout: Option<u64>,
    retries: u32,
}

impl Serialize for Pool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = self.handle.0.address().ok_or_else(|| {
            ser::Error::custom(
                "a pool made with `Pool::in_process` runs tasks on its caller's thread and cannot be sent to another process",
            )
        })?;
        Ticket { address, timeout: self.terms.timeout, retries: self.terms.retries }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ticket { address, timeout, retries } = Ticket::deserialize(deserializer)?;
        let remote = Remote { peer: Peer::of(address) };
        Ok(Pool { handle: Arc::new(Handle(Backend::Elsewhere(remote))), terms: Terms { timeout, retries, ..Terms::default() } })
    }
}
