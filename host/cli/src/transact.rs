//! `transact`: several objects changed together, or none of them.

mod file;

use clap::Args;
use ostrakon_client::{OnConflict, Step, StepMade, Transact, Transacted};
use serde_json::Value;

use crate::action_id::ActionIdArg;
use crate::body::RawBytes;
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, how_done, payload_json, say};

/// Which changes, on which conditions.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TransactArgs {
    /// JSON that says what must hold and what is done then; - reads standard input
    #[arg(value_name = "FILE")]
    file: RawBytes,

    /// What to do if a condition does not hold: `reject` tells you at once, `reconcile` judges the whole again on what
    /// stands there, and waits for the outcome
    #[arg(long, value_name = "CHOICE", value_enum, default_value_t = OnConflictArg::Reject)]
    on_conflict: OnConflictArg,

    #[command(flatten)]
    action_id: ActionIdArg,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// What to do on a conflict. A transaction cannot be detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnConflictArg {
    Reject,
    Reconcile,
}

impl From<OnConflictArg> for OnConflict {
    fn from(choice: OnConflictArg) -> Self {
        match choice {
            OnConflictArg::Reject => Self::Reject,
            OnConflictArg::Reconcile => Self::Reconcile,
        }
    }
}

const AFTER_HELP: &str = r#"Examples:
  ostrakon transact transfer.json
  ostrakon transact - --on-conflict reconcile < transfer.json

where transfer.json holds:
  {"conditions": [
    {"object": ["acme", "account", "a"], "version": 3},
    {"object": ["acme", "account", "b"], "at": "/state", "equals": "open"},
    {"object": ["acme", "transfer", "t-1"], "absent": true}],
  "actions": [
    {"object": ["acme", "account", "a"], "add": {"/balance": -5}},
    {"object": ["acme", "account", "b"], "merge": {"credited": true}},
    {"object": ["acme", "transfer", "t-1"], "put": {"amount": 5}},
    {"object": ["acme", "lock", "l"], "delete": true},
    {"object": ["acme", "blob", "x"], "put_bytes": "aGVsbG8="}]}

All conditions hold and all actions are done, or nothing is. A conflict exits 3 and shows which conditions failed and what \
stands there."#;

pub(crate) async fn run(args: TransactArgs) -> Result<(), Failure> {
    let (conditions, actions) = file::parse(&args.file.read()?)?;
    let transact = Transact {
        conditions,
        actions: actions.clone(),
        action_id: Some(args.action_id.or_new()),
        on_conflict: args.on_conflict.into(),
    };
    let done = args.connect.run(async |client| Ok(client.transact(transact).await?)).await?;
    if args.connect.json { fields(&actions, &done).print() } else { tell(&actions, &done) }
}

fn fields(actions: &[Step], done: &Transacted) -> Fields {
    let made: Value = actions.iter().zip(&done.made).map(|(step, made)| made_json(step, made)).collect();
    Fields::default()
        .set("revision", done.revision.get())
        .set("position", done.decided.position.to_string())
        .set("repeated", done.repeated)
        .set("tries", done.tries)
        .set("made", made)
}

fn made_json(step: &Step, made: &StepMade) -> Value {
    let fields = Fields::of(&step.target.object)
        .set("version", made.version.get())
        .set("shard_key", made.shard_key.get())
        .set("reply", made.reply.as_ref().map(payload_json));
    Value::Object(fields.into_map())
}

fn tell(actions: &[Step], done: &Transacted) -> Result<(), Failure> {
    actions.iter().zip(&done.made).try_for_each(|(step, made)| {
        let how = how_done(done.tries, done.repeated, made.reply.as_ref());
        let object = &step.target.object;
        say(&format_args!("{object}: version {}, revision {}{how}", made.version, done.revision))
    })
}
