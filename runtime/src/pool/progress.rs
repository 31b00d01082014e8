//! How far a map has come, for those who like to watch.

use super::input::Input;
use super::part::Opened;
use super::work::Work;
use crate::actor::definition::FunctionActor;

/// How far a map has come: see [`Map::on_progress`](crate::Map::on_progress).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Tasks that have ended, in whatever way.
    pub ended: usize,
    /// Those of them that have no result.
    pub failed: usize,
    /// How many tasks there are, where the input says so.
    pub total: Option<usize>,
    /// Workers of the pool that have died so far.
    pub restarts: u64,
}

/// Somebody who watches.
pub(crate) trait Watch: Send {
    /// So many tasks have ended since the last time, so many of them without a result.
    fn advance(&mut self, progress: &mut Progress, ended: usize, failed: usize);
}

impl Progress {
    pub(super) fn of<I: Input>(items: &I) -> Progress {
        let (least, most) = items.size_hint();
        Progress { total: most.filter(|most| *most == least), ..Progress::default() }
    }

    pub(super) fn advance<A: FunctionActor, I: Input<Item = A::Arguments>>(
        &mut self,
        opened: &Opened<A::Output>,
        work: &Work<A, I>,
        watch: &mut [Box<dyn Watch>],
    ) {
        let (ended, failed) = (opened.count(), opened.failed.len());
        if !watch.is_empty() {
            self.restarts = work.restarts();
        }
        for watch in watch {
            watch.advance(&mut self.clone(), ended, failed);
        }
        self.ended += ended;
        self.failed += failed;
    }
}

/// Calls back for each task.
pub(super) fn calls(each: impl FnMut(&Progress) + Send + 'static) -> Box<dyn Watch> {
    struct Calls<F>(F);
    impl<F: FnMut(&Progress) + Send> Watch for Calls<F> {
        fn advance(&mut self, progress: &mut Progress, ended: usize, failed: usize) {
            for left in (0..ended).rev() {
                progress.ended += 1;
                progress.failed += usize::from(left < failed);
                (self.0)(progress);
            }
        }
    }
    Box::new(Calls(each))
}

/// A bar on the terminal.
#[cfg(feature = "progress")]
pub(super) fn bar(label: String) -> Box<dyn Watch> {
    use indicatif::{ProgressBar, ProgressStyle};

    struct Bar {
        bar: Option<ProgressBar>,
        label: String,
    }

    impl Watch for Bar {
        fn advance(&mut self, progress: &mut Progress, ended: usize, failed: usize) {
            let label = &self.label;
            let bar = self.bar.get_or_insert_with(|| {
                let (bar, template) = match progress.total {
                    Some(total) => (ProgressBar::new(total as u64), "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec} eta {eta}{msg}"),
                    None => (ProgressBar::no_length(), "{prefix} {spinner} {human_pos} {per_sec} {elapsed}{msg}"),
                };
                let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                bar.with_style(style).with_prefix(label.clone())
            });
            let failed = progress.failed + failed;
            if failed > 0 || progress.restarts > 0 {
                bar.set_message(format!(", {failed} failed, {} restarts", progress.restarts));
            }
            bar.inc(ended as u64);
        }
    }

    impl Drop for Bar {
        fn drop(&mut self) {
            if let Some(bar) = &self.bar {
                bar.finish();
            }
        }
    }

    Box::new(Bar { bar: None, label })
}
