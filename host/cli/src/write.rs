//! `put`, `merge`, `add`, `delete`, `act`: one change of one object.

use clap::Args;
use ostrakon_client::{Action, Committed, ConditionalWrite, ObjectId, OnConflict, Outcome, Perform, Target, Version};

use crate::action_id::ActionIdArg;
use crate::body::{Data, RawBytes};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::object::ObjectArgs;
use crate::output::{Fields, how_done, say};

/// What every change may be given.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    object: ObjectArgs,

    /// Only if the object is at this version; 0: only if there is no live object [default: whatever stands there]
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,

    #[command(flatten)]
    action_id: ActionIdArg,

    /// What to do if another version is there: `reject` tells you at once, `reconcile` runs the action again on what stands
    /// there and waits for the outcome, `detach` does the same and answers a ticket to ask about later
    #[arg(long, value_name = "CHOICE", value_enum, default_value_t = OnConflictArg::Reject)]
    on_conflict: OnConflictArg,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// What to do on a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnConflictArg {
    Reject,
    Reconcile,
    Detach,
}

impl From<OnConflictArg> for OnConflict {
    fn from(choice: OnConflictArg) -> Self {
        match choice {
            OnConflictArg::Reject => Self::Reject,
            OnConflictArg::Reconcile => Self::Reconcile,
            OnConflictArg::Detach => Self::Detach,
        }
    }
}

/// What to carry out.
#[derive(Debug, Clone, Args)]
#[command(after_help = ACT_HELP)]
pub(crate) struct ActArgs {
    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    /// What the action is called; the host's reconciliation policy knows it
    #[arg(long, value_name = "KIND")]
    kind: String,

    /// Its particulars, a JSON object; @FILE reads it from a file, - from standard input
    #[arg(long, value_name = "JSON")]
    data: Data,
}

/// What to store.
#[derive(Debug, Clone, Args)]
#[command(after_help = PUT_HELP)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    /// The payload, a JSON object; @FILE reads it from a file, - from standard input
    #[arg(long, value_name = "JSON", required_unless_present = "bytes", conflicts_with = "bytes")]
    data: Option<Data>,

    /// The payload as bytes that the host does not look into; - reads standard input
    #[arg(long, value_name = "FILE")]
    bytes: Option<RawBytes>,

    /// Write only if that makes exactly this version (perform-conditional-write)
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["if_version", "on_conflict"])]
    new_version: Option<u64>,
}

/// What to merge in.
#[derive(Debug, Clone, Args)]
#[command(after_help = MERGE_HELP)]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    /// The patch (RFC 7396), a JSON object: null removes a member; @FILE reads it from a file, - from standard input
    #[arg(long, value_name = "JSON")]
    data: Data,
}

/// What to add.
#[derive(Debug, Clone, Args)]
#[command(after_help = ADD_HELP)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    /// Numbers by JSON pointer, as in '{"/size": 5}'; @FILE reads it from a file, - from standard input
    #[arg(long, value_name = "JSON")]
    data: Data,
}

/// What to delete.
#[derive(Debug, Clone, Args)]
#[command(after_help = DELETE_HELP)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

const PUT_HELP: &str = "\
Examples:
  ostrakon put acme volume vol-1 --data '{\"size\":10}'
  ostrakon put acme volume vol-1 --data '{\"size\":10}' --if-version 0    create, do not replace
  ostrakon put acme volume vol-1 --data '{\"size\":20}' --if-version 3    replace what you have seen
  ostrakon put acme blob logo --bytes logo.png

A conflict exits 3 and shows what stands there.";

const MERGE_HELP: &str = "\
Examples:
  ostrakon merge acme volume vol-1 --data '{\"tags\":{\"team\":\"db\"}}'
  ostrakon merge acme volume vol-1 --data '{\"tags\":null}' --if-version 4
  ostrakon merge acme volume vol-1 --data '{\"size\":20}' --if-version 4 --on-conflict reconcile

An object that is not there is made.";

const ADD_HELP: &str = "\
Examples:
  ostrakon add acme volume vol-1 --data '{\"/size\":5}'
  ostrakon add acme quota q-1 --data '{\"/used\":-1,\"/free\":1}'

Integers are checked: a sum that does not fit 64 bits is refused, and nothing is changed.";

const ACT_HELP: &str = "\
Examples:
  ostrakon act acme volume vol-1 --kind attach-volume --data '{\"instance\":\"i-1\"}'
  ostrakon act acme volume vol-1 --kind attach-volume --data @attach.json --on-conflict detach

The reconciliation policy carries it out: the shipped one knows no kinds, `serve --policy reconciliation=FILE` loads one that does.
What the policy replies is shown.";

const DELETE_HELP: &str = "\
Examples:
  ostrakon delete acme volume vol-1
  ostrakon delete acme volume vol-1 --if-version 4

A deleted object keeps its count of versions: what is made under its name later goes on from there.";

impl ChangeArgs {
    async fn perform(self, action: Action) -> Result<(), Failure> {
        let target = self.object.target()?;
        let object = target.object.clone();
        let perform = Perform {
            target,
            action,
            known: self.if_version.map(Version::new),
            action_id: Some(self.action_id.or_new()),
            on_conflict: self.on_conflict.into(),
        };
        let outcome = self.connect.run(async |client| Ok(client.start(perform).await?));
        match outcome.await? {
            Outcome::Committed(done) => tell(&object, &done, self.connect.json),
            Outcome::Pending(ticket) if self.connect.json => {
                Fields::of(&object).set("state", "pending").set("ticket", ticket.to_string()).print()
            }
            Outcome::Pending(ticket) => {
                say(&format_args!("{object}: on its way; ask for it: ostrakon ticket {} {ticket}", object.client()))
            }
        }
    }
}

pub(crate) async fn put(args: PutArgs) -> Result<(), Failure> {
    let payload = match (&args.data, &args.bytes) {
        (_, Some(bytes)) => bytes.payload()?,
        (Some(data), None) => data.payload()?,
        (None, None) => return Err(Failure::usage("give --data or --bytes")),
    };
    let Some(new_version) = args.new_version else {
        return args.change.perform(Action::Put(payload)).await;
    };
    let ChangeArgs { object, action_id, connect, .. } = args.change;
    let target: Target = object.target()?;
    let object = target.object.clone();
    let write = ConditionalWrite {
        target,
        new_version: Version::new(new_version),
        payload,
        action_id: Some(action_id.or_new()),
    };
    let done = connect.run(async |client| Ok(client.conditional_write(write).await?));
    tell(&object, &done.await?, connect.json)
}

pub(crate) async fn merge(args: MergeArgs) -> Result<(), Failure> {
    let patch = args.data.payload()?;
    args.change.perform(Action::Merge(patch)).await
}

pub(crate) async fn add(args: AddArgs) -> Result<(), Failure> {
    let additions = args.data.payload()?;
    args.change.perform(Action::Add(additions)).await
}

pub(crate) async fn act(args: ActArgs) -> Result<(), Failure> {
    let body = args.data.payload()?;
    args.change.perform(Action::Custom { kind: args.kind, body }).await
}

pub(crate) async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    args.change.perform(Action::Delete).await
}

/// Tells what a change came to.
pub(crate) fn tell(object: &ObjectId, done: &Committed, json: bool) -> Result<(), Failure> {
    if json {
        return Fields::of(object).committed(done).print();
    }
    let shard = done.decided.shard.map_or(String::new(), |shard| format!(", shard {shard}"));
    let how = how_done(done.tries, done.repeated, done.reply.as_ref());
    say(&format_args!("{object}: version {}, revision {}{shard}{how}", done.version, done.revision))
}
