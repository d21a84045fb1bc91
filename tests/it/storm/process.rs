//! A reactor as a process of its own: it can be killed between any two steps, stand still, or stop in order.

use std::time::Duration;

use roster::{db::connect::Endpoint, reactor::Reactor};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// No task of a reactor is busy for so long without an await.
const PATIENCE: Duration = Duration::from_secs(300);

/// A reactor on a runtime, and thereby a thread, of its own.
pub(super) struct Process {
    runtime: Option<Runtime>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Process {
    /// Starts it; one that finds no database is started again, as a service manager would.
    pub(super) fn start(reactor: Reactor, endpoint: Endpoint) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let ended = runtime.spawn(async move {
            while !stopped.is_cancelled() {
                match reactor.register().await {
                    Ok(()) => reactor.clone().run(endpoint.clone(), stopped.clone()).await,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Self {
            runtime: Some(runtime),
            stop,
            ended,
        }
    }

    /// Every task of it ends where it is, and its connections with it, as after `kill -9`. It is over once that thread is: who stands
    /// still just then moves once more.
    pub(super) fn kill(mut self) -> std::thread::JoinHandle<()> {
        let runtime = self.runtime.take();
        std::thread::spawn(move || {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(PATIENCE);
            }
        })
    }

    /// Nothing of it moves for so long.
    pub(super) fn stall(&self, lasts: Duration) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move { std::thread::sleep(lasts) });
        }
    }

    /// Stops it as SIGTERM would; false if it does not end within `patience`.
    pub(super) async fn stop(mut self, patience: Duration) -> bool {
        self.stop.cancel();
        let ended = tokio::time::timeout(patience, &mut self.ended).await;
        ended.is_ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
