//! One request and its response, with a timeout and on any kind of thread: what asks and every service's handle are made of.

use std::future::Future;
use std::time::{Duration, Instant};

use crate::wait;

/// Runs an operation under an optional timeout; `None` where time ran out.
pub(crate) async fn within<F: Future>(timeout: Option<Duration>, future: F) -> Option<F::Output> {
    match timeout {
        None => Some(future.await),
        Some(timeout) => tokio::time::timeout(timeout, future).await.ok(),
    }
}

/// Runs an operation on this thread under an optional timeout; `None` where time ran out.
#[track_caller]
pub(crate) fn within_blocking<F: Future>(operation: &str, timeout: Option<Duration>, future: F) -> Option<F::Output> {
    wait::refuse_async_context(operation);
    wait::block_on(future, timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
}

/// Gives a builder of an operation its `IntoFuture`, `.timeout(..)` and `.blocking()`.
///
/// The builder has a field `timeout: Option<Duration>`, and methods `async fn run(self) -> $output` and
/// `fn timed_out() -> $output`.
macro_rules! operation {
    ($(#[$doc:meta])* impl [$($generics:tt)*] $builder:ty as $name:literal => $output:ty) => {
        impl<$($generics)*> $builder {
            /// Gives up after this long.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.timeout = Some(timeout);
                self
            }

            /// Waits on this thread instead of in a task.
            ///
            /// # Panics
            ///
            /// In async code, where it would stall the runtime: write `.await` there.
            #[track_caller]
            pub fn blocking(self) -> $output {
                let timeout = self.timeout;
                crate::actor::ask::within_blocking($name, timeout, self.run()).unwrap_or_else(Self::timed_out)
            }
        }

        impl<$($generics)*> std::future::IntoFuture for $builder {
            type Output = $output;
            type IntoFuture = std::pin::Pin<Box<dyn Future<Output = $output> + Send + 'static>>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(async move {
                    let timeout = self.timeout;
                    crate::actor::ask::within(timeout, self.run()).await.unwrap_or_else(Self::timed_out)
                })
            }
        }
    };
}
pub(crate) use operation;
