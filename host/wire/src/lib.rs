//! What both ends agree on: ids, versions, keys, bounds, requests, answers, error codes, CBOR frames.
//!
//! Nothing here does I/O, and nothing knows the host. `host/docs/PROTOCOL.md` says the same in words; a test holds one to
//! the other.

pub mod answer;
pub mod bounds;
pub mod cbor;
mod error;
mod field;
pub mod frame;
mod hello;
mod ids;
pub mod json;
mod kinds;
mod numbers;
mod payload;
mod policy;
mod position;
mod request;
mod shards;
pub mod value;

pub use answer::{Answer, Decided, Generations, Reply};
pub use error::{Code, FailedCondition, Winner, WireError};
pub use hello::{ALPN, ClientHello, PROTOCOL, ServerHello};
pub use ids::{ActionId, IdPart, InvalidActionId, InvalidId, InvalidTraceParent, ObjectId, TraceParent};
pub use kinds::{ActionKind, OnConflict, PolicyKind, SettleHow};
pub use numbers::{Generation, LogId, MapEpoch, Revision, ShardId, ShardKey, TimestampMs, Version};
pub use payload::{InvalidPayload, Payload, PayloadFormat};
pub use policy::{ChangePolicy, ComponentDigest, PolicyChange, ReadPolicies, Slot, Stage, UploadComponent};
pub use position::{InvalidPosition, POSITION_BYTES, Position};
pub use request::{
    Action, AskTicket, Condition, ConditionalWrite, Keep, List, ListEscalations, Must, Operation, Past, Perform,
    ReadHistory, ReadPast, Request, SetRetention, SettleEscalation, Step, Target, Transact, Watch,
};
pub use shards::{AskMap, ChangeShards, ReadShards, ShardChange};
