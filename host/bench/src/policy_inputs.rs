//! The inputs of scenario `policy-call`, once as the host gives them to a component, once as a native policy takes them.

use ostrakon_core::policy::{Brief, Case, Heat, Look, Outlook, Payloads, Placing, Question};
use ostrakon_policy_sdk::{prediction, reconciliation, shard_key};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{ActionKind, ObjectId, OnConflict, PolicyKind};

const CLIENT: &str = "123456789012";
const DATA_TYPE: &str = "ec2/volume";
const NAME: &str = "vol-0a1b2c3d4e5f";
const NOW_MS: u64 = 1_700_000_000_000;
const SHARD_KEY: u64 = 1 << 60;

/// The object that everything is about.
pub(crate) fn object() -> ObjectId {
    ObjectId::new(CLIENT, DATA_TYPE, NAME).expect("its parts are well-formed")
}

/// Two patches that touch different fields: what an action changes, and what was changed meanwhile.
pub(crate) struct Patches {
    pub(crate) ours: Vec<u8>,
    pub(crate) theirs: Vec<u8>,
}

impl Patches {
    pub(crate) fn new() -> Self {
        let patch = |field: &str, value: Value| Value::Map(Map::from([(field.to_owned(), value)])).to_cbor();
        Self { ours: patch("size", Value::Integer(20)), theirs: patch("owner", Value::Text("team-b".into())) }
    }
}

pub(crate) fn placing(at: u64) -> Placing<&'static str> {
    let timestamp_ms = NOW_MS + at;
    Placing { client: CLIENT, data_type: DATA_TYPE, name: NAME, timestamp_ms, current: 0, heat: Heat::default() }
}

/// A case that is decided on its patches.
pub(crate) fn case(patches: &Patches) -> Case<'_> {
    Case {
        brief: brief(),
        patches: Some((&patches.ours, &patches.theirs)),
        payloads: &|| Payloads { body: Vec::new(), base: None, latest: None },
    }
}

/// The question of a kind, as a value.
pub(crate) fn question(kind: PolicyKind, patches: &Patches, at: u64) -> Question {
    match kind {
        PolicyKind::ShardKey => Question::Place(placing(at).kept()),
        PolicyKind::Prediction => Question::Predict(outlook(at)),
        PolicyKind::Reconciliation => {
            Question::of_look(&brief(), Look::Patches { ours: &patches.ours, theirs: Some(&patches.theirs) })
        }
    }
}

pub(crate) fn native_placing(at: u64) -> shard_key::Request<'static> {
    let heat =
        shard_key::Heat { client_ppm: 0, type_ppm: 0, window_ppm: 0, write_ppm: 0, callers: 0, idle_ms: 0, shards: 0 };
    let Placing { client, data_type, name, timestamp_ms, current, .. } = placing(at);
    shard_key::Request { client, data_type, name, timestamp_ms, current, heat }
}

pub(crate) fn outlook(at: u64) -> Outlook {
    Outlook {
        known: 7 + at % 3,
        observed: 8,
        observed_age_us: 1_500 + at,
        read_age_us: u64::MAX,
        queued: (at % 4) as u32,
        in_group: 60,
        write_millihz: 250_000,
        conflict_ppm: 20_000,
        commit_us: 900,
        kind: ActionKind::Merge,
        choice: OnConflict::Reject,
        attempt: 0,
        payload_bytes: 256,
        scope: at,
    }
}

pub(crate) fn native_outlook(at: u64) -> prediction::Request {
    let same = outlook(at);
    prediction::Request {
        known: same.known,
        observed: same.observed,
        observed_age_us: same.observed_age_us,
        read_age_us: same.read_age_us,
        queued: same.queued,
        in_group: same.in_group,
        write_millihz: same.write_millihz,
        conflict_ppm: same.conflict_ppm,
        commit_us: same.commit_us,
        kind: prediction::Kind::Merge,
        choice: prediction::OnConflict::Reject,
        attempt: same.attempt,
        payload_bytes: same.payload_bytes,
        scope: same.scope,
    }
}

pub(crate) fn brief() -> Brief<&'static str> {
    Brief {
        client: CLIENT,
        data_type: DATA_TYPE,
        name: NAME,
        kind: ActionKind::Merge,
        custom_kind: "",
        known: 7,
        base_kept: true,
        latest: 9,
        exists: true,
        attempt: 0,
        now_ms: NOW_MS,
        shard_key: SHARD_KEY,
        latest_bytes: 256,
    }
}

pub(crate) fn native_brief() -> reconciliation::Brief {
    let same = brief();
    reconciliation::Brief {
        client: same.client.into(),
        data_type: same.data_type.into(),
        name: same.name.into(),
        kind: reconciliation::Kind::Merge,
        custom_kind: String::new(),
        known: same.known,
        base_kept: same.base_kept,
        latest: same.latest,
        exists: same.exists,
        attempt: same.attempt,
        now_ms: same.now_ms,
        shard_key: same.shard_key,
        latest_bytes: same.latest_bytes,
    }
}
