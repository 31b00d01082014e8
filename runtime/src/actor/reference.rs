//! [`ActorRef`]: anyone's handle to a mailbox.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address::Address;
use super::ask::{operation, within, within_blocking};
use super::error::{AskError, TellError, TellReason};
use super::peer::Peer;
use super::reply::{self, Reply};
use crate::exit::ActorId;
use crate::link::call::Link;
use crate::link::frame::{Flags, Header, Kind};
use crate::link::parcel::Parcel;
use crate::link::value::{self, EncodeError, Message};
use crate::link::wire::Broken;

/// A handle to an actor's mailbox: to tell it messages and to ask it questions, from any process of the family.
///
/// Cheap to clone, and serialisable: it travels as an argument, inside messages and inside replies, and works where it arrives.
/// Holding one keeps nothing alive, dropping it ends nothing. The first use in a process introduces the two processes to each
/// other; later ones share that connection, so messages from one process to one mailbox arrive in the order sent.
pub struct ActorRef<M> {
    peer: Arc<Peer>,
    message: PhantomData<fn(M)>,
}

impl<M: Message> ActorRef<M> {
    pub(crate) fn new(address: Address) -> ActorRef<M> {
        ActorRef { peer: Peer::of(address), message: PhantomData }
    }

    /// The actor's identity in the family.
    pub fn id(&self) -> ActorId {
        self.peer.address().actor
    }

    /// Sends a message one way.
    ///
    /// Waits while the actor is behind and the way to it is full. `Ok` means the message is on its way: it arrives unless
    /// either process dies first. Dropping the future before it is ready sends nothing.
    ///
    /// # Errors
    ///
    /// The message comes back in the error, with the reason: the actor died (with its exit report), its mailbox is closed,
    /// the message cannot be encoded.
    pub fn tell(&self, message: M) -> Tell<'_, M> {
        Tell { to: self, message, timeout: None }
    }

    /// Sends a message one way if that is possible at once. Never waits, on any kind of thread.
    ///
    /// # Errors
    ///
    /// [`TellReason::Full`] where `tell` would wait (also for the very first use of a handle by a process, as long as the
    /// introduction is under way), otherwise as [`tell`](ActorRef::tell). The message comes back.
    pub fn try_tell(&self, message: M) -> Result<(), TellError<M>> {
        let link = match self.peer.connected() {
            Some(link) => link.clone(),
            None => {
                let mut connecting = std::pin::pin!(self.peer.link());
                let mut context = Context::from_waker(std::task::Waker::noop());
                match connecting.as_mut().poll(&mut context) {
                    Poll::Ready(Ok(link)) => link.clone(),
                    Poll::Ready(Err(unreachable)) => {
                        return Err(TellError { reason: AskError::from(unreachable).into(), message: Some(message) });
                    }
                    Poll::Pending => return Err(TellError { reason: TellReason::Full, message: Some(message) }),
                }
            }
        };
        let mut message = Some(message);
        let reason = match post(&link, &mut message) {
            Posted::Sent => return Ok(()),
            Posted::Full => TellReason::Full,
            Posted::Unencodable(error) => TellReason::Encode(error),
            Posted::Broken => link.ended().map_or(TellReason::Closed, |ending| AskError::from(ending).into()),
        };
        Err(TellError { reason, message })
    }

    /// Sends a request and waits for its reply. `make` puts the [`Reply`] into the request; a variant with a reply as its
    /// only field is such a function by itself: `counter.ask(Count::Get)`.
    ///
    /// It ends in exactly one of: the reply, and the cases of [`AskError`]. It never hangs because somebody died. Dropping the
    /// future tells the actor that the reply is no longer wanted.
    pub fn ask<T: Message, F>(&self, make: F) -> Ask<M, T, F>
    where
        F: FnOnce(Reply<T>) -> M + Send + 'static,
    {
        Ask { peer: self.peer.clone(), make, timeout: None, types: PhantomData }
    }

    /// Whether the actor still takes messages, as far as this process knows now; asks the directory where it has no connection.
    pub fn is_alive(&self) -> IsAlive {
        IsAlive { peer: self.peer.clone(), timeout: None }
    }
}

