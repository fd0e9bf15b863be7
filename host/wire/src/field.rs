//! The numbers of the keys in frames. A number means the same wherever it stands; none is reused.

/// Frame: number of the request, chosen by the client.
pub(crate) const REQUEST: u64 = 0;
/// Frame: what is asked for, or what is answered.
pub(crate) const OPERATION: u64 = 1;
/// Frame: the particulars.
pub(crate) const BODY: u64 = 2;
/// Frame: an error in place of an answer.
pub(crate) const ERROR: u64 = 3;
/// Frame: W3C trace parent.
pub(crate) const TRACE_PARENT: u64 = 4;
/// Frame: when the client made the request. Object of an answer: when its version was made, as the client or else the host told.
pub(crate) const TIMESTAMP: u64 = 5;

pub(crate) const CLIENT: u64 = 6;
pub(crate) const DATA_TYPE: u64 = 7;
pub(crate) const NAME: u64 = 8;
pub(crate) const SHARD_KEY: u64 = 9;
pub(crate) const VERSION: u64 = 10;
pub(crate) const NEW_VERSION: u64 = 11;
pub(crate) const KNOWN_VERSION: u64 = 12;
pub(crate) const PAYLOAD: u64 = 13;
pub(crate) const ACTION_ID: u64 = 14;
pub(crate) const KIND: u64 = 15;
pub(crate) const CUSTOM_KIND: u64 = 16;
pub(crate) const ON_CONFLICT: u64 = 17;
pub(crate) const PREFIX: u64 = 18;
pub(crate) const LIMIT: u64 = 19;
pub(crate) const TOKEN: u64 = 20;
pub(crate) const WITH_PAYLOADS: u64 = 21;
pub(crate) const REVISION: u64 = 22;
pub(crate) const LIVE: u64 = 23;
pub(crate) const DECIDED: u64 = 24;
pub(crate) const ITEMS: u64 = 25;
pub(crate) const REPEATED: u64 = 26;
pub(crate) const SHARD: u64 = 27;
pub(crate) const EPOCH: u64 = 28;
pub(crate) const POSITION: u64 = 29;
pub(crate) const GENERATIONS: u64 = 30;
pub(crate) const START: u64 = 31;
pub(crate) const OWNER: u64 = 32;
pub(crate) const LOG: u64 = 33;
pub(crate) const CODE: u64 = 34;
pub(crate) const CODE_NAME: u64 = 35;
pub(crate) const MESSAGE: u64 = 36;
pub(crate) const RETRYABLE: u64 = 37;
pub(crate) const RETRY_AFTER_MS: u64 = 38;
pub(crate) const WINNER: u64 = 39;
pub(crate) const PROTOCOL: u64 = 40;
pub(crate) const AGENT: u64 = 41;
pub(crate) const FRAME_BYTES: u64 = 42;
pub(crate) const IN_FLIGHT: u64 = 43;
pub(crate) const INFO: u64 = 44;
pub(crate) const END: u64 = 45;
pub(crate) const REPLY: u64 = 46;
pub(crate) const TRIES: u64 = 47;
pub(crate) const ESCALATION: u64 = 48;
pub(crate) const WAIT_MS: u64 = 49;
pub(crate) const OPENED: u64 = 50;
pub(crate) const BASE: u64 = 51;
pub(crate) const LATEST: u64 = 52;
pub(crate) const OMITTED: u64 = 53;
pub(crate) const SETTLED: u64 = 54;
pub(crate) const HOW: u64 = 55;
pub(crate) const BY: u64 = 56;
pub(crate) const REASON: u64 = 57;
pub(crate) const CONDITIONS: u64 = 58;
pub(crate) const ACTIONS: u64 = 59;
pub(crate) const POINTER: u64 = 60;
pub(crate) const VALUE: u64 = 61;
pub(crate) const FAILED: u64 = 62;
pub(crate) const INDEX: u64 = 63;
pub(crate) const VERSIONS: u64 = 64;
pub(crate) const AGE_MS: u64 = 65;
pub(crate) const DELETED: u64 = 66;
pub(crate) const WITH_PREVIOUS: u64 = 67;
pub(crate) const PREVIOUS: u64 = 68;
pub(crate) const MORE: u64 = 69;
pub(crate) const BOOKMARK_MS: u64 = 70;
pub(crate) const COMMITTED: u64 = 71;
pub(crate) const DIGEST: u64 = 72;
pub(crate) const SIZE: u64 = 73;
pub(crate) const OFFSET: u64 = 74;
pub(crate) const PART: u64 = 75;
pub(crate) const RECEIVED: u64 = 76;
pub(crate) const POLICY_KIND: u64 = 77;
pub(crate) const CHANGE: u64 = 78;
pub(crate) const SETTINGS: u64 = 79;
pub(crate) const SHARE_PPM: u64 = 80;
pub(crate) const SLOW_US: u64 = 81;
pub(crate) const GENERATION: u64 = 82;
pub(crate) const ASPECT: u64 = 83;
pub(crate) const MIGRATION: u64 = 84;
