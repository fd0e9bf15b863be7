//! The Rust client library of Ostrakon.
//!
//! A [`Client`] is a handle of one connection; clones share it. It connects again by itself, gives every request a
//! deadline, and repeats a request only where a repeat is safe: reads, and writes that carry an action id, which the
//! library makes for every write. A repeated write answers what the first one did.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ostrakon_client::{Client, ClientConfig, Expect, ObjectId, Payload};
//!
//! // A development host left its address and certificates in its data folder.
//! let client = Client::connect(ClientConfig::from_data_folder("/tmp/ostrakon-dev")?).await?;
//! let volume = ObjectId::new("acme", "volume", "vol-1")?;
//! let made = client.put(&volume, Payload::bytes("hello")?, Expect::Absent).await?;
//! let read = client.read(&volume).await?;
//! assert_eq!(read.version, made.version);
//! # Ok(())
//! # }
//! ```

mod actions;
mod config;
mod connection;
mod error;
mod link;
mod retry;
mod watch;

pub use actions::{Expect, Outcome};
pub use config::{ClientConfig, ConfigError, HostFile};
pub use error::Error;
pub use link::Client;
pub use ostrakon_wire::answer::{
    Committed, Escalation, Escalations, Event, History, Info, KeptVersion, Object, Page, PageItem, Placed,
    PolicyReport, Retention, RetentionRule, Settlement, ShardMap, ShardRange, ShardReport, StepMade, Stored,
    Transacted,
};
pub use ostrakon_wire::{
    Action, ActionId, ActionKind, AskMap, AskTicket, ChangePolicy, ChangeShards, Code, ComponentDigest, Condition,
    ConditionalWrite, FailedCondition, Keep, List, ListEscalations, MapEpoch, Must, ObjectId, OnConflict, Operation,
    Past, Payload, Perform, PolicyChange, PolicyKind, Position, ReadHistory, ReadPast, ReadPolicies, ReadShards, Reply,
    Revision, SetRetention, SettleEscalation, SettleHow, ShardChange, ShardId, ShardKey, Slot, Stage, Step, Target,
    TimestampMs, TraceParent, Transact, Version, Watch, Winner, WireError, json, value,
};
pub use watch::{Told, Watcher};
