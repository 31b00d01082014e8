//! What a process can be given, and the spawn itself.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;

use super::Here;
use super::control::{Action, Birth, EnvironmentChange, Places, SignalRequest, SpawnRequest};
use super::error::SpawnError;
use super::handle::{Actor, Child, Process};
use super::init;
use super::limits::Limits;
use super::member::member;
use super::root::Root;
use crate::actor::ask::operation;
use crate::actor::definition::{ProcessActor, index_of};
use crate::link::attach::Attached;
use crate::link::parcel::Parcel;
use crate::link::value::Message;

/// Where one of a process's standard streams leads.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stream {
    /// Where the spawner's leads at the moment of the spawn.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// To this file, pipe or socket.
    To(OwnedFd),
}

macro_rules! stream_from {
    ($($file:ty),*) => {$(
        impl From<$file> for Stream {
            fn from(file: $file) -> Stream {
                Stream::To(file.into())
            }
        }
    )*};
}
stream_from!(OwnedFd, std::fs::File, std::io::PipeReader, std::io::PipeWriter, std::os::unix::net::UnixStream);

/// What a builder has gathered.
#[derive(Debug)]
pub struct Options {
    name: Option<String>,
    environment: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    streams: [Stream; 3],
    grace: Duration,
    threads: usize,
    mailbox_messages: usize,
    mailbox_bytes: usize,
    fresh: bool,
    owned_by_root: bool,
    capture: bool,
    limits: Limits,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: None,
            environment: Vec::new(),
            directory: None,
            streams: Default::default(),
            grace: Duration::from_secs(5),
            threads: 1,
            mailbox_messages: 1024,
            mailbox_bytes: 16 * 1024 * 1024,
            fresh: false,
            owned_by_root: false,
            capture: false,
            limits: Limits::default(),
        }
    }
}

impl Options {
    /// See the builders' methods of these names.
    #[doc(hidden)]
    pub fn name(&mut self, name: String) {
        self.name = Some(name);
    }
    #[doc(hidden)]
    pub fn env(&mut self, name: OsString, value: Option<OsString>) {
        self.environment.push((name, value));
    }
    #[doc(hidden)]
    pub fn current_dir(&mut self, directory: PathBuf) {
        self.directory = Some(directory);
    }
    #[doc(hidden)]
    pub fn stream(&mut self, which: usize, stream: Stream) {
        if let Some(slot) = self.streams.get_mut(which) {
            *slot = stream;
        }
    }
    #[doc(hidden)]
    pub fn grace(&mut self, grace: Duration) {
        self.grace = grace;
    }
    #[doc(hidden)]
    pub fn runtime_threads(&mut self, threads: usize) {
        self.threads = threads;
    }
    #[doc(hidden)]
    pub fn mailbox_capacity(&mut self, messages: usize, bytes: usize) {
        (self.mailbox_messages, self.mailbox_bytes) = (messages, bytes);
    }
    #[doc(hidden)]
    pub fn fresh(&mut self) {
        self.fresh = true;
    }
    #[doc(hidden)]
    pub fn owned_by_root(&mut self) {
        self.owned_by_root = true;
    }
    #[doc(hidden)]
    pub fn capture_output(&mut self) {
        self.capture = true;
    }
    /// Where the builders' limits are gathered.
    #[doc(hidden)]
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }
    /// All limits at once.
    #[doc(hidden)]
    pub fn limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    fn into_request(self, entry: u32, arguments: Parcel) -> io::Result<SpawnRequest> {
        plug_streams();
        self.limits.check().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let [stdin, stdout, stderr] = self.streams;
        let directory = match &self.directory {
            Some(path) => open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
            None => open(c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
        };
        let places = Places {
            stdin: stream(stdin, rustix::stdio::stdin())?,
            stdout: stream(stdout, rustix::stdio::stdout())?,
            stderr: stream(stderr, rustix::stdio::stderr())?,
            directory: Attached(directory),
        };
        let mut environment = environment_changes();
        environment.extend(self.environment.into_iter().map(|(name, value)| (name.into_vec(), value.map(OsString::into_vec))));
        let birth = Birth {
            entry,
            name: self.name,
            environment,
            umask: current_umask(),
            threads: self.threads,
            mailbox_messages: self.mailbox_messages,
            mailbox_bytes: self.mailbox_bytes,
            grace_ms: u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX),
            fresh: self.fresh,
            owned_by_root: self.owned_by_root,
            capture: self.capture,
            limits: self.limits,
            arguments,
        };
        Ok(SpawnRequest { birth, places })
    }
}

