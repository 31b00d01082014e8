//! `init`: what a program calls first, and where its helper processes stay.
//!
//! A helper is the program's own image, started with a marker in its environment that says what it is and which descriptors it
//! was given. The marker is taken out of the environment before anything else. In an ordinary start there is no marker, and all
//! that happens is a note that `init` was called in time.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::builder::base_environment;
use super::error::InitError;
use super::nursery::{self, Newborn};
use super::{boot, signals};
use crate::actor::definition::duplicate_name;

/// `nursery`, or `actor:CONTROL:LIFELINE:STDOUT`.
pub(crate) const MARKER: &str = "PROCESSION_HELPER";

/// What `init` found in this process.
static STATE: OnceLock<Result<Initialised, InitError>> = OnceLock::new();

#[derive(Clone, Debug)]
pub(crate) struct Initialised {
    /// The arguments that bring a helper of this program to its `init`.
    arguments: Vec<OsString>,
}

/// Which test of a test binary leads to `init`, where one does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
}

/// Prepares this program to start processes. Call it first thing in `main`; `#[procession::main]` does.
///
/// In a helper process of this program it never returns. Calling it again does nothing.
///
/// # Errors
///
/// [`InitError::TooLate`] where other threads exist already, [`InitError::DuplicateName`]. Every spawn fails with the same error
/// then.
pub fn init() -> Result<(), InitError> {
    begin(None, None)
}

pub(crate) fn begin(preload: Option<fn()>, test: Option<Test>) -> Result<(), InitError> {
    // Under the test harness the main thread waits for the test's own.
    let expected = if test.is_some() { 2 } else { 1 };
    // The state first: a second call, with threads running by then, is no error and takes no marker.
    let state = STATE.get_or_init(|| {
        if let Some(marker) = std::env::var_os(MARKER) {
            // SAFETY: no other thread runs in a helper: its marker is found before anything could start one, and the test harness's own
            // waits.
            unsafe { std::env::remove_var(MARKER) };
            become_helper(&marker.to_string_lossy(), preload, expected);
        }
        if test.is_none() {
            match thread_count() {
                Ok(count) if count > expected => return Err(InitError::TooLate(count - 1)),
                _ => {}
            }
        }
        match duplicate_name() {
            Some(name) => Err(InitError::DuplicateName(name)),
            None => Ok(Initialised { arguments: helper_arguments(test) }),
        }
    });
    state.as_ref().map(|_| ()).map_err(Clone::clone)
}

/// What `init` found, for whoever is about to spawn.
pub(crate) fn state() -> Result<&'static Initialised, InitError> {
    match STATE.get() {
        None => Err(InitError::NotCalled),
        Some(Ok(initialised)) => Ok(initialised),
        Some(Err(error)) => Err(error.clone()),
    }
}

fn helper_arguments(test: Option<Test>) -> Vec<OsString> {
    match test {
        // The harness of a helper must come to this very test, and to no other.
        Some(Test { module, name }) => {
            let path = match module.split_once("::") {
                Some((_crate, rest)) => format!("{rest}::{name}"),
                None => name.to_owned(),
            };
            ["--exact", &path, "--nocapture", "--include-ignored", "--test-threads=2"].into_iter().map(OsString::from).collect()
        }
        None => std::env::args_os().skip(1).collect(),
    }
}

/// The nursery, about to be started with one end of its link.
pub(crate) fn nursery_command(initialised: &Initialised, link: OwnedFd) -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.args(&initialised.arguments).stdin(Stdio::from(link)).stdout(Stdio::null());
    command
}

/// In a forked child: starts over from the image, for a memory layout of its own.
pub(crate) fn exec_fresh(newborn: &Newborn) -> ! {
    let keep = |fd: RawFd| {
        // SAFETY: clears close-on-exec on a descriptor that this process owns.
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }
    };
    let (control, lifeline) = (newborn.control.as_raw_fd(), newborn.lifeline.as_raw_fd());
    // What the program prints on its way to `init` is not the actor's.
    let stdout = rustix::io::dup(rustix::stdio::stdout()).map(|stdout| stdout.into_raw_fd());
    let Ok(stdout) = stdout else { std::process::exit(boot::UNSETTLED) };
    keep(control);
    keep(lifeline);
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.args(std::env::args_os().skip(1)).stdout(Stdio::null());
    command.env_clear().envs(ENVIRONMENT.get().into_iter().flatten().cloned());
    let failed = command.env(MARKER, format!("actor:{control}:{lifeline}:{stdout}")).exec();
    std::process::exit(failed.raw_os_error().unwrap_or(boot::UNSETTLED))
}

/// The environment that the nursery was started with, before its preload ran: a fresh process shares nothing with that.
static ENVIRONMENT: OnceLock<Vec<(OsString, OsString)>> = OnceLock::new();

pub(crate) fn remember_environment() {
    ENVIRONMENT.get_or_init(|| std::env::vars_os().collect());
}

fn become_helper(marker: &str, preload: Option<fn()>, threads: usize) -> ! {
    wait_for_harness(threads);
    if marker == "nursery" {
        close_inherited();
        let link = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
        let null = fs::File::open("/dev/null");
        if let (Ok(link), Ok(null)) = (link, null)
            && rustix::stdio::dup2_stdin(&null).is_ok()
        {
            drop(null);
            nursery::run(link, preload, threads);
        }
    } else if let Some(fds) = marker.strip_prefix("actor:") {
        let mut fds = fds.split(':').map(given);
        let mut next = || fds.next().flatten();
        if let (Some(control), Some(lifeline), Some(stdout)) = (next(), next(), next())
            && io::Write::flush(&mut io::stdout()).is_ok()
            && rustix::stdio::dup2_stdout(&stdout).is_ok()
            && signals::hear_again().is_ok()
        {
            drop(stdout);
            base_environment();
            boot::live(Newborn { control, lifeline });
        }
    }
    std::process::exit(boot::UNSETTLED)
}

/// Closes what the root happened to have open without close-on-exec when it started this process: no child is to hold it.
/// What this image has opened itself so far is close-on-exec, as everything of std's is, and stays.
fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|&fd| fd > 2) {
        // SAFETY: asks for the flags of a number, open or not.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: it came through an exec, so nothing in this image owns it.
            unsafe { libc::close(fd) };
        }
    }
}

/// A descriptor that the marker names.
fn given(number: &str) -> Option<OwnedFd> {
    let fd: RawFd = number.parse().ok()?;
    // SAFETY: the marker names descriptors that were opened for this process and left open for it alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

/// Under the test harness, waits until its main thread has come to rest, so that a fork meets no lock of its in use.
fn wait_for_harness(threads: usize) {
    if threads < 2 {
        return;
    }
    let me = rustix::thread::gettid().as_raw_nonzero().get().to_string();
    let others: Vec<_> = match fs::read_dir("/proc/self/task") {
        Ok(tasks) => tasks.flatten().map(|task| task.path()).filter(|path| !path.ends_with(&me)).collect(),
        Err(_) => return,
    };
    for _ in 0..1000 {
        let asleep = |path: &std::path::PathBuf| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('S'))
        };
        if others.iter().all(asleep) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
}

/// The number of threads of this process.
pub(crate) fn thread_count() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}
