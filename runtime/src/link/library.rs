//! The library's own thread: one a process, started when first needed, driving what must never wait for the user.
//!
//! Control links, the directory, hosted services and late flushes run here on a small event loop. It outlives every runtime
//! of the user's, and a busy user never delays it. Nothing on it may block.

use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;

use tokio::runtime::{Builder, Handle};

static LIBRARY: OnceLock<Handle> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// The thread's event loop, started if it is not running yet.
pub(crate) fn handle() -> io::Result<&'static Handle> {
    if let Some(handle) = LIBRARY.get() {
        return Ok(handle);
    }
    let _starting = lock(&STARTING);
    if let Some(handle) = LIBRARY.get() {
        return Ok(handle);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new().name("procession".to_owned()).stack_size(256 * 1024).spawn(move || {
        match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = sender.send(Ok(runtime.handle().clone()));
                runtime.block_on(std::future::pending::<()>());
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        }
    })?;
    let handle = receiver.recv().map_err(|_| io::Error::other("the library thread ended while it started"))??;
    Ok(LIBRARY.get_or_init(|| handle))
}

/// Locks a mutex whose data stays consistent whatever panics: every critical section in this library leaves it so.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