fn stream(stream: Stream, mine: impl AsFd) -> io::Result<Option<Attached>> {
    match stream {
        Stream::Null => Ok(None),
        Stream::To(fd) => Ok(Some(Attached(fd))),
        Stream::Inherit => match fcntl_dupfd_cloexec(mine, 3) {
            Ok(fd) => Ok(Some(Attached(fd))),
            // Closed by another thread in this moment.
            Err(rustix::io::Errno::BADF) => Ok(None),
            Err(error) => Err(error.into()),
        },
    }
}

/// Puts `/dev/null` in the place of standard streams that this process has closed, as std does at a program's start: or a socket
/// of the family would come to lie there, and every child would be given it as its stream.
pub(crate) fn plug_streams() {
    for number in 0..=2 {
        // SAFETY: asks for the flags of a number, open or not.
        let closed = unsafe { libc::fcntl(number, libc::F_GETFD) } < 0;
        if closed && let Ok(null) = open(c"/dev/null", OFlags::RDWR, Mode::empty()) {
            // The kernel gives the lowest free number. Another thread may have been quicker.
            if null.as_raw_fd() == number {
                std::mem::forget(null);
            }
        }
    }
}

/// The environment that the nursery was started with, which every child has before its own changes are made.
static BASE: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

/// Notes the environment as it is now as the family's; what it was when it was noted first.
pub(crate) fn base_environment() -> &'static [(OsString, OsString)] {
    BASE.get_or_init(|| {
        let mut all: Vec<_> = std::env::vars_os().collect();
        all.sort();
        all
    })
}

/// What of the environment has changed in this process since.
fn environment_changes() -> Vec<EnvironmentChange> {
    let base = base_environment();
    let mut now: Vec<_> = std::env::vars_os().collect();
    now.sort();
    if now == base {
        return Vec::new();
    }
    let value_in = |list: &[(OsString, OsString)], name: &OsStr| {
        list.binary_search_by(|(other, _)| other.as_os_str().cmp(name)).ok().map(|index| list[index].1.clone())
    };
    let gone = base.iter().filter(|(name, _)| value_in(&now, name).is_none()).map(|(name, _)| (name.as_bytes().to_vec(), None));
    let changed = now
        .iter()
        .filter(|(name, value)| value_in(base, name).as_ref() != Some(value))
        .map(|(name, value)| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec())));
    gone.chain(changed).collect()
}

/// This process's file mode mask. Only the kernel's own page shows it without changing it for a moment.
fn current_umask() -> u32 {
    // It is in the second line; the first is a name of at most 64 bytes.
    let mut beginning = [0; 128];
    let read = std::fs::File::open("/proc/self/status").and_then(|mut status| io::Read::read(&mut status, &mut beginning)).unwrap_or(0);
    let mut lines = beginning[..read].split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mask = lines.find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

/// A handle made from a child: what the attribute's types have in [`ProcessActor::Handle`].
#[doc(hidden)]
pub trait Handle: Send + 'static {
    #[doc(hidden)]
    fn of(child: Born) -> Self;
}

/// A child, about to become a handle.
#[doc(hidden)]
pub struct Born(Arc<Child>);

impl std::fmt::Debug for Born {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Born")
    }
}

impl<R: Message> Handle for Process<R> {
    fn of(child: Born) -> Self {
        Process::new(child.0)
    }
}

impl<R: Message, M: Message> Handle for Actor<R, M> {
    fn of(child: Born) -> Self {
        Actor::new(child.0)
    }
}

/// A process about to be spawned: await it (or call `.blocking()`) for the handle.
///
/// It is ready when the child has started and joined the family; a child that dies before that is an error, in milliseconds.
/// Dropped before it is ready, or given up on after its timeout, the child is killed as soon as it is there.
#[must_use = "nothing is spawned until this is awaited (or `.blocking()` is called)"]
pub struct Spawn<A: ProcessActor> {
    options: Options,
    arguments: A::Arguments,
    timeout: Option<Duration>,
}

/// What the attribute's `spawn` functions call.
pub fn spawn<A: ProcessActor>(options: Options, arguments: A::Arguments) -> Spawn<A> {
    Spawn { options, arguments, timeout: None }
}

