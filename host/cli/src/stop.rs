//! Work that ends well when it is told to stop, and at once when it is told twice.

use std::future::Future;

use tokio::sync::watch;

use crate::failure::Failure;
use crate::serve::Signals;

/// Does `work`; Ctrl-C and SIGTERM turn its `stop` true, a second one cuts it off.
pub(crate) async fn on_signal<T, W>(work: impl FnOnce(watch::Receiver<bool>) -> W) -> Result<T, Failure>
where
    W: Future<Output = T>,
{
    let (stop, stopping) = watch::channel(false);
    let mut signals = Signals::listen()?;
    let told_twice = async {
        signals.told().await;
        stop.send_replace(true);
        signals.told().await;
        Err::<T, _>(Failure::interrupted())
    };
    tokio::select! {
        // Signals first: from then on none of them kills the process, however long the work's first step takes.
        biased;
        told = told_twice => told,
        done = work(stopping) => Ok(done),
    }
}
