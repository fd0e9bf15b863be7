//! When to repeat a request, and how long to wait before.

use std::time::Duration;

use ostrakon_wire::Operation;

use crate::error::Error;

/// The longest wait between two tries, without what the host asks for.
const WAIT_MAX: Duration = Duration::from_secs(1);
const WAIT_FIRST: Duration = Duration::from_millis(10);

/// Whether a repeat of a request that failed so is safe and can help.
pub(crate) fn may_repeat(operation: &Operation, error: &Error) -> bool {
    match error {
        Error::Refused(refused) => refused.code.retryable(),
        Error::Unreachable(_) => true,
        // It may have happened: only what does no more the second time is asked again.
        Error::Lost(_) => operation.is_read() || has_id(operation),
        Error::Deadline | Error::Protocol(_) | Error::Config(_) => false,
    }
}

fn has_id(operation: &Operation) -> bool {
    match operation {
        Operation::ConditionalWrite(write) => write.action_id.is_some(),
        Operation::Perform(perform) | Operation::Reconcile(perform) => perform.action_id.is_some(),
        Operation::Transact(transact) => transact.action_id.is_some(),
        _ => false,
    }
}

/// How long to wait before try `attempt` (from 1): doubling, with full jitter above what the host asks for.
pub(crate) fn wait(attempt: u32, error: &Error, jitter: f64) -> Duration {
    let asked = match error {
        Error::Refused(refused) => refused.retry_after_ms.map_or(0, u64::from),
        _ => 0,
    };
    let spread = WAIT_FIRST.saturating_mul(1 << attempt.min(10)).min(WAIT_MAX);
    Duration::from_millis(asked) + spread.mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ostrakon_wire::{Action, ActionId, ObjectId, OnConflict, Perform, Target};

    fn delete(action_id: Option<ActionId>) -> Operation {
        let object = ObjectId::new("c", "t", "n").unwrap();
        Operation::Perform(Perform {
            target: Target { object, shard_key: None },
            action: Action::Delete,
            known: None,
            action_id,
            on_conflict: OnConflict::Reject,
        })
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_repeated_only_under_its_id() {
        let lost = Error::Lost(String::new());
        assert!(may_repeat(&Operation::Info, &lost));
        assert!(may_repeat(&delete(Some(ActionId::from_bits(1))), &lost));
        assert!(!may_repeat(&delete(None), &lost));
    }
}
