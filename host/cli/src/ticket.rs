//! `ticket`: what became of an action that was detached.

use std::time::{Duration, Instant};

use clap::Args;
use ostrakon_client::{ActionId, Client, Outcome};

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, payload_json, say};

/// Which action.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TicketArgs {
    /// Client id of the action's object
    #[arg(value_name = "CLIENT")]
    client: String,

    /// The ticket: the action's id
    #[arg(value_name = "ID")]
    action_id: ActionId,

    /// Wait for its end for at most so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon merge acme volume vol-1 --data '{\"size\":20}' --if-version 4 --on-conflict detach
  ostrakon ticket acme 0190163d8694739baea5966c26f8ad91 --wait 30

A ticket outlives a restart of the host. One that is on its way is answered as pending, with exit code 0; what the \
action came to is answered as the action itself would have been.";

/// One question waits no longer than this, so that it is answered well inside its deadline.
const WAIT_STEP: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: TicketArgs) -> Result<(), Failure> {
    let outcome = args.connect.run(async |client| ask(client, &args).await).await?;
    match outcome {
        Outcome::Pending(ticket) if args.connect.json => {
            Fields::default().set("state", "pending").set("ticket", ticket.to_string()).print()
        }
        Outcome::Pending(ticket) => say(&format_args!("{ticket}: on its way")),
        Outcome::Committed(done) if args.connect.json => {
            Fields::default().set("state", "done").set("ticket", args.action_id.to_string()).committed(&done).print()
        }
        Outcome::Committed(done) => {
            let reply = done.reply.as_ref().map_or(String::new(), |reply| format!(": {}", payload_json(reply)));
            say(&format_args!("{}: done, version {}, revision {}{reply}", args.action_id, done.version, done.revision))
        }
    }
}

async fn ask(client: &Client, args: &TicketArgs) -> Result<Outcome, Failure> {
    let end = Instant::now() + Duration::from_secs(args.wait);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let outcome = client.ticket(&args.client, args.action_id, left.min(WAIT_STEP)).await?;
        if left.is_zero() || !matches!(outcome, Outcome::Pending(_)) {
            return Ok(outcome);
        }
    }
}
