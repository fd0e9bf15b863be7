//! Tickets: what became of an action that nobody waited for.

use std::time::Duration;

use ostrakon_store::CommitError;
use ostrakon_wire::answer::Ticket;
use ostrakon_wire::{ActionId, AskTicket, Code, Generations, Reply, WireError};
use tokio::time::{Instant, timeout_at};

use crate::Engine;
use crate::action_ids::Asked;
use crate::owner::NotWritten;

impl Engine {
    /// The answer to who has detached an action that is not done, or asks after it.
    pub(crate) fn ticket(&self, action_id: ActionId) -> Reply {
        let decided = self.decided(None, self.views.position(), Generations::default());
        Reply::Ticket(Ticket { action_id, decided })
    }

    /// What an action came to, once it has, or that it has not when the wait is over.
    pub(crate) async fn ask_ticket(&self, ask: &AskTicket) -> Result<Reply, WireError> {
        let end = Instant::now() + Duration::from_millis(ask.wait_ms.into());
        loop {
            let running = match self.ids.ask(&ask.client, ask.action_id) {
                Asked::Recorded(recorded) => return self.recall(recorded).await.map(Reply::Committed),
                Asked::Running(running) => running,
                // What stands on disk may have been given up in memory.
                Asked::Unknown if self.owner.has_failed() => {
                    let failed = NotWritten::Commit(CommitError::Failed);
                    return Err(self.not_written(failed, self.views.position(), Generations::default()));
                }
                Asked::Unknown => {
                    let message = "no action with this id is on its way or remembered";
                    return Err(WireError::new(Code::UnknownTicket, message));
                }
            };
            if ask.wait_ms == 0 || timeout_at(end, running).await.is_err() {
                return Ok(self.ticket(ask.action_id));
            }
        }
    }
}
