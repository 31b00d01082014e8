//! The root's end of the nursery: starting one, asking it for children, hearing of their ends, and going on without it.

use std::io;
use std::process::Child as Process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::Signal;
use tokio::io::Interest;

use super::Root;
use super::node::Node;
use crate::exit::KillReason;
use crate::link::assemble::Assembler;
use crate::link::attach::Attached;
use crate::link::frame::{FRAME_CAP, Flags, Header, Kind};
use crate::link::library::{self, lock};
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait};
use crate::link::wire::{Broken, Source, Wire};
use crate::process::builder::base_environment;
use crate::process::control::{Forked, Hello, LastWords, NurseryFork, Reaped, say};
use crate::process::init::{self, Initialised};
use crate::process::member::decode;

/// A nursery as its root sees it.
pub(crate) struct Nurse {
    /// Which one of the family's this is, counted from 1.
    pub(super) number: u64,
    wire: Arc<Wire>,
    process: Mutex<Process>,
    /// What it said was wrong, before it ended.
    complaint: Mutex<Option<String>>,
    /// It has been well once: its end is an accident, not the program's own fault.
    greeted: AtomicBool,
}

impl Nurse {
    /// Starts a nursery. Requests may follow at once; they wait in its socket.
    pub(super) fn start(root: &'static Root, initialised: &Initialised, number: u64) -> io::Result<Arc<Nurse>> {
        let (mine, link) = socket::pair()?;
        let wire = Wire::new(mine);
        // The first message brings the lifeline.
        let lifeline = vec![fcntl_dupfd_cloexec(&root.lifeline, 3)?];
        let parcel = Parcel { flags: Flags::default(), body: Vec::new(), descriptors: lifeline };
        let _ = wire.send(false, |queue| queue.push_parcel(Header::new(Kind::Boot, 0), parcel));
        let mut command = init::nursery_command(initialised, link);
        let process = command.env_clear().envs(base_environment().iter().cloned()).env(init::MARKER, "nursery").spawn()?;
        // `Command` holds its end of the link until it is dropped.
        drop(command);
        let nurse =
            Arc::new(Nurse { number, wire, process: Mutex::new(process), complaint: Mutex::new(None), greeted: AtomicBool::new(false) });
        library::handle()?.spawn(read(root, nurse.clone()));
        Ok(nurse)
    }

    /// Asks for a fork; the call's number says for which slot, also where the body cannot be read.
    pub(super) fn fork(&self, request: &NurseryFork) -> io::Result<()> {
        match say(&self.wire, Kind::Spawn, request.slot.into(), request) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Broken)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Whether its process is still there.
    pub(super) fn is_alive(&self) -> bool {
        matches!(lock(&self.process).try_wait(), Ok(None))
    }

    /// Reaps the process; it has ended, or ends now.
    fn bury(&self) -> String {
        let mut process = lock(&self.process);
        let _ = process.kill();
        let status = process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        lock(&self.complaint).take().unwrap_or_else(|| format!("the nursery ended ({status})"))
    }
}

async fn read(root: &'static Root, nurse: Arc<Nurse>) {
    let mut assembler = Assembler::new(FRAME_CAP);
    if let Ok(source) = socket::watch(Source(nurse.wire.clone()), Interest::READABLE) {
        'reading: while let Ok(mut ready) = source.readable().await {
            let received = socket::receive(nurse.wire.fd(), &mut assembler, Wait::No);
            loop {
                match assembler.next() {
                    Ok(Some(frame)) => {
                        let heard = match frame.header.kind {
                            Kind::Hello => decode::<Hello>(frame).map(|hello| match hello.check() {
                                Ok(()) => nurse.greeted.store(true, Ordering::Relaxed),
                                Err(why) => *lock(&nurse.complaint) = Some(why),
                            }),
                            Kind::Failed => decode::<LastWords>(frame).map(|words| {
                                if let LastWords::NotStarted(why) = words {
                                    *lock(&nurse.complaint) = Some(why);
                                }
                            }),
                            Kind::Spawned => decode::<Forked>(frame).map(|forked| root.forked(forked)),
                            Kind::Ended => decode::<Reaped>(frame).map(|reaped| root.reaped(&reaped)),
                            _ => Ok(()),
                        };
                        if let Err(error) = heard {
                            tracing::error!(%error, "the nursery could not be understood");
                        }
                    }
                    Ok(None) => break,
                    Err(_) => break 'reading,
                }
            }
            match received {
                Ok(Received::Bytes(_, true) | Received::Nothing) => ready.clear_ready(),
                Ok(Received::Bytes(..)) => {}
                Ok(Received::End) | Err(_) => break,
            }
        }
    }
    let why = nurse.bury();
    root.bereft(&nurse, &why);
}

