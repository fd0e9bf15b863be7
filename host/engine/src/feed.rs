//! The feed: every change, told once and in order to those who watch.
//!
//! All that is done for those who watch gives way to those who write: where there is more to do than the machine can, they are
//! told later.
//!
//! The committing thread hands each group over ([`Told`]) and waits for nobody. A thread of the feed's own looks up who
//! watches which object, and puts the units into their queues. A queue is small: a watcher for whom more would wait reads on
//! from the log instead, at its own pace, until it has caught up. So nobody is held up by who is slow, and what is told is
//! told whether it comes from memory or from the disk.

mod catch_up;
mod credit;
mod queue;
mod segments;
mod told;
mod watching;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use ostrakon_background::give_way;
use ostrakon_store::ReadError;
use ostrakon_wire::Revision;
use ostrakon_wire::bounds::{FEED_READER_THREADS, WATCHES_MAX};
use parking_lot::Mutex;

use crate::owner::Readers;

use queue::Queue;
use segments::Segments;
pub(crate) use told::Told;

use told::{Group, UnitTold};
pub use watching::Watching;

/// Those who watch, and the thread that tells them. Dropping it stops the thread.
pub(crate) struct Feed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// They read the log for those who watch.
    readers: Readers,
    segments: Arc<Segments>,
}

pub(crate) struct Shared {
    told: Arc<Told>,
    watchers: Mutex<Watchers>,
}

#[derive(Default)]
struct Watchers {
    by_client: HashMap<String, Vec<Arc<Queue>>>,
    count: usize,
    /// Up to here everything is in the queues of those whom it is for.
    handed_out: Revision,
}

/// A watcher's place among the others; dropping it gives it up.
struct Place {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    client: String,
}

impl Feed {
    pub(crate) fn new(told: Arc<Told>) -> Self {
        let shared = Arc::new(Shared { told, watchers: Mutex::default() });
        Self { shared, thread: None, readers: Readers::driven(), segments: Arc::default() }
    }

    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            give_way();
            shared.run();
        };
        self.thread = Some(std::thread::Builder::new().name("feed".into()).spawn(run)?);
        self.readers.add_threads_that("feed-read", FEED_READER_THREADS, give_way)
    }

    /// Reads for somebody who watches.
    async fn on_reader<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Segments) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let segments = Arc::clone(&self.segments);
        self.readers.ask(move || read(&segments)).await
    }

    /// Does one of the reads that wait; `false` where there is none.
    #[cfg(feature = "simulation")]
    pub(crate) fn read_one(&self, choice: usize) -> bool {
        self.readers.run_one(choice)
    }

    /// Hands out one group; `false` where none waits.
    #[cfg(feature = "simulation")]
    pub(crate) fn hand_out_one(&self) -> bool {
        self.shared.told.take_now().map(|group| self.shared.hand_out(group)).is_some()
    }

    /// How many watch.
    pub(crate) fn watchers(&self) -> usize {
        self.shared.watchers.lock().count
    }

    /// A place for one who watches objects whose text begins so; `None` where there is no room.
    fn join(&self, client: &str, prefix: String) -> Option<Place> {
        let queue = Arc::new(Queue::new(prefix, Arc::clone(&self.shared.told.live)));
        // One after the other: whoever joins second must find what the first was told of the beginning.
        let mut watchers = self.shared.watchers.lock();
        // From here on groups are kept; those before are not, if nobody has watched.
        let arrived = self.shared.told.watch();
        watchers.handed_out = watchers.handed_out.max(arrived.unwrap_or_default());
        let room = watchers.count < WATCHES_MAX;
        if room {
            watchers.by_client.entry(client.to_owned()).or_default().push(Arc::clone(&queue));
        }
        watchers.count += 1;
        drop(watchers);
        let place = Place { shared: Arc::clone(&self.shared), queue, client: client.to_owned() };
        room.then_some(place)
    }
}

impl Place {
    /// Up to here everything is in the queue, and everything from here on will be, as long as it is not too much.
    fn go_on(&self) -> Revision {
        let watchers = self.shared.watchers.lock();
        self.queue.go_on();
        watchers.handed_out
    }

    /// Up to here everything that is for this watcher is in its queue.
    fn handed_out(&self) -> Revision {
        self.shared.watchers.lock().handed_out
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut watchers = self.shared.watchers.lock();
        watchers.count -= 1;
        if let Some(of_client) = watchers.by_client.get_mut(&self.client) {
            of_client.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
            if of_client.is_empty() {
                watchers.by_client.remove(&self.client);
            }
        }
        drop(watchers);
        self.shared.told.forget();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(group) = self.told.take() {
            self.hand_out(group);
        }
    }

    fn hand_out(&self, group: Group) {
        let mut watchers = self.watchers.lock();
        match group {
            Group::Units(units, last) => {
                for unit in units {
                    watchers.tell(&unit);
                }
                // A group that was taken before somebody joined is older than what was told then.
                watchers.handed_out = watchers.handed_out.max(last);
            }
            Group::Lost(last) => {
                // Mostly all of them are, already.
                if self.told.live.load(Ordering::Relaxed) > 0 {
                    watchers.by_client.values().flatten().for_each(|queue| queue.fall_behind());
                }
                watchers.handed_out = watchers.handed_out.max(last);
            }
        }
    }
}

impl Watchers {
    fn tell(&self, unit: &Arc<UnitTold>) {
        let mut client = "";
        for change in &unit.changes {
            // The changes of a transaction are mostly one client's.
            if change.event.object.client() == client {
                continue;
            }
            client = change.event.object.client();
            let of_client = self.by_client.get(client).into_iter().flatten();
            of_client.for_each(|queue| queue.offer(unit));
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.told.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
