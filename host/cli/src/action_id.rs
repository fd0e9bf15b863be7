//! The name of one change.

use clap::Args;
use ostrakon_client::{ActionId, Client};

/// Which id a change, or several made together, is known by.
#[derive(Debug, Clone, Args)]
pub(crate) struct ActionIdArg {
    /// Name of this one action (32 hexadecimal digits, a UUID of version 7): a repeat has no second effect and is answered
    /// what the first one did [default: a new one]
    #[arg(long, value_name = "ID")]
    action_id: Option<ActionId>,
}

impl ActionIdArg {
    /// The id that was given, or a new one.
    pub(crate) fn or_new(&self) -> ActionId {
        self.action_id.unwrap_or_else(Client::new_action_id)
    }
}
