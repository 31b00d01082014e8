//! One actor as its root keeps it: its control link, its life, and how it ended.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::sync::{Notify, oneshot};

use super::limited::{self, Limited};
use super::nurse::Nurse;
use super::{Root, Value};
use crate::actor::address::Key;
use crate::exit::{ActorId, ErrorChain, ExitReport, KillReason, Outcome, StopStep};
use crate::link::assemble::{Assembler, Body, Frame};
use crate::link::frame::{FRAME_CAP, Kind};
use crate::link::library::lock;
use crate::link::parcel::Parcel;
use crate::link::socket::{self, Received, Wait};
use crate::link::value::DecodeError;
use crate::link::wire::{Source, Wire};
use crate::process::control::{Birth, Born, Hello, LastWords, NurseryFork, SpawnRequest, say};
use crate::process::handle;
use crate::process::member::{Settled, decode};

/// How long a child may take from its fork to its hello.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How much of a captured stderr is kept.
const TAIL: usize = 16 * 1024;

/// How many reads one source may have before it is the others' turn.
const TURN: usize = 64;

/// How much of what has arrived was read.
pub(super) enum Heard {
    All,
    /// There may be more.
    Some,
    /// Nothing comes any more.
    End,
}

/// Who waits for a birth.
pub(super) enum Spawner {
    Here(oneshot::Sender<Settled>),
    Member(Arc<Node>, u64),
}

pub(crate) struct Node {
    pub(super) id: ActorId,
    pub(super) name: String,
    pub(super) grace_ms: u64,
    pub(super) wire: Arc<Wire>,
    pub(super) limited: Limited,
    key: Key,
    assembler: Mutex<Assembler>,
    life: Mutex<Life>,
    forked: Notify,
    ended: Notify,
}

struct Life {
    spawner: Option<Spawner>,
    /// Until it lives: what is needed to begin again.
    request: Option<(ActorId, SpawnRequest)>,
    /// The number of the nursery that was asked to fork it, until that is gone.
    nurse: Option<u64>,
    pid: u32,
    pidfd: Option<OwnedFd>,
    /// The last frame: what the function returned, or how it did not.
    last: Option<Outcome>,
    value: Value,
    /// The exact wait status, where a nursery could read it.
    status: Option<i32>,
    /// How much CPU time it had used when it was reaped.
    cpu_time: Duration,
    /// What this library sent it, and the first reason for each signal.
    killed: Vec<(Signal, KillReason)>,
    stop: Option<StopStep>,
    stderr: Option<Vec<u8>>,
    stderr_fd: Option<OwnedFd>,
    over: bool,
}

impl Node {
    pub(super) fn new(
        id: ActorId,
        key: Key,
        name: String,
        grace_ms: u64,
        wire: Arc<Wire>,
        spawner: Spawner,
        limited: Limited,
    ) -> Arc<Node> {
        let life = Life {
            spawner: Some(spawner),
            request: None,
            nurse: None,
            pid: 0,
            pidfd: None,
            last: None,
            value: None,
            status: None,
            cpu_time: Duration::ZERO,
            killed: Vec::new(),
            stop: None,
            stderr: None,
            stderr_fd: None,
            over: false,
        };
        let assembler = Mutex::new(Assembler::new(FRAME_CAP));
        let (life, forked, ended) = (Mutex::new(life), Notify::new(), Notify::new());
        Arc::new(Node { id, name, grace_ms, wire, limited, key, assembler, life, forked, ended })
    }

    pub(super) fn pid(&self) -> u32 {
        lock(&self.life).pid
    }

    /// The nursery has forked it.
    pub(super) fn forked(&self, pid: u32, pidfd: OwnedFd) {
        let mut life = lock(&self.life);
        life.pid = pid;
        life.pidfd = Some(pidfd);
        for (signal, _) in life.killed.clone() {
            life.send(signal);
        }
        drop(life);
        self.forked.notify_one();
    }

    pub(super) fn reaped(&self, status: i32, cpu_time: Duration) {
        let mut life = lock(&self.life);
        life.status = Some(status);
        life.cpu_time = cpu_time;
    }

