//! What nobody has asked for.

use ostrakon_store::PersistFault;
use ostrakon_wire::TimestampMs;

use super::{GROUP_MAX, World};

impl World {
    /// What nobody has asked for: crashes, failing persists, clients that are gone, clocks that jump.
    pub(crate) fn mishap(&self) {
        if let Some(steps) = self.restart_in.get() {
            self.restart_in.set(steps.checked_sub(1));
            if steps == 0 {
                self.crash("restart");
            }
            return;
        }
        match self.draw(2_500) {
            0 => self.crash("crash"),
            1 => {
                // Its group is durable, and nobody has been told.
                self.host().machinery.commit_once(GROUP_MAX as usize);
                self.crash("crash behind the sync");
            }
            2 => {
                let fault = if self.one_in(2) { PersistFault::Lost } else { PersistFault::Made };
                self.tell(format_args!("the next persist fails: {fault:?}"));
                self.disk.fail_next(fault);
                self.restart_in.set(Some(self.draw(200)));
            }
            3..=5 => {
                let far = if self.one_in(8) { 1_500_000 } else { 5_000 };
                let (right, off) = (self.right_time(), u64::from(self.draw(far)));
                let then = if self.one_in(2) { right + off } else { right - off };
                self.tell(format_args!("the clock jumps from {} to {then}", self.clock.now()));
                self.count(|counts| counts.jumps += 1);
                self.clock.jump_to(TimestampMs::new(then));
            }
            6..=25 => self.vanish(),
            26..=40 => self.slow_disk.set(self.draw(150)),
            _ => {}
        }
    }

    fn vanish(&self) {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.is_empty() {
            return;
        }
        let at = self.draw(tasks.len() as u32) as usize;
        let task = tasks.swap_remove(at);
        drop(tasks);
        self.tell(format_args!("gone: who has asked {}", task.call.number));
        self.count(|counts| counts.vanished += 1);
    }

    /// The host is gone, with all that was in its memory and all that was not synced; and is started again.
    pub(crate) fn crash(&self, how: &str) {
        self.tell(format_args!("{how}"));
        if self.host().machinery.has_failed() {
            self.count(|counts| counts.failed_persists += 1);
        }
        self.count(|counts| counts.crashes += 1);
        self.tasks.take();
        self.mover.take();
        for watcher in self.watchers.borrow_mut().iter_mut() {
            watcher.let_go();
        }
        self.host.take();
        self.disk.crash();
        self.restart_in.set(None);
        self.slow_disk.set(0);
        self.start_host();
        self.watch_all_again();
    }
}