enum Posted {
    Sent,
    Full,
    Broken,
    Unencodable(EncodeError),
}

/// Posts the message in the slot, which keeps it where it was not sent.
fn post<M: Message>(link: &Arc<Link>, slot: &mut Option<M>) -> Posted {
    let header = Header::new(Kind::Tell, 0);
    let posted = link.wire().post_message(|queue| {
        let Some(message) = slot.take() else { return Ok(()) };
        match value::take_block(message) {
            Ok(body) => {
                queue.push_parcel(header, Parcel { flags: Flags::BLOCK, body, descriptors: Vec::new() });
                Ok(())
            }
            Err(message) => {
                let encoded = queue.push(header, |bytes| value::encode(&message, bytes));
                *slot = Some(message);
                encoded
            }
        }
    });
    match posted {
        Some(Ok(Ok(()))) => {
            // Descriptors inside have been copied; what the message still holds of them closes now.
            *slot = None;
            Posted::Sent
        }
        Some(Ok(Err(Broken))) => Posted::Broken,
        Some(Err(error)) => Posted::Unencodable(error),
        None => Posted::Full,
    }
}

/// Sends the message in the slot, which keeps it where it was not sent, also if this future is dropped.
async fn tell<M: Message>(peer: &Peer, slot: &mut Option<M>) -> Result<(), TellReason> {
    loop {
        let link = peer.link().await.map_err(AskError::from)?;
        match post(link, slot) {
            Posted::Sent => return Ok(()),
            Posted::Unencodable(error) => return Err(TellReason::Encode(error)),
            Posted::Full => link.wire().room().await,
            Posted::Broken => {
                return Err(match link.verdict().await {
                    Err(ending) => AskError::from(ending).into(),
                    Ok(_) => TellReason::Closed,
                });
            }
        }
    }
}

fn told<M>(result: Option<Result<(), TellReason>>, message: Option<M>) -> Result<(), TellError<M>> {
    result.unwrap_or(Err(TellReason::Timeout)).map_err(|reason| TellError { reason, message })
}

/// A message about to be sent: see [`ActorRef::tell`].
#[must_use = "nothing is sent until this is awaited (or `.blocking()` is called)"]
pub struct Tell<'a, M> {
    to: &'a ActorRef<M>,
    message: M,
    timeout: Option<Duration>,
}

impl<M: Message> Tell<'_, M> {
    /// Gives up after this long; the message comes back.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits on this thread instead of in a task.
    ///
    /// # Errors
    ///
    /// As [`ActorRef::tell`].
    ///
    /// # Panics
    ///
    /// In async code, where it would stall the runtime: write `.await` there.
    #[track_caller]
    pub fn blocking(self) -> Result<(), TellError<M>> {
        let mut slot = Some(self.message);
        let result = within_blocking("tell", self.timeout, tell(&self.to.peer, &mut slot));
        told(result, slot)
    }
}

impl<'a, M: Message> IntoFuture for Tell<'a, M> {
    type Output = Result<(), TellError<M>>;
    type IntoFuture = Telling<'a, M>;

    fn into_future(self) -> Telling<'a, M> {
        Telling { to: self.to, slot: Some(self.message), timeout: self.timeout, waiting: None }
    }
}

type Waiting<'a, M> = Pin<Box<dyn Future<Output = Result<(), TellError<M>>> + Send + 'a>>;

/// The future of [`ActorRef::tell`]: allocates only where it has to wait.
pub struct Telling<'a, M> {
    to: &'a ActorRef<M>,
    slot: Option<M>,
    timeout: Option<Duration>,
    waiting: Option<Waiting<'a, M>>,
}

/// The message is never pinned in here.
impl<M> Unpin for Telling<'_, M> {}

