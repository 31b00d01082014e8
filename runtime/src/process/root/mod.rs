//! The family as its root keeps it.
//!
//! * [`node`]: one actor: its control link, its life and how it ended; [`limited`]: its limits
//! * [`nurse`]: the link to the nursery, and a new one where that was killed
//! * here: births, introductions, stops and ends, over the state in [`directory`](super::directory)
//!
//! Everything that arrives is taken in by the library thread. What a thread of the root's own asks for (a spawn, a connection) it does
//! itself, under one lock that is never held while anything waits.

mod limited;
mod node;
mod nurse;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::sync::oneshot;
use uuid::Uuid;

use self::limited::Limited;
use self::node::{Node, Spawner};
use self::nurse::Nurse;
use super::builder::{base_environment, plug_streams};
use super::control::{Action, Boot, Connect, Ended, Hello, Introduction, NurseryFork, Refused, SignalRequest, Socket, SpawnRequest, say};
use super::directory::{Directory, Unreachable};
use super::init::Initialised;
use super::limits::Limits;
use super::member::{self, Settled};
use crate::actor::address::Address;
use crate::actor::definition;
use crate::actor::family::{self, Connected, Family, Refusal};
use crate::actor::inbound;
use crate::exit::{ActorId, ExitReport, KillReason, StopStep};
use crate::link::attach::Attached;
use crate::link::frame::Kind;
use crate::link::library::{self, lock};
use crate::link::parcel::Parcel;
use crate::link::socket;
use crate::link::wire::Wire;

/// The root of a family: one a program, from its first use of a process on.
pub(crate) struct Root {
    initialised: &'static Initialised,
    hub: Mutex<Hub>,
    /// The write end is never written to; that it is open is the family's life.
    _lifeline: OwnedFd,
    lifeline: OwnedFd,
    family: Uuid,
    /// The program's own soft limit of open files, where the family has raised it.
    open_files: Option<u64>,
}

struct Hub {
    directory: Directory,
    nodes: BTreeMap<u32, Arc<Node>>,
    nurse: Option<Arc<Nurse>>,
    /// How many there have been.
    nurses: u64,
    /// Requests of the root itself to be told of an end.
    watches: BTreeMap<u64, oneshot::Sender<Arc<ExitReport>>>,
    next_watch: u64,
    closing: bool,
}

static ROOT: OnceLock<Root> = OnceLock::new();

/// The root, where this program has started a family.
pub(crate) fn existing() -> Option<&'static Root> {
    ROOT.get()
}

