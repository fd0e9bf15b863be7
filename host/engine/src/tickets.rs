//! Tickets: what became of an action that nobody waited for.

use std::time::Duration;

use ostrakon_wire::answer::Ticket;
use ostrakon_wire::{ActionId, AskTicket, Code, Generations, Reply, WireError};
use tokio::time::{Instant, timeout_at};

use crate::Engine;
use crate::action_ids::Asked;

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
                Asked::Unknown => {
                    let message = "no action with this id is on its way or remembered";
                    return Err(WireError::new(Code::UnknownTicket, message));
                }
            };
            if timeout_at(end, running).await.is_err() {
                return Ok(self.ticket(ask.action_id));
            }
        }
    }
}
