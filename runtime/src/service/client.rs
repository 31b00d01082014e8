//! One request of a service's handle: sent, awaited with a timeout, taken back where nobody waits any more.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::actor::error::AskError;
use crate::actor::peer::Peer;
use crate::exit::ExitReport;
use crate::link::call::{Ending, Link, Undo};
use crate::link::frame::{Header, Kind};
use crate::link::value::{self, Message};
use crate::wait;

/// Why a service did not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The process that hosts the service died.
    #[error("the service's host died: {0}")]
    Died(Arc<ExitReport>),
    /// The service is closed: the value that its `new` returned was dropped.
    #[error("the service is closed: the value that its `new` returned is gone; keep it for as long as others use the service")]
    Closed,
    /// Anything else that can go wrong on the way.
    #[error(transparent)]
    Link(AskError),
}

impl From<AskError> for ServiceError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Died(report) => ServiceError::Died(report),
            AskError::Closed => ServiceError::Closed,
            other => ServiceError::Link(other),
        }
    }
}

/// A response with what is needed to refer to its request later.
pub(crate) struct Answered<R> {
    pub(crate) link: Arc<Link>,
    pub(crate) call: u64,
    pub(crate) response: R,
}

/// What a response that comes after the timeout means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Late {
    /// It counts: the machine had done it before it heard of the cancel.
    Counts,
    /// It does not: the machine takes back what it had granted when it hears of the cancel.
    TakenBack,
}

/// Sends a request and waits for its response; `Ok(None)` where time ran out.
///
/// On a timeout the request is cancelled and its end awaited, which tells exactly whether it was carried out. Where the future is
/// dropped instead, `undo` is given a response that comes all the same.
pub(crate) async fn request<Q: Serialize + 'static, R: Message>(
    peer: &Arc<Peer>,
    request: &Q,
    timeout: Option<Duration>,
    late: Late,
    undo: Option<Undo>,
) -> Result<Option<Answered<R>>, ServiceError> {
    let mut connecting = Box::pin(peer.link());
    let link = match wait::within(timeout, &mut connecting).await {
        Some(link) => link.map_err(AskError::from)?.clone(),
        None => return Ok(None),
    };
    request_over(&link, request, timeout, late, undo).await
}

/// [`request`] over a connection that exists.
pub(crate) async fn request_over<Q: Serialize + 'static, R: Message>(
    link: &Arc<Link>,
    request: &Q,
    timeout: Option<Duration>,
    late: Late,
    undo: Option<Undo>,
) -> Result<Option<Answered<R>>, ServiceError> {
    let call = link.next_call();
    let mut pending = link
        .call(call, |queue| queue.push(Header::new(Kind::Ask, call), |bytes| value::encode(request, bytes)))
        .map_err(AskError::Encode)?;
    if let Some(undo) = undo {
        pending = pending.or_undo(undo);
    }
    let ended = match wait::within(timeout, &mut pending).await {
        Some(ended) => ended,
        None => {
            pending.cancel();
            match (pending.await, late) {
                (Err(Ending::NoReply), _) | (Ok(_), Late::TakenBack) => return Ok(None),
                (ended, _) => ended,
            }
        }
    };
    let response = ended.map_err(AskError::from)?.open().map_err(AskError::from)?;
    Ok(Some(Answered { link: link.clone(), call, response }))
}

/// Sends something that needs no response.
pub(crate) fn tell<Q: Serialize + 'static>(link: &Arc<Link>, request: &Q) {
    let header = Header::new(Kind::Tell, link.next_call());
    let _ = link.wire().post(false, |queue| queue.push(header, |bytes| value::encode(request, bytes)));
}

/// Gives a builder of a service's operation its `IntoFuture`, `.timeout(..)` and `.blocking()`.
///
/// The builder has a field `timeout: Option<Duration>` and a method `async fn run(self) -> $output`.
macro_rules! service_operation {
    (impl [$($generics:tt)*] $builder:ty as $name:literal => $output:ty) => {
        impl<$($generics)*> $builder {
            /// Gives up after this long.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.timeout = Some(timeout);
                self
            }

            /// Waits on this thread instead of in a task.
            ///
            /// # Panics
            ///
            /// In async code, where it would stall the runtime: write `.await` there.
            #[track_caller]
            pub fn blocking(self) -> $output {
                crate::wait::refuse_async_context($name);
                crate::wait::forever(self.run())
            }
        }

        impl<$($generics)*> std::future::IntoFuture for $builder {
            type Output = $output;
            type IntoFuture = std::pin::Pin<Box<dyn Future<Output = $output> + Send + 'static>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.run())
            }
        }
    };
}
pub(crate) use service_operation;
