//! A `main`, or a test, from its beginning to its end.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::InitError;
use super::init::{self, Test};
use super::root::{self, Root};
use super::{signals, unfinished};
use crate::actor::definition::block_on_one_thread;
use crate::link::library::{self, lock};
use crate::link::wire;
use crate::wait;

/// How long the end of a program waits for what was begun and is nobody's any more.
const UNFINISHED: Duration = Duration::from_secs(5);

/// What `#[procession::main]` was told.
#[derive(Clone, Copy, Debug)]
pub struct MainOptions {
    /// Runs in the nursery before anything else.
    pub preload: Option<fn()>,
    /// Whether INT, TERM and HUP stop the family in order.
    pub signals: bool,
}

/// Which runtime an async `main` runs on.
#[derive(Clone, Copy, Debug)]
pub enum Flavor {
    /// This thread alone.
    CurrentThread,
    /// This many threads, or as many as there are cores.
    MultiThread {
        /// How many.
        workers: Option<usize>,
    },
}

/// A program between its beginning and its end; the end stops what is left of its family.
#[must_use = "the session ends the family when it is dropped"]
#[derive(Debug)]
pub struct Session {
    test: bool,
}

/// The sessions of this process: one, or those of the tests that one test binary runs side by side.
static SESSIONS: Mutex<usize> = Mutex::new(0);

/// Begins a `main`. Never returns in a helper process.
pub fn start(options: MainOptions) -> Session {
    begin(init::begin(options.preload, None), options.signals, false)
}

/// Begins a test. Never returns in a helper process.
pub fn start_test(module: &'static str, name: &'static str) -> Session {
    begin(init::begin(None, Some(Test { module, name })), false, true)
}

fn begin(initialised: Result<(), InitError>, signals: bool, test: bool) -> Session {
    if let Err(error) = initialised {
        // Every spawn says so too; here it is known before anything ran.
        tracing::error!(%error, "procession could not be initialised");
    }
    if signals {
        root::on_founding(handle_signals);
    }
    *lock(&SESSIONS) += 1;
    Session { test }
}

impl Session {
    /// Stops what is left of the family, each process with its own grace, and waits for it.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Held to the end: a session that began meanwhile would have its first actors stopped with the others.
        let mut sessions = lock(&SESSIONS);
        *sessions -= 1;
        // The family is every session's: the last one ends it.
        let Some(root) = root::existing().filter(|_| *sessions == 0) else { return };
        if std::thread::panicking() {
            root.kill_all();
        }
        // Its timers need an event loop, which this thread may not have.
        let Ok(library) = library::handle() else { return };
        let test = self.test;
        // After a test another one may begin at any moment, and spawn.
        let panicking = std::thread::panicking();
        let ended = library.spawn(async move {
            if !panicking {
                let _ = tokio::time::timeout(UNFINISHED, unfinished::all_done()).await;
            }
            if test { root.stop_all().await } else { root.shut_down().await }
        });
        let _ = wait::block_on(ended, None);
        wire::flush_all(std::time::Instant::now() + Duration::from_secs(1));
    }
}

/// Runs an async `main`.
pub fn block_on<F: Future + 'static>(flavor: Flavor, future: F) -> F::Output
where
    F::Output: 'static,
{
    let ended = match flavor {
        Flavor::CurrentThread => block_on_one_thread(future),
        Flavor::MultiThread { workers } => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            if let Some(workers) = workers {
                builder.worker_threads(workers);
            }
            builder.enable_all().build().map(|runtime| runtime.block_on(future))
        }
    };
    match ended {
        Ok(output) => output,
        // As tokio's own `main` does: without a runtime there is no program.
        Err(error) => panic!("the runtime of `main` could not be started: {error}"),
    }
}

/// Stops the family in order: asks everyone to stop, then SIGTERM, then SIGKILL, with the grace that each asked for; returns when
/// nobody is left. For programs that handle signals themselves. Spawns fail from now on.
pub async fn shutdown() {
    let (Some(root), Ok(library)) = (root::existing(), library::handle()) else { return };
    // On the library's own event loop: the caller's need not have timers.
    let _ = library.spawn(root.shut_down()).await;
}

/// The first signal stops the family in order and ends this process as the signal would have; a second one kills.
fn handle_signals(root: &'static Root) {
    let Ok(library) = library::handle() else { return };
    let _entered = library.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        match signal(kind) {
            Ok(listening) => {
                library.spawn(heed(root, kind, listening));
            }
            Err(error) => tracing::warn!(%error, "a signal cannot be handled"),
        }
    }
}

async fn heed(root: &'static Root, kind: SignalKind, mut signal: Signal) {
    signal.recv().await;
    let again = async {
        signal.recv().await;
        root.kill_all();
        root.shut_down().await;
    };
    tokio::select! {
        () = root.shut_down() => {}
        () = again => {}
    }
    signals::end_by(kind.as_raw_value());
}