impl<'a, M: Message> Future for Telling<'a, M> {
    type Output = Result<(), TellError<M>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.waiting.is_none()
            && let Some(link) = this.to.peer.connected()
        {
            // A task that only tells must let the others run, the flush of its own messages among them.
            let progress = std::task::ready!(tokio::task::coop::poll_proceed(context));
            match post(link, &mut this.slot) {
                Posted::Sent => {
                    progress.made_progress();
                    return Poll::Ready(Ok(()));
                }
                Posted::Unencodable(error) => {
                    return Poll::Ready(Err(TellError { reason: TellReason::Encode(error), message: this.slot.take() }));
                }
                Posted::Full | Posted::Broken => {}
            }
        }
        let (to, timeout, slot) = (this.to, this.timeout, &mut this.slot);
        let waiting = this.waiting.get_or_insert_with(|| {
            let mut slot = slot.take();
            Box::pin(async move {
                let result = within(timeout, tell(&to.peer, &mut slot)).await;
                told(result, slot)
            })
        });
        waiting.as_mut().poll(context)
    }
}

/// A request about to be sent: see [`ActorRef::ask`].
#[must_use = "nothing is sent until this is awaited (or `.blocking()` is called)"]
pub struct Ask<M, T, F> {
    peer: Arc<Peer>,
    make: F,
    timeout: Option<Duration>,
    types: PhantomData<fn(M) -> T>,
}

impl<M: Message, T: Message, F: FnOnce(Reply<T>) -> M + Send + 'static> Ask<M, T, F> {
    async fn run(self) -> Result<T, AskError> {
        let link = self.peer.link().await?;
        let call = link.next_call();
        let mut header = Header::new(Kind::Ask, call);
        header.time_left = self.timeout.map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX - 1));
        let message = (self.make)(Reply::origin(call));
        // Unknown where the link is broken already: then nothing is encoded, and the response says what became of the actor.
        let mut carried = None;
        let response = link.call(call, |queue| {
            queue.push(header, |bytes| {
                let (encoded, with_reply) = reply::watch_origin(|| value::encode(&message, bytes));
                carried = Some(with_reply);
                encoded
            })
        })?;
        drop(message);
        if carried == Some(false) {
            return Err(AskError::NoReply);
        }
        Ok(response.await?.open()?)
    }

    fn timed_out() -> Result<T, AskError> {
        Err(AskError::Timeout)
    }
}

operation! { impl [M: Message, T: Message, F: FnOnce(Reply<T>) -> M + Send + 'static] Ask<M, T, F> as "ask" => Result<T, AskError> }

/// A question about an actor: see [`ActorRef::is_alive`].
#[must_use = "nothing happens until this is awaited (or `.blocking()` is called)"]
pub struct IsAlive {
    peer: Arc<Peer>,
    timeout: Option<Duration>,
}

impl IsAlive {
    async fn run(self) -> bool {
        match self.peer.link().await {
            Ok(link) => link.ended().is_none(),
            Err(_) => false,
        }
    }

    fn timed_out() -> bool {
        true
    }
}

operation! { impl [] IsAlive as "is_alive" => bool }

impl<M> Clone for ActorRef<M> {
    fn clone(&self) -> Self {
        ActorRef { peer: self.peer.clone(), message: PhantomData }
    }
}

impl<M> PartialEq for ActorRef<M> {
    fn eq(&self, other: &Self) -> bool {
        self.peer.address() == other.peer.address()
    }
}

impl<M> Eq for ActorRef<M> {}

impl<M> std::hash::Hash for ActorRef<M> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.peer.address().hash(state);
    }
}

impl<M> fmt::Debug for ActorRef<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({:?})", self.peer.address())
    }
}

impl<M> Serialize for ActorRef<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.peer.address().serialize(serializer)
    }
}

impl<'de, M: Message> Deserialize<'de> for ActorRef<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Address::deserialize(deserializer).map(ActorRef::new)
    }
}
