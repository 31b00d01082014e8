//! Waiting on a thread of one's own: the engine behind every `.blocking()`.
//!
//! Everything that waits in this library is written once, as a future. [`block_on`] drives such a future on the calling thread,
//! with one difference to an executor's: a future that waits for bytes on a socket which nobody else reads can ask, while it
//! is polled, to *lead* ([`lead`]). The thread then blocks in that socket's own read instead of parking, and there is
//! no second thread on the way of a reply.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Something that a blocked thread can do for everyone until its own future is ready.
pub(crate) trait Lead {
    /// Blocks until something arrived, the deadline passed, or the source ended, and hands out what came.
    fn lead(self: Arc<Self>, deadline: Option<Instant>);

    /// The thread waits no longer, whether it has what it waited for or not.
    fn stop(&self) {}
}

thread_local! {
    static BLOCKING: Cell<bool> = const { Cell::new(false) };
    static LEADING: RefCell<Option<Arc<dyn Lead>>> = const { RefCell::new(None) };
    static ALARM: Cell<Option<Instant>> = const { Cell::new(None) };
    static PARKER: Arc<Parker> = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
}

struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Whether the future being polled is driven by [`block_on`] on this thread.
pub(crate) fn is_blocking() -> bool {
    BLOCKING.get()
}

/// Polls something that is to be driven by others, also on a blocked thread.
pub(crate) fn without_leading<T>(poll: impl FnOnce() -> T) -> T {
    let before = BLOCKING.replace(false);
    let polled = poll();
    BLOCKING.set(before);
    polled
}

/// Asks the surrounding [`block_on`] to block in `source` instead of parking, once the poll under way returns `Pending`.
pub(crate) fn lead(source: Arc<dyn Lead>) {
    LEADING.set(Some(source));
}

/// Asks the surrounding [`block_on`] to poll again at this time, once the poll under way returns `Pending`.
fn alarm(at: Instant) {
    ALARM.set(Some(ALARM.get().map_or(at, |earlier| earlier.min(at))));
}

/// Waits for `future` no longer than this, in a task and on a blocked thread alike; `None` where time ran out. The future is
/// still there then.
pub(crate) async fn within<F: Future + Unpin>(timeout: Option<Duration>, future: &mut F) -> Option<F::Output> {
    let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) else { return Some(future.await) };
    let mut sleep = None;
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(context) {
            return Poll::Ready(Some(output));
        }
        if is_blocking() {
            if Instant::now() >= deadline {
                return Poll::Ready(None);
            }
            alarm(deadline);
            return Poll::Pending;
        }
        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Panics where blocking would stall an async runtime, and says what to write instead.
#[track_caller]
pub(crate) fn refuse_async_context(operation: &str) {
    if !is_blocking() && tokio::runtime::Handle::try_current().is_ok() && !blocking_allowed() {
        panic!("`{operation}.blocking()` was called in async code and would stall its runtime; write `{operation}.await`");
    }
}

/// Inside `spawn_blocking` and `block_in_place` a runtime's handle is current, but blocking is what these are for. What tells them
/// from async code is the budget: every future that a runtime polls has one, so that it lets others run, and they have none. So
/// this uses it up; a future whose budget is gone is about to be refused anyway, and what has none does not notice.
fn blocking_allowed() -> bool {
    /// More than any budget.
    const STEPS: usize = 1024;
    let mut context = Context::from_waker(Waker::noop());
    (0..STEPS).all(|_| match tokio::task::coop::poll_proceed(&mut context) {
        Poll::Ready(step) => {
            step.made_progress();
            true
        }
        Poll::Pending => false,
    })
}

/// What a blocked thread has led last; it says so when it waits no longer.
struct Led(Option<Arc<dyn Lead>>);

impl Led {
    fn now(&mut self, source: &Arc<dyn Lead>) {
        if !self.0.as_ref().is_some_and(|before| Arc::ptr_eq(before, source)) {
            drop(Led(self.0.replace(source.clone())));
        }
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        if let Some(source) = &self.0 {
            source.stop();
        }
    }
}

/// Runs `future` to its end on this thread.
pub(crate) fn forever<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Some(output) = block_on(future.as_mut(), None) {
            return output;
        }
    }
}

/// Runs `future` to its end on this thread, or gives up at the deadline.
pub(crate) fn block_on<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    PARKER.with(|parker| {
        let waker = Waker::from(parker.clone());
        let mut context = Context::from_waker(&waker);
        let mut led = Led(None);
        loop {
            parker.woken.store(false, Ordering::Release);
            let before = BLOCKING.replace(true);
            let polled = future.as_mut().poll(&mut context);
            BLOCKING.set(before);
            let (leading, alarm) = (LEADING.take(), ALARM.take());
            if let Poll::Ready(output) = polled {
                return Some(output);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            let until = match (deadline, alarm) {
                (Some(deadline), Some(alarm)) => Some(deadline.min(alarm)),
                (either, None) | (None, either) => either,
            };
            match leading {
                Some(source) => {
                    led.now(&source);
                    source.lead(until);
                }
                None => {
                    while !parker.woken.load(Ordering::Acquire) {
                        match until.map(|until| until.saturating_duration_since(Instant::now())) {
                            None => thread::park(),
                            Some(Duration::ZERO) => break,
                            Some(left) => thread::park_timeout(left),
                        }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_woken_from_another_thread_ends() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver, None), Some(Ok(7)));
        assert!(other.join().is_ok());
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let start = Instant::now();
        let deadline = start + Duration::from_millis(20);
        assert!(block_on(std::future::pending::<()>(), Some(deadline)).is_none());
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
