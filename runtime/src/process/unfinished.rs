//! Work that nobody holds a handle to and that is to be done all the same before the program ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

static LEFT: AtomicUsize = AtomicUsize::new(0);
static BELL: Notify = Notify::const_new();

/// One piece of such work; done when it is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished(());

impl Unfinished {
    pub(crate) fn new() -> Unfinished {
        LEFT.fetch_add(1, Ordering::AcqRel);
        Unfinished(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
            BELL.notify_waiters();
        }
    }
}

/// Waits until all of it is done.
pub(super) async fn all_done() {
    loop {
        let rung = BELL.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        if LEFT.load(Ordering::Acquire) == 0 {
            return;
        }
        rung.await;
    }
}
