//! Shipped reconciliation policy: three-way merge against the base.
//!
//! What the action changes is laid beside what was changed since the version it was made for. Apart, both stand; the same
//! change twice is done already; where they contradict each other, a setting decides. A stale `put` is never written
//! again: what it changed of its base is, if that is apart from what others changed.
//!
//! Always holds: `rerun` is answered only where the built-in action cannot undo what somebody else did, unless the setting
//! says that ours wins. It applies nothing itself; the host does.

mod judgement;
mod patch;
mod settings;
mod tree;

use ostrakon_policy_sdk::reconciliation::{Brief, Policy, Verdict};
use ostrakon_policy_sdk::{About, Invalid};

use settings::Settings;

/// The configured policy.
#[derive(Debug, Clone)]
pub struct ThreeWayReconciliation {
    settings: Settings,
}

impl Policy for ThreeWayReconciliation {
    fn about() -> About {
        About::new("three-way-reconciliation", env!("CARGO_PKG_VERSION"))
    }

    fn configure(settings: &str, _state: &[u8]) -> Result<Self, Invalid> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    fn judge(&self, brief: &Brief, ours: &[u8], theirs: Option<&[u8]>) -> Verdict {
        judgement::on_patches(&self.settings, brief, ours, theirs)
    }

    fn reconcile(&self, brief: &Brief, body: &[u8], base: Option<&[u8]>, latest: Option<&[u8]>) -> Verdict {
        judgement::on_payloads(&self.settings, brief, body, base, latest)
    }
}

ostrakon_policy_sdk::export_reconciliation!(ThreeWayReconciliation);

#[cfg(test)]
mod tests;