    /// Whether its end was reported.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.life).over
    }

    /// A copy of its pidfd, where it was forked.
    pub(super) fn pidfd(&self) -> Option<io::Result<OwnedFd>> {
        lock(&self.life).pidfd.as_ref().map(OwnedFd::try_clone)
    }

    /// Asks a nursery to fork it, and keeps what its birth was asked for with, in case that nursery ends before it has. Both in one
    /// step: the end of the nursery is noticed by another thread.
    pub(super) fn ask_for_fork(&self, nurse: &Nurse, fork: NurseryFork, owner: ActorId, birth: Birth) -> io::Result<()> {
        let mut life = lock(&self.life);
        let asked = nurse.fork(&fork);
        life.nurse = Some(nurse.number);
        if life.spawner.is_some() {
            life.request = Some((owner, SpawnRequest { birth, places: fork.places }));
        }
        asked
    }

    /// Everything to begin an unborn child's birth again with.
    pub(super) fn again(&self) -> Option<(ActorId, SpawnRequest, Spawner)> {
        let mut life = lock(&self.life);
        let (owner, request) = life.request.take()?;
        Some((owner, request, life.spawner.take()?))
    }

    /// What it has said so far can be read; from now on its words fail.
    pub(super) fn refuse_words(&self) {
        let _ = rustix::net::shutdown(self.wire.fd(), rustix::net::Shutdown::Read);
    }

    /// This nursery is gone; true where it was this one's, the first time.
    pub(super) fn orphaned(&self, number: u64) -> bool {
        lock(&self.life).nurse.take_if(|nurse| *nurse == number).is_some()
    }

    /// Sends a signal, now or when it has been forked.
    pub(super) fn signal(&self, signal: Signal, reason: KillReason) {
        let mut life = lock(&self.life);
        if !life.over && life.status.is_none() {
            if !life.killed.iter().any(|(sent, _)| *sent == signal) {
                life.killed.push((signal, reason));
            }
            life.send(signal);
        }
    }

    pub(super) fn stop_step(&self, step: StopStep) {
        let mut life = lock(&self.life);
        life.stop = life.stop.max(Some(step));
    }

    /// Whether it ends within this time.
    pub(super) async fn ended_within(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.ended()).await.is_ok()
    }

    async fn ended(&self) {
        loop {
            let rung = self.ended.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if lock(&self.life).over {
                return;
            }
            rung.await;
        }
    }

    /// What only concerns this actor itself.
    pub(super) fn heard(self: &Arc<Self>, _root: &'static Root, frame: Frame<'_>) -> Result<(), DecodeError> {
        let call = frame.header.call;
        match frame.header.kind {
            Kind::Hello => {
                let hello: Hello = decode(frame)?;
                match hello.check() {
                    Ok(()) => {
                        let is_first = lock(&self.life).spawner.is_some();
                        self.alive(hello.pid);
                        if is_first {
                            limited::watch(self, hello.at_birth);
                        }
                    }
                    Err(why) => {
                        lock(&self.life).last = Some(Outcome::NotStarted(why));
                        self.signal(Signal::KILL, KillReason::Handshake);
                    }
                }
            }
            Kind::Returned => {
                let flags = frame.header.flags;
                let body = match frame.body {
                    Body::Borrowed(bytes) => bytes.to_vec(),
                    Body::Owned(bytes) => bytes,
                };
                let mut life = lock(&self.life);
                life.value = Some(Parcel { flags, body, descriptors: frame.descriptors });
                life.last.get_or_insert(Outcome::Returned);
            }
            // With a call id, what the function returned; without, why it never ran.
            Kind::Failed if call == 1 => {
                let chain: ErrorChain = decode(frame)?;
                lock(&self.life).last = Some(Outcome::Failed(chain));
            }
            Kind::Failed | Kind::Panicked => {
                let outcome = match decode(frame)? {
                    LastWords::Panicked(panic) => Outcome::Panicked(panic),
                    LastWords::NotStarted(why) => Outcome::NotStarted(why),
                };
                lock(&self.life).last = Some(outcome);
            }
            _ => {}
        }
        Ok(())
    }

    /// It said hello: its spawner gets its handle.
    fn alive(self: &Arc<Self>, pid: u32) {
        {
            let mut life = lock(&self.life);
            if life.pidfd.is_none() {
                // The nursery was killed before it could say so. The child said it itself, so its pid is its own still.
                life.pid = pid;
                life.pidfd = Pid::from_raw(pid.cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            }
        }
        let born = Born { id: self.id, key: self.key, name: self.name.clone(), pid, grace_ms: self.grace_ms };
        self.settle(|spawner| match spawner {
            Spawner::Here(sender) => {
                let _ = sender.send(Ok(handle::Newborn::new(born)));
            }
            Spawner::Member(member, call) => {
                let _ = say(&member.wire, Kind::Spawned, call, &Ok::<_, ExitReport>(born));
            }
        });
    }

    fn settle(&self, tell: impl FnOnce(Spawner)) {
        let (spawner, request) = {
            let mut life = lock(&self.life);
            (life.spawner.take(), life.request.take())
        };
        drop(request);
        if let Some(spawner) = spawner {
            tell(spawner);
        }
    }

    /// The birth failed, if it had not succeeded before.
    pub(super) fn settle_spawn(&self, failed: Result<std::convert::Infallible, Arc<ExitReport>>) {
        let Err(report) = failed;
        self.settle(|spawner| match spawner {
            Spawner::Here(sender) => {
                let _ = sender.send(Err(report));
            }
            Spawner::Member(member, call) => {
                let _ = say(&member.wire, Kind::Spawned, call, &Err::<Born, _>((*report).clone()));
            }
        });
    }

    /// Reads what has arrived, and no more than a socket holds: an actor that never stops talking is not to keep the others waiting.
    pub(super) fn drain(self: &Arc<Self>, root: &'static Root) -> Heard {
        let mut assembler = lock(&self.assembler);
        for _ in 0..TURN {
            let received = socket::receive(self.wire.fd(), &mut assembler, Wait::No);
            loop {
                match assembler.next() {
                    Ok(Some(frame)) => {
                        if let Err(error) = root.heard(self, frame) {
                            tracing::error!(actor = %self.id, %error, "a control frame could not be read");
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(actor = %self.id, %error, "a control link failed; its actor is killed");
                        self.signal(Signal::KILL, KillReason::Handshake);
                        return Heard::End;
                    }
                }
            }
            match received {
                Ok(Received::Bytes(_, false)) => {}
                Ok(Received::Bytes(_, true) | Received::Nothing) => return Heard::All,
                Ok(Received::End) | Err(_) => return Heard::End,
            }
        }
        Heard::Some
    }

    /// The report, once: after everything that it had sent was read.
    pub(super) fn conclude(self: &Arc<Self>, root: &'static Root, not_started: Option<String>) -> Option<(ExitReport, Value)> {
        self.drain(root);
        let stderr = lock(&self.life).stderr_fd.take();
        if let Some(fd) = stderr {
            self.take_stderr(&fd);
        }
        let mut life = lock(&self.life);
        if std::mem::replace(&mut life.over, true) {
            return None;
        }
        let outcome = not_started.map_or_else(|| life.outcome(&self.limited), Outcome::NotStarted);
        let ran = matches!(outcome, Outcome::Returned | Outcome::Failed(_));
        let value = life.value.take().filter(|_| ran);
        let report = ExitReport {
            id: self.id,
            name: self.name.clone(),
            pid: life.pid,
            outcome,
            stop: life.stop.map(|step| taken(step, life.status)),
            stderr: life.stderr.take().map(|tail| String::from_utf8_lossy(&tail).into_owned()),
        };
        life.pidfd = None;
        drop(life);
        self.wire.shut();
        self.ended.notify_waiters();
        Some((report, value))
    }

    /// Takes the reading end of its captured stderr, before it is born.
    pub(super) fn keep_stderr(&self, stderr: OwnedFd) {
        let _ = rustix::io::ioctl_fionbio(&stderr, true);
        let mut life = lock(&self.life);
        life.stderr = Some(Vec::new());
        life.stderr_fd = Some(stderr);
    }

    pub(super) fn has_stderr(&self) -> bool {
        lock(&self.life).stderr_fd.is_some()
    }

    fn take_stderr(&self, fd: &OwnedFd) -> Heard {
        let mut chunk = [0; 4096];
        for _ in 0..TURN {
            match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut chunk)) {
                Ok(0) => return Heard::End,
                Ok(count) => {
                    let mut life = lock(&self.life);
                    let tail = life.stderr.get_or_insert_default();
                    tail.extend_from_slice(&chunk[..count]);
                    let excess = tail.len().saturating_sub(TAIL);
                    tail.drain(..excess);
                }
                Err(rustix::io::Errno::AGAIN) => return Heard::All,
                Err(_) => return Heard::End,
            }
        }
        Heard::Some
    }
}