impl Root {
    /// The root of this program's family, founded now if it has none.
    pub(crate) fn get(initialised: &'static Initialised) -> io::Result<&'static Root> {
        static FOUNDING: Mutex<()> = Mutex::new(());
        if let Some(root) = ROOT.get() {
            return Ok(root);
        }
        let _founding = lock(&FOUNDING);
        if let Some(root) = ROOT.get() {
            return Ok(root);
        }
        plug_streams();
        library::handle()?;
        base_environment();
        let (lifeline, end) = pipe_with(PipeFlags::CLOEXEC)?;
        let hub = Hub {
            directory: Directory::new(),
            nodes: BTreeMap::new(),
            nurse: None,
            nurses: 0,
            watches: BTreeMap::new(),
            next_watch: 1,
            closing: false,
        };
        let root = ROOT.get_or_init(|| Root {
            initialised,
            hub: Mutex::new(hub),
            _lifeline: end,
            lifeline,
            family: Uuid::new_v4(),
            open_files: raise_open_files(),
        });
        family::join(root);
        if let Some(call) = FOUNDING_CALL.get() {
            call(root);
        }
        Ok(root)
    }

    /// Begins the birth of a child of the root's own.
    pub(crate) fn spawn(&'static self, request: SpawnRequest) -> io::Result<oneshot::Receiver<Settled>> {
        let (sender, receiver) = oneshot::channel();
        self.bear(ActorId::ROOT, request, Spawner::Here(sender))?;
        Ok(receiver)
    }

    /// Begins a birth: a control link, its first frame, and a fork.
    fn bear(&'static self, owner: ActorId, request: SpawnRequest, spawner: Spawner) -> io::Result<()> {
        let SpawnRequest { mut birth, mut places } = request;
        let (mine, control) = socket::pair()?;
        let stderr = if birth.capture {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            places.stderr = Some(Attached(write));
            Some(read)
        } else {
            None
        };
        let entry = definition::entry(birth.entry).ok_or_else(|| io::Error::other("the function is not in this program's table"))?;
        let nurse = self.nurse()?;
        birth.limits = match &spawner {
            Spawner::Here(_) => birth.limits.within(&Limits::default()),
            Spawner::Member(node, _) => birth.limits.within(&node.limited.limits),
        }
        .map_err(io::Error::other)?;
        let limited = Limited::new(birth.limits.clone())?;
        let mark = limited.mark()?;
        let (node, boot) = {
            let mut hub = lock(&self.hub);
            if hub.closing {
                return Err(io::Error::other("the family is shutting down"));
            }
            let parent = match hub.nodes.get(&owner.slot) {
                Some(node) => (node.id, node.name.clone(), node.pid()),
                None => (ActorId::ROOT, "main".to_owned(), std::process::id()),
            };
            let (id, key) = hub.directory.born(if birth.owned_by_root { ActorId::ROOT } else { owner });
            let name = birth.name.clone().unwrap_or_else(|| match entry.name() {
                Some(name) => name.to_owned(),
                None => format!("{}-{}", entry.type_name(), id.slot()),
            });
            let (hello, family, open_files) = (Hello::mine(), self.family, self.open_files);
            let boot = Boot { hello, family, id, key, name: name.clone(), parent, open_files, mark, birth };
            let node = Node::new(id, key, name, boot.birth.grace_ms, Wire::new(mine), spawner, limited);
            if let Some(stderr) = stderr {
                node.keep_stderr(stderr);
            }
            hub.nodes.insert(id.slot, node.clone());
            (node, boot)
        };
        // Both are queued, or on their way, before the child exists: it never waits for them.
        let said = say(&node.wire, Kind::Boot, 0, &boot).map_err(io::Error::other);
        let slot = node.id.slot();
        let fork = NurseryFork { slot, fresh: boot.birth.fresh, control: Attached(control), places };
        match said.and_then(|_| node.ask_for_fork(&nurse, fork, owner, boot.birth)) {
            Ok(()) => {}
            // It has just ended. Whoever buries it repeats the birth, unless that was done before this node was known.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                if !self.is_current(&nurse) {
                    self.orphaned(&node, &nurse, "the nursery ended");
                    return Ok(());
                }
            }
            Err(error) => {
                self.conclude(&node, Some(format!("it could not be sent to the nursery: {error}")));
                return Ok(());
            }
        }
        let library = library::handle()?;
        library.spawn(node::read(self, node.clone()));
        if node.has_stderr() {
            library.spawn(node::capture(node));
        }
        Ok(())
    }

    /// The living nursery, started now if there is none.
    fn nurse(&'static self) -> io::Result<Arc<Nurse>> {
        let mut hub = lock(&self.hub);
        if let Some(nurse) = &hub.nurse
            && nurse.is_alive()
        {
            return Ok(nurse.clone());
        }
        let nurse = Nurse::start(self, self.initialised, hub.nurses + 1)?;
        hub.nurses += 1;
        hub.nurse = Some(nurse.clone());
        Ok(nurse)
    }

    /// What an actor says on its control link.
    fn heard(&'static self, node: &Arc<Node>, frame: crate::link::assemble::Frame<'_>) -> Result<(), crate::link::value::DecodeError> {
        let call = frame.header.call;
        match frame.header.kind {
            Kind::Connect => match member::decode(frame)? {
                Connect::To(address) => {
                    let answer = self.introduce(node.id, &address);
                    let _ = match answer {
                        Ok(fd) => say(&node.wire, Kind::Link, call, &Socket(Attached(fd))),
                        Err(refusal) => say(&node.wire, Kind::Refused, call, &refused(refusal)),
                    };
                }
                Connect::Watch(actor) => {
                    let watched = lock(&self.hub).directory.watch(node.id, call, actor);
                    if let Err(unreachable) = watched {
                        let _ = say(&node.wire, Kind::Refused, call, &refused(unreachable.into()));
                    }
                }
            },
            Kind::Spawn => {
                let request: SpawnRequest = member::decode(frame)?;
                if let Err(error) = self.bear(node.id, request, Spawner::Member(node.clone(), call)) {
                    let report = ExitReport {
                        id: node.id,
                        name: String::new(),
                        pid: 0,
                        outcome: crate::exit::Outcome::NotStarted(error.to_string()),
                        stop: None,
                        stderr: None,
                    };
                    let _ = say(&node.wire, Kind::Spawned, call, &Err::<super::control::Born, _>(report));
                }
            }
            Kind::Signal => {
                let SignalRequest { target, action } = member::decode(frame)?;
                let allowed = lock(&self.hub).directory.is_ancestor(node.id, target);
                if allowed {
                    self.act(target, action);
                }
            }
            _ => node.heard(self, frame)?,
        }
        Ok(())
    }

    /// Makes a socket pair for two members and gives one end to the addressed one; the other is the caller's.
    fn introduce(&'static self, from: ActorId, address: &Address) -> Result<OwnedFd, Refusal> {
        let target = {
            let mut hub = lock(&self.hub);
            hub.directory.introduce(from, address)?;
            hub.nodes.get(&address.actor.slot()).cloned()
        };
        let (mine, theirs) = socket::pair().map_err(|error| Refusal::Failed(error.to_string()))?;
        match target {
            None => inbound::introduce(address.port, address.key, from, theirs),
            Some(node) => {
                let introduction = Introduction { port: address.port, key: address.key, from, socket: Attached(theirs) };
                let _ = say(&node.wire, Kind::Link, 0, &introduction);
            }
        }
        Ok(mine)
    }

    /// Stops, terminates or kills an actor.
    pub(crate) fn act(&'static self, target: ActorId, action: Action) {
        let node = lock(&self.hub).nodes.get(&target.slot()).filter(|node| node.id == target).cloned();
        let Some(node) = node else { return };
        match action {
            Action::Terminate => node.signal(Signal::TERM, KillReason::Terminated),
            Action::Kill => node.signal(Signal::KILL, KillReason::Killed),
            Action::KillForTask => node.signal(Signal::KILL, KillReason::TaskEscalated),
            Action::Stop { grace_ms } => {
                node.stop_step(StopStep::Asked);
                let _ = node.wire.send(false, |queue| queue.push_bare(crate::link::frame::Header::new(Kind::Stop, 0)));
                let Ok(library) = library::handle() else { return };
                library.spawn(async move {
                    let grace = Duration::from_millis(grace_ms);
                    if node.ended_within(grace).await {
                        return;
                    }
                    node.stop_step(StopStep::Terminated);
                    node.signal(Signal::TERM, KillReason::StopEscalated);
                    if node.ended_within(grace.min(Duration::from_secs(1))).await {
                        return;
                    }
                    node.stop_step(StopStep::Killed);
                    node.signal(Signal::KILL, KillReason::StopEscalated);
                });
            }
        }
    }

    /// An actor has ended: makes its report and tells everyone concerned.
    fn conclude(&'static self, node: &Arc<Node>, not_started: Option<String>) {
        let Some((report, value)) = node.conclude(self, not_started) else { return };
        let report = Arc::new(report);
        let (departure, nodes) = {
            let mut hub = lock(&self.hub);
            hub.nodes.remove(&node.id.slot());
            let departure = hub.directory.ended(&report);
            let concerned = departure.acquaintances.iter().chain(&departure.owner).chain(departure.watchers.iter().map(|(who, _)| who));
            let nodes: BTreeMap<ActorId, Arc<Node>> =
                concerned.filter_map(|who| hub.nodes.get(&who.slot()).map(|node| (*who, node.clone()))).collect();
            for (_, call) in departure.watchers.iter().filter(|(who, _)| *who == ActorId::ROOT) {
                if let Some(watch) = hub.watches.remove(call) {
                    let _ = watch.send(report.clone());
                }
            }
            (departure, nodes)
        };
        let mut value = Some(value);
        for (who, other) in &nodes {
            let value = if departure.owner == Some(*who) { value.take().flatten() } else { None };
            let news = Ended { report: (*report).clone(), value };
            if say(&other.wire, Kind::Ended, 0, &news).is_err() {
                // With a value too large for one frame more: the end itself must be heard of.
                let _ = say(&other.wire, Kind::Ended, 0, &Ended { value: None, ..news });
            }
        }
        for (who, call) in &departure.watchers {
            if let Some(other) = nodes.get(who) {
                let _ = say(&other.wire, Kind::Refused, *call, &Refused::Ended((*report).clone()));
            }
        }
        member::ended(report.clone(), value.flatten());
        node.settle_spawn(Err(report.clone()));
        for child in departure.children {
            let orphan = lock(&self.hub).nodes.get(&child.slot()).cloned();
            if let Some(orphan) = orphan {
                // An owner that ended in order gives its children the same; others take theirs with them.
                if report.is_success() {
                    self.act(child, Action::Stop { grace_ms: orphan.grace_ms });
                } else {
                    orphan.signal(Signal::KILL, KillReason::OwnerEnded);
                }
            }
        }
    }

    /// Whether spawns are refused because the family is about to end.
    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.hub).closing
    }

    /// Refuses spawns from now on, stops everyone, each with its own grace, and waits until nobody is left.
    pub(crate) async fn shut_down(&'static self) {
        lock(&self.hub).closing = true;
        self.stop_all().await;
    }

    /// Stops everyone who is there now, each with its own grace, and waits for their ends. What is still there when every grace is long
    /// over cannot be killed (it hangs in the kernel, or the nursery does): nothing waits for it any longer.
    pub(crate) async fn stop_all(&'static self) {
        let (nodes, top): (Vec<_>, Vec<_>) = {
            let hub = lock(&self.hub);
            let top = hub.directory.actors().filter(|&id| hub.directory.owner(id) == Some(ActorId::ROOT));
            (hub.nodes.values().cloned().collect(), top.filter_map(|id| hub.nodes.get(&id.slot()).cloned()).collect())
        };
        for node in top {
            self.act(node.id, Action::Stop { grace_ms: node.grace_ms });
        }
        let longest = nodes.iter().map(|node| node.grace_ms).max().unwrap_or(0);
        let bound = Duration::from_millis(longest).saturating_mul(2).saturating_add(Duration::from_secs(2));
        if !node::all_ended_within(&nodes, bound).await {
            nodes.iter().for_each(|node| node.signal(Signal::KILL, KillReason::OwnerEnded));
            if !node::all_ended_within(&nodes, Duration::from_secs(5)).await {
                tracing::error!("some processes of the family cannot be ended");
            }
        }
    }

    /// Kills everyone, at once.
    pub(crate) fn kill_all(&self) {
        let nodes: Vec<_> = lock(&self.hub).nodes.values().cloned().collect();
        for node in nodes {
            node.signal(Signal::KILL, KillReason::OwnerEnded);
        }
    }
}

