//! The commit queue: bounded by changes and by bytes, emptied by the committing thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostrakon_wire::bounds::COMMIT_QUEUE_BYTES_MAX;
use parking_lot::{Condvar, Mutex};

/// The queue holds as much as it may; the change is handed back.
#[derive(Debug)]
pub struct QueueFull;

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    /// What is queued or in the open group; read without the lock.
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    items_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// So many items wake who takes; `None` where nobody sleeps.
    wakes: Option<usize>,
    /// Who takes is wanted, whether anything is queued or not.
    woken: bool,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue of so many items.
    pub(crate) fn of(items_max: usize) -> Self {
        Self {
            state: Mutex::new(State { items: VecDeque::new(), wakes: None, woken: false, closed: false }),
            filled: Condvar::new(),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            items_max,
        }
    }

    /// Appends an item of a size. The order of calls is the order of commits.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), (T, QueueFull)> {
        let mut state = self.state.lock();
        let full = self.waiting.load(Ordering::Relaxed) >= self.items_max
            || self.waiting_bytes.load(Ordering::Relaxed) + bytes > COMMIT_QUEUE_BYTES_MAX;
        if full || state.closed {
            return Err((item, QueueFull));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        state.items.push_back(item);
        if state.wakes.is_some_and(|items| state.items.len() >= items) {
            state.wakes = None;
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves everything that is queued to `into`; waits for something unless `into` has work left, or for being woken. `false`
    /// once the queue is closed and empty.
    pub(crate) fn take(&self, into: &mut VecDeque<T>) -> bool {
        let mut state = self.state.lock();
        while !std::mem::take(&mut state.woken) && state.items.is_empty() && into.is_empty() {
            if state.closed {
                return false;
            }
            state.wakes = Some(1);
            self.filled.wait(&mut state);
            state.wakes = None;
        }
        if into.is_empty() {
            std::mem::swap(into, &mut state.items);
        } else {
            into.append(&mut state.items);
        }
        true
    }

    /// Moves what is queued to `into` once that makes so many, or after `patience`; at once where the queue is closed, or
    /// somebody wakes who takes.
    pub(crate) fn gather(&self, into: &mut VecDeque<T>, items: usize, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.state.lock();
        while into.len() + state.items.len() < items && !state.closed && !state.woken {
            state.wakes = Some(items - into.len());
            if self.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.wakes = None;
        into.append(&mut state.items);
    }

    /// Moves everything that is queued to `into`.
    #[cfg(feature = "simulation")]
    pub(crate) fn take_now(&self, into: &mut VecDeque<T>) {
        into.append(&mut self.state.lock().items);
    }

    /// Counts items as done with.
    pub(crate) fn settle(&self, items: usize, bytes: usize) {
        self.waiting.fetch_sub(items, Ordering::Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Changes that are queued or in the open group.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether it takes nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes nothing more, and drops what waits.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.items);
        drop(state);
        drop(waiting);
    }

    /// Whoever takes comes back, with nothing if need be.
    pub(crate) fn wake(&self) {
        self.state.lock().woken = true;
        self.filled.notify_one();
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Gathers up to 3 beside one that is there already, while somebody does something with the queue that waits; how many there are
    /// then, and after how long.
    fn gathered(meanwhile: impl FnOnce(&Queue<u32>) + Send) -> (usize, Duration) {
        let (queue, mut into, began) = (Queue::of(8), VecDeque::from([0]), Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while queue.state.lock().wakes.is_none() {
                    std::thread::yield_now();
                }
                meanwhile(&queue);
            });
            queue.gather(&mut into, 4, LONG);
        });
        (into.len(), began.elapsed())
    }

    fn push(queue: &Queue<u32>, items: usize) {
        (0..items).for_each(|_| assert!(queue.push(0, 1).is_ok()));
    }

    #[test]
    fn it_is_not_gathered_until_there_are_enough() {
        let (items, took) = gathered(|queue| {
            push(queue, 2);
            assert_eq!(queue.state.lock().wakes, Some(3), "two wake nobody");
            push(queue, 1);
        });
        assert!(items == 4 && took < LONG, "{items} after {took:?}");
    }

    #[test]
    fn patience_is_lost_early_or_never() {
        let (queue, mut into, began) = (Queue::of(8), VecDeque::from([0]), Instant::now());
        push(&queue, 2);
        let patience = Duration::from_millis(50);
        queue.gather(&mut into, 4, patience);
        let took = began.elapsed();
        assert!(into.len() == 3 && (patience..LONG).contains(&took), "{} after {took:?}", into.len());
    }

    #[test]
    fn gathering_outlasts_the_queue_or_who_wakes() {
        assert!(gathered(Queue::close).1 < LONG);
        assert!(gathered(Queue::wake).1 < LONG);
    }
}
