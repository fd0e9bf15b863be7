//! The contract as the host checks it: interfaces, functions and their types.
//!
//! The types are those of `wit/policy.wit` with every name written out, because a component's own type names are its own
//! business; a test holds them to that file.

use ostrakon_wire::PolicyKind;

/// The package of all interfaces, with the separator that follows it.
pub(crate) const PACKAGE: &str = "ostrakon:policy/";
/// The version of the contract that this host speaks.
pub(crate) const VERSION: &str = "0.1.0";

/// One function of the contract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// As [`crate::signature`] writes it.
    pub(crate) signature: &'static str,
}

/// One interface of the contract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interface {
    /// Without package and version.
    pub(crate) name: &'static str,
    pub(crate) functions: &'static [Function],
    /// The types that it names.
    pub(crate) types: &'static [&'static str],
}

impl Interface {
    /// The name under which a component exports it.
    pub(crate) fn export(&self) -> String {
        format!("{PACKAGE}{}@{VERSION}", self.name)
    }
}

/// The interface that a policy of this kind must export.
pub(crate) fn required(kind: PolicyKind) -> &'static Interface {
    match kind {
        PolicyKind::ShardKey => &SHARD_KEY,
        PolicyKind::Prediction => &PREDICTION,
        PolicyKind::Reconciliation => &RECONCILIATION,
    }
}

/// The interface that a policy of this kind may export beside it.
pub(crate) fn optional(kind: PolicyKind) -> Option<&'static Interface> {
    (kind == PolicyKind::Prediction).then_some(&LEARNING)
}

const DESCRIBE: Function =
    Function { name: "describe", signature: "func() -> record { name: string, version: string, needs-state: bool }" };
const CONFIGURE: Function = Function {
    name: "configure",
    signature: "func(settings: string, state: list<u8>) -> result<_, record { path: string, message: string }>",
};

static SHARD_KEY: Interface = Interface {
    name: "shard-key",
    functions: &[
        DESCRIBE,
        CONFIGURE,
        Function {
            name: "get-shard-key",
            signature: "func(client: string, data-type: string, name: string, timestamp-ms: u64, current: u64, \
                        heat: record { client-ppm: u32, type-ppm: u32, window-ppm: u32, write-ppm: u32, callers: u32, \
                        idle-ms: u64, shards: u32 }) -> record { key: u64, bits: u8 }",
        },
    ],
    types: &["about", "invalid", "heat", "placement"],
};

static PREDICTION: Interface = Interface {
    name: "prediction",
    functions: &[
        DESCRIBE,
        CONFIGURE,
        Function {
            name: "predict",
            signature: "func(known: u64, observed: u64, observed-age-us: u64, read-age-us: u64, queued: u32, \
                        in-group: u32, write-millihz: u64, conflict-ppm: u32, commit-us: u32, \
                        kind: enum { put, merge, add, delete, custom }, choice: enum { reject, reconcile, detach }, \
                        attempt: u32, payload-bytes: u32, scope: u64) \
                        -> record { version: u64, confidence-ppm: u32, route: enum { write, reconcile } }",
        },
    ],
    types: &["about", "invalid", "kind", "on-conflict", "route", "forecast"],
};

static LEARNING: Interface = Interface {
    name: "learning",
    functions: &[Function {
        name: "learn",
        signature: "func(state: list<u8>, outcomes: list<record { scope: u64, predicted: u64, met: u64, age-us: u64, \
                    aborted: bool }>) -> list<u8>",
    }],
    types: &["outcome"],
};

macro_rules! brief {
    () => {
        "record { client: string, data-type: string, name: string, kind: enum { put, merge, add, delete, custom }, \
         custom-kind: string, known: u64, base-kept: bool, latest: u64, exists: bool, attempt: u32, now-ms: u64, \
         shard-key: u64, latest-bytes: u32 }"
    };
}

macro_rules! verdict {
    () => {
        "variant { rerun, need-payloads, patch(record { body: list<u8>, reply: list<u8> }), \
         replace(record { body: list<u8>, reply: list<u8> }), remove(list<u8>), already-applied(list<u8>), \
         reject(string), retry-after-ms(u32), escalate(string) }"
    };
}

static RECONCILIATION: Interface = Interface {
    name: "reconciliation",
    functions: &[
        DESCRIBE,
        CONFIGURE,
        Function {
            name: "judge",
            signature: concat!("func(b: ", brief!(), ", ours: list<u8>, theirs: option<list<u8>>) -> ", verdict!()),
        },
        Function {
            name: "reconcile",
            signature: concat!(
                "func(b: ",
                brief!(),
                ", body: list<u8>, base: option<list<u8>>, latest: option<list<u8>>) -> ",
                verdict!()
            ),
        },
    ],
    types: &["about", "invalid", "kind", "brief", "change", "verdict"],
};