impl<A: ProcessActor> Spawn<A>
where
    A::Handle: Handle,
{
    async fn run(self) -> Result<A::Handle, SpawnError> {
        let entry = index_of(A::entry()).ok_or_else(|| io::Error::other("the actor is not in this program's table"))?;
        let here = here()?;
        let arguments = Parcel::of(self.arguments)?;
        let request = self.options.into_request(entry, arguments)?;
        let settled = match here {
            Here::Root(root) => match root.spawn(request) {
                Err(error) if root.is_closing() => {
                    tracing::debug!(%error, "a spawn came too late");
                    return Err(SpawnError::ShuttingDown);
                }
                begun => begun?,
            },
            Here::Member(member) => member.spawn(&request)?,
        };
        match settled.await {
            Ok(Ok(newborn)) => newborn.claim().map(|child| A::Handle::of(Born(child))).ok_or(SpawnError::ShuttingDown),
            Ok(Err(report)) => Err(SpawnError::Died(report)),
            Err(_) => Err(SpawnError::ShuttingDown),
        }
    }

    fn timed_out() -> Result<A::Handle, SpawnError> {
        Err(SpawnError::Timeout)
    }
}

operation! { impl [A: ProcessActor<Handle: Handle>] Spawn<A> as "spawn" => Result<A::Handle, SpawnError> }

/// Where this process stands, the root's part being started if this is one.
pub(crate) fn here() -> Result<Here, SpawnError> {
    match member() {
        Some(member) => Ok(Here::Member(member)),
        None => Ok(Here::Root(Root::get(init::state()?)?)),
    }
}

/// Does something to a process below this one.
pub(crate) fn act(target: crate::exit::ActorId, action: Action) {
    match here() {
        Ok(Here::Root(root)) => root.act(target, action),
        Ok(Here::Member(member)) => member.signal(&SignalRequest { target, action }),
        Err(_) => {}
    }
}

/// The methods of every builder that the attribute makes, on its field `options`.
#[doc(hidden)]
#[macro_export]
macro_rules! __builder_methods {
    () => {
        /// The actor's name, in listings, reports and `ps`.
        pub fn name(mut self, name: impl ::core::convert::Into<::std::string::String>) -> Self {
            self.options.name(name.into());
            self
        }

        /// Sets a variable of the process's environment. What is not set is the spawner's.
        pub fn env(
            mut self,
            name: impl ::core::convert::Into<::std::ffi::OsString>,
            value: impl ::core::convert::Into<::std::ffi::OsString>,
        ) -> Self {
            self.options.env(name.into(), ::core::option::Option::Some(value.into()));
            self
        }

        /// Removes a variable from the process's environment.
        pub fn env_remove(mut self, name: impl ::core::convert::Into<::std::ffi::OsString>) -> Self {
            self.options.env(name.into(), ::core::option::Option::None);
            self
        }

        /// The process's working directory; the spawner's if it is not set.
        pub fn current_dir(mut self, directory: impl ::core::convert::Into<::std::path::PathBuf>) -> Self {
            self.options.current_dir(directory.into());
            self
        }

        /// Where the process's standard input comes from; the spawner's if it is not set.
        pub fn stdin(mut self, stream: impl ::core::convert::Into<$crate::Stream>) -> Self {
            self.options.stream(0, stream.into());
            self
        }

        /// Where the process's standard output goes; the spawner's if it is not set.
        pub fn stdout(mut self, stream: impl ::core::convert::Into<$crate::Stream>) -> Self {
            self.options.stream(1, stream.into());
            self
        }

        /// Where the process's standard error goes; the spawner's if it is not set.
        pub fn stderr(mut self, stream: impl ::core::convert::Into<$crate::Stream>) -> Self {
            self.options.stream(2, stream.into());
            self
        }

        /// How long the process has to return after it was asked to stop, before SIGTERM; 5 s if it is not set.
        pub fn grace(mut self, grace: ::core::time::Duration) -> Self {
            self.options.grace(grace);
            self
        }

        /// How many threads an async actor's runtime has; one if it is not set.
        pub fn runtime_threads(mut self, threads: usize) -> Self {
            self.options.runtime_threads(threads);
            self
        }

        /// How much may wait in the actor's mailbox; 1,024 messages and 16 MiB if it is not set. What is on the way in the kernel's
        /// and the senders' buffers comes on top.
        pub fn mailbox_capacity(mut self, messages: usize, bytes: usize) -> Self {
            self.options.mailbox_capacity(messages, bytes);
            self
        }

        /// Starts the process with an exec instead of a fork, for a memory layout of its own. Slower; shares nothing with a preload.
        pub fn fresh(mut self) -> Self {
            self.options.fresh();
            self
        }

        /// Makes the root the process's owner: it outlives its spawner.
        pub fn owned_by_root(mut self) -> Self {
            self.options.owned_by_root();
            self
        }

        /// Keeps the end (16 KiB) of what the process writes to its standard error for its exit report, instead of showing it.
        pub fn capture_output(mut self) -> Self {
            self.options.capture_output();
            self
        }

        $crate::__limit_methods!(self, self.options.limits_mut());
    };
}
