//! Births and deaths of workers. The library thread waits for them and leaves the news.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::crew::{Worker, WorkerProcess};
use super::state::State;
use crate::exit::ExitReport;
use crate::link::attach::Attached;
use crate::link::library::{self, lock};
use crate::link::socket;
use crate::pool::bundle;
use crate::pool::error::PoolError;
use crate::pool::page::{Form, Page};
use crate::pool::scheduler::GivenUp;
use crate::pool::worker::PoolWorker;
use crate::process::builder::{Options, spawn};
use crate::process::error::SpawnError;

/// How long a worker that is told to stop has until it is sent SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// What the library thread tells.
pub(super) enum News {
    Started(u64, WorkerProcess),
    Died(u64, Arc<ExitReport>),
    Failed(u64, SpawnError),
}

impl Shared {
    /// Starts a worker's process, on the library thread.
    pub(super) fn start(&self, id: u64) -> io::Result<Worker> {
        let (mine, theirs) = socket::pair()?;
        // A bundle fits at once, as far as the system allows.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&mine, 2 * bundle::FULL);
        let (page, memory) = Page::create(Form::of(self.plan.setup.concurrency))?;
        self.doorbell.add(&mine, id)?;
        let mut options = Options::default();
        options.name(format!("{}-{id}", self.plan.name));
        options.grace(GRACE);
        options.limits(self.plan.limits.clone());
        let setup = self.plan.setup.of((self.key, id))?;
        let spawning = spawn::<PoolWorker>(options, (Attached(theirs), Attached(memory), setup));
        let pool = self.me.clone();
        library::handle()?.spawn(async move {
            let tell = |news: News| {
                if let Some(pool) = pool.upgrade() {
                    lock(&pool.news).push(news);
                    pool.doorbell.ring();
                }
            };
            match spawning.await {
                Ok(process) => {
                    let exit = process.exit();
                    tell(News::Started(id, process));
                    if let Ok(report) = exit.await {
                        tell(News::Died(id, report));
                    }
                }
                Err(SpawnError::Died(report)) => tell(News::Died(id, report)),
                Err(error) => tell(News::Failed(id, error)),
            }
        });
        Ok(Worker::new(mine, page, self.plan.setup.concurrency > 1))
    }

    pub(super) fn heed(&self, state: &mut State, news: News) {
        match news {
            News::Started(id, process) => match state.workers.get_mut(&id) {
                Some(worker) => {
                    if let Some(kill) = worker.doomed {
                        kill(&process);
                    }
                    worker.process = Some(process);
                }
                // The pool has ended meanwhile. One that was closed leaves it to the worker to find that out.
                None if matches!(state.ended.as_deref(), None | Some(PoolError::Closed)) => drop(process),
                None => process.kill(),
            },
            News::Died(id, report) => {
                self.receive(state, id);
                let unfit = state.bury(id, Some(&report));
                self.judge(
                    state,
                    |deaths| match unfit {
                        Some(last) => PoolError::Initializer { attempts: deaths, last },
                        None => PoolError::CrashLoop { deaths, last: report.clone() },
                    },
                    |deaths, within| PoolError::Restarts { deaths, within, last: report.clone() },
                );
            }
            News::Failed(id, error) => {
                let hopeless = matches!(error, SpawnError::Init(_) | SpawnError::ShuttingDown | SpawnError::Arguments(_));
                let error = Arc::new(error);
                state.bury(id, None);
                if hopeless {
                    state.end(PoolError::Spawn(error.clone()));
                }
                self.judge(state, |_| PoolError::Spawn(error.clone()), |_, _| PoolError::Spawn(error.clone()));
            }
        }
    }

    /// Ends the pool where there is no use in starting more workers.
    fn judge(&self, state: &mut State, strikes: impl FnOnce(usize) -> PoolError, budget: impl FnOnce(usize, Duration) -> PoolError) {
        match state.scheduler.given_up() {
            Some(GivenUp::Strikes(deaths)) => state.end(strikes(deaths)),
            Some(GivenUp::Budget(deaths, within)) => state.end(budget(deaths, Duration::from_nanos(within))),
            None => {}
        }
    }
}