impl Root {
    fn forked(&'static self, forked: Forked) {
        let node = lock(&self.hub).nodes.get(&forked.slot).cloned();
        let Some(node) = node else { return };
        match forked.child {
            Ok((pid, Attached(pidfd))) => node.forked(pid, pidfd),
            Err(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                self.conclude(&node, Some(format!("the fork failed: {error}")));
            }
        }
    }

    fn reaped(&'static self, reaped: &Reaped) {
        let node = lock(&self.hub).nodes.get(&reaped.slot).cloned();
        if let Some(node) = node {
            node.reaped(reaped.status, reaped.cpu_time);
            self.conclude(&node, None);
        }
    }

    /// The nursery has ended: its living children go on, and those that were not born never will be.
    fn bereft(&'static self, nurse: &Arc<Nurse>, why: &str) {
        let nodes: Vec<_> = {
            let mut hub = lock(&self.hub);
            if hub.nurse.as_ref().is_some_and(|current| Arc::ptr_eq(current, nurse)) {
                hub.nurse = None;
            }
            hub.nodes.values().cloned().collect()
        };
        for node in nodes {
            self.orphaned(&node, nurse, why);
        }
    }

    /// What becomes of one actor whose nursery has ended. Does nothing for one of another nursery, and nothing the second time.
    pub(super) fn orphaned(&'static self, node: &Arc<Node>, nurse: &Arc<Nurse>, why: &str) {
        if !node.orphaned(nurse.number) {
            return;
        }
        // It may have been forked and have said hello, although its nursery could not say so any more.
        node.drain(self);
        if node.pidfd().is_none() {
            // Or be about to: from here on its hello fails, and its function does not run. Where it said it in this very moment, it
            // runs without a link that it could report on, and is ended.
            node.refuse_words();
            node.drain(self);
            node.signal(Signal::KILL, KillReason::Handshake);
        }
        match node.pidfd() {
            None if !nurse.greeted.load(Ordering::Relaxed) => self.conclude(node, Some(why.to_owned())),
            None => match node.again() {
                // Nobody has forked it: the next nursery does, as a new node with a control link of its own.
                Some((owner, request, spawner)) => {
                    self.conclude(node, Some(why.to_owned()));
                    if let Err(error) = self.bear(owner, request, spawner) {
                        tracing::error!(%error, "a birth could not be repeated");
                    }
                }
                None => self.conclude(node, Some(why.to_owned())),
            },
            Some(pidfd) => {
                let Ok(library) = library::handle() else { return };
                let node = node.clone();
                library.spawn(async move {
                    if let Ok(pidfd) = pidfd
                        && let Ok(pidfd) = socket::watch(pidfd, Interest::READABLE)
                    {
                        let _ended = pidfd.readable().await;
                    }
                    self.conclude(&node, None);
                });
            }
        }
    }

    /// Whether this is the nursery that the family has.
    pub(super) fn is_current(&self, nurse: &Arc<Nurse>) -> bool {
        lock(&self.hub).nurse.as_ref().is_some_and(|current| Arc::ptr_eq(current, nurse))
    }
}