impl Family for Root {
    fn me(&self) -> ActorId {
        ActorId::ROOT
    }

    fn connect(&self, address: Address) -> oneshot::Receiver<Connected> {
        let (sender, receiver) = oneshot::channel();
        let connected = match existing() {
            Some(root) => root.introduce(ActorId::ROOT, &address),
            None => Err(Refusal::Unknown),
        };
        let _ = sender.send(connected);
        receiver
    }

    fn watch(&self, actor: ActorId) -> oneshot::Receiver<Arc<ExitReport>> {
        let (sender, receiver) = oneshot::channel();
        let mut hub = lock(&self.hub);
        let call = hub.next_watch;
        hub.next_watch += 1;
        match hub.directory.watch(ActorId::ROOT, call, actor) {
            Ok(()) => {
                hub.watches.insert(call, sender);
            }
            Err(Unreachable::Ended(report)) => {
                let _ = sender.send(report);
            }
            Err(Unreachable::Unknown) => {}
        }
        receiver
    }

    fn serve(&self) {
        // The library thread reads every control link from its first moment on.
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take_news(&self) {}
}

impl From<Unreachable> for Refusal {
    fn from(unreachable: Unreachable) -> Refusal {
        match unreachable {
            Unreachable::Unknown => Refusal::Unknown,
            Unreachable::Ended(report) => Refusal::Ended(report),
        }
    }
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::Unknown => Refused::Unknown,
        Refusal::Ended(report) => Refused::Ended((*report).clone()),
        Refusal::Failed(why) => Refused::Failed(why),
    }
}

/// Raises the soft limit of open files to the hard one: every link takes a descriptor. Gives the old one for the children.
fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current == limit.maximum || setrlimit(Resource::Nofile, raised).is_err() { None } else { limit.current }
}

/// The value of one that returned travels to its owner alone.
type Value = Option<Parcel>;

/// What to do when this program founds its family.
static FOUNDING_CALL: OnceLock<fn(&'static Root)> = OnceLock::new();

/// Sets what to do when this program founds its family: nothing of it is needed before.
pub(crate) fn on_founding(call: fn(&'static Root)) {
    let _ = FOUNDING_CALL.set(call);
}