impl Life {
    fn send(&self, signal: Signal) {
        if let Some(pidfd) = &self.pidfd {
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// How it ended, by its last frame and its wait status together.
    fn outcome(&mut self, limited: &Limited) -> Outcome {
        let Some(status) = self.status else { return self.last.take().unwrap_or(Outcome::Lost) };
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            let sent = self.killed.iter().find(|(sent, _)| sent.as_raw() == signal);
            return match (self.last.take(), sent) {
                // A panic that aborts says so before the abort.
                (Some(panic @ Outcome::Panicked(_)), _) if signal == libc::SIGABRT => panic,
                (Some(why @ Outcome::NotStarted(_)), _) => why,
                (_, Some(&(_, reason))) => Outcome::Killed { signal, reason },
                _ => match limited.reason(signal, self.cpu_time) {
                    Some(reason) => Outcome::Killed { signal, reason },
                    None => Outcome::Signalled { signal, core: libc::WCOREDUMP(status) },
                },
            };
        }
        match self.last.take() {
            Some(last) => last,
            None if self.spawner.is_some() => {
                Outcome::NotStarted(format!("it exited with code {} before its function ran", libc::WEXITSTATUS(status)))
            }
            None => Outcome::Exited(libc::WEXITSTATUS(status)),
        }
    }
}

/// The step of a stop that did it. The next one may have been taken when the process was as good as gone.
fn taken(step: StopStep, status: Option<i32>) -> StopStep {
    match status {
        Some(status) if step == StopStep::Killed && !(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL) => {
            StopStep::Terminated
        }
        _ => step,
    }
}

/// Whether all of these end within this time, from now.
pub(super) async fn all_ended_within(nodes: &[Arc<Node>], time: Duration) -> bool {
    let all = async {
        for node in nodes {
            node.ended().await;
        }
    };
    tokio::time::timeout(time, all).await.is_ok()
}

/// Reads an actor's control link until it ends.
pub(super) async fn read(root: &'static Root, node: Arc<Node>) {
    let source = match socket::watch(Source(node.wire.clone()), Interest::READABLE) {
        Ok(source) => source,
        Err(error) => {
            node.signal(Signal::KILL, KillReason::Handshake);
            root.conclude(&node, Some(format!("its control link could not be watched: {error}")));
            return;
        }
    };
    // Until its nursery has forked it there is no deadline: a preload may take its time, and the nursery's own end is noticed.
    let late = async {
        node.forked.notified().await;
        tokio::time::sleep(HANDSHAKE).await;
    };
    tokio::pin!(late);
    let mut patient = true;
    loop {
        patient = patient && lock(&node.life).spawner.is_some();
        tokio::select! {
            biased;
            ready = source.readable() => {
                let Ok(mut ready) = ready else { return };
                match node.drain(root) {
                    Heard::All => ready.clear_ready(),
                    Heard::Some => tokio::task::yield_now().await,
                    Heard::End => return,
                }
            }
            () = &mut late, if patient => {
                patient = false;
                node.signal(Signal::KILL, KillReason::Handshake);
            }
        }
        if lock(&node.life).over {
            return;
        }
    }
}

/// Keeps the end of an actor's stderr.
pub(super) async fn capture(node: Arc<Node>) {
    let copy = lock(&node.life).stderr_fd.as_ref().map(OwnedFd::try_clone);
    let Some(Ok(stderr)) = copy else { return };
    let Ok(source) = socket::watch(stderr, Interest::READABLE) else { return };
    while let Ok(mut ready) = source.readable().await {
        match node.take_stderr(source.get_ref()) {
            Heard::All => ready.clear_ready(),
            Heard::Some => tokio::task::yield_now().await,
            Heard::End => return,
        }
        if lock(&node.life).over {
            return;
        }
    }
}
