//! The committing thread's work without the thread.

use std::collections::VecDeque;

use ostrakon_wire::bounds::GROUP_CHANGES_MAX;

use super::{Queued, Sink, Thread};

/// Commits a group when it is told to.
pub struct Driver<S: Sink> {
    thread: Thread<S>,
    backlog: VecDeque<Queued<S::Token>>,
}

impl<S: Sink> Driver<S> {
    pub(super) fn new(thread: Thread<S>) -> Self {
        Self { thread, backlog: VecDeque::new() }
    }

    /// Commits the next group, of at most so many changes. `false` where nothing waits.
    pub fn commit(&mut self, changes_max: usize) -> bool {
        self.thread.queue.take_now(&mut self.backlog);
        self.thread.group_max = changes_max.clamp(1, GROUP_CHANGES_MAX);
        let waits = !self.backlog.is_empty();
        if waits {
            self.thread.round(&mut self.backlog, &mut Vec::new());
        }
        waits
    }
}
