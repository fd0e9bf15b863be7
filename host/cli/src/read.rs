//! `get`, `version`, `shard-key`: one object, looked at.

use clap::Args;
use ostrakon_client::{Client, Object, ObjectId, Operation, Past, Payload, Position, ReadPast, Reply, Target, Version};

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::object::ObjectArgs;
use crate::output::{Fields, payload_json, say};

/// Which object to look at.
#[derive(Debug, Clone, Args)]
pub(crate) struct LookArgs {
    #[command(flatten)]
    object: ObjectArgs,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Which object to look at, and as of when.
#[derive(Debug, Clone, Args)]
// The flag that tells the release would have the same name.
#[command(after_help = GET_HELP, disable_version_flag = true)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) look: LookArgs,

    /// This version of it [default: the newest]
    #[arg(long, value_name = "VERSION")]
    version: Option<u64>,

    /// What stood there at this position, which an answer has told
    #[arg(long, value_name = "POSITION", conflicts_with = "version")]
    at: Option<Position>,
}

const GET_HELP: &str = "\
Examples:
  ostrakon get acme volume vol-1
  ostrakon get acme volume vol-1 --json
  ostrakon get acme volume vol-1 --version 3
  ostrakon get acme volume vol-1 --at POSITION

An object that is not there exits 4, and so does a version that is no longer kept. Bytes print as {\"$base64\": \"...\"}.";

pub(crate) const VERSION_HELP: &str = "\
Example:
  ostrakon version acme volume vol-1

Give the version to --if-version, and a change goes ahead only if nobody else was faster.";

pub(crate) const SHARD_KEY_HELP: &str = "\
Example:
  ostrakon shard-key acme volume vol-1

For an object that is not there: where the shard-key policy would have it live now.";

impl LookArgs {
    /// Asks one thing about the object.
    async fn ask(&self, question: impl FnOnce(Target) -> Operation) -> Result<(ObjectId, Reply), Failure> {
        let target = self.object.target()?;
        let object = target.object.clone();
        let asked = async |client: &Client| Ok(client.ask(question(target)).await?);
        Ok((object, self.connect.run(asked).await?))
    }
}

impl GetArgs {
    fn past(&self) -> Option<Past> {
        self.version.map(|version| Past::Version(Version::new(version))).or(self.at.map(Past::Position))
    }
}

fn unexpected() -> Failure {
    Failure::failed("the host broke the protocol: it answered another question")
}

pub(crate) async fn get(args: GetArgs) -> Result<(), Failure> {
    let past = args.past();
    let args = args.look;
    let asked = args.ask(|target| match past {
        Some(past) => Operation::ReadPast(ReadPast { target, past }),
        None => Operation::Read(target),
    });
    let (id, Reply::Object(object)) = asked.await? else {
        return Err(unexpected());
    };
    if args.connect.json {
        return fields(&id, &object).print();
    }
    let shard = object.decided.shard.map_or(String::new(), |shard| format!(", shard {shard}"));
    say(&format_args!("{id}: version {}, revision {}{shard}", object.version, object.revision))?;
    say(&readable(&object.payload))
}

fn fields(id: &ObjectId, object: &Object) -> Fields {
    Fields::of(id)
        .stored(object.version, object.revision, object.decided.shard, object.shard_key)
        .set("payload", payload_json(&object.payload))
        .set("timestamp_ms", object.timestamp.get())
        .set("action_id", object.action_id.map(|id| id.to_string()))
        .decided(&object.decided)
}

fn readable(payload: &Payload) -> String {
    format!("{:#}", payload_json(payload))
}

pub(crate) async fn version(args: LookArgs) -> Result<(), Failure> {
    let (id, Reply::Version(stored)) = args.ask(Operation::ReadVersion).await? else {
        return Err(unexpected());
    };
    if args.connect.json {
        let fields = Fields::of(&id);
        return fields.stored(stored.version, stored.revision, stored.decided.shard, stored.shard_key).print();
    }
    say(&stored.version)
}

pub(crate) async fn shard_key(args: LookArgs) -> Result<(), Failure> {
    let (_, Reply::ShardKey(placed)) = args.ask(Operation::GetShardKey).await? else {
        return Err(unexpected());
    };
    let shard = placed.decided.shard.map(|shard| shard.get());
    if args.connect.json {
        return Fields::default()
            .set("shard_key", placed.shard_key.get())
            .set("shard", shard)
            .set("recorded", placed.recorded)
            .print();
    }
    let recorded =
        if placed.recorded { "recorded with the object" } else { "no such object yet; the policy would have it here" };
    let shard = shard.map_or(String::new(), |shard| format!(", shard {shard}"));
    say(&format_args!("{}{shard} ({recorded})", placed.shard_key))
}
