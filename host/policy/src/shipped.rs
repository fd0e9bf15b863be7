//! The policies that the host brings with it, built from `plugins/`.

use std::sync::OnceLock;

use ostrakon_wire::PolicyKind;

use crate::cache::digest_of;

/// A component that is part of the host.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// The name of its crate under `plugins/`.
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

macro_rules! prebuilt {
    ($name:literal) => {
        Shipped {
            name: $name,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prebuilt/", $name, ".wasm")),
        }
    };
}

/// The shipped component of this digest, if it is one.
pub(crate) fn shipped_as(digest: &str) -> Option<Shipped> {
    static DIGESTS: OnceLock<[String; PolicyKind::ALL.len()]> = OnceLock::new();
    let digests = DIGESTS.get_or_init(|| PolicyKind::ALL.map(|kind| digest_of(shipped(kind).bytes)));
    let of_kind = PolicyKind::ALL.into_iter().zip(digests).find(|(_, of_kind)| *of_kind == digest);
    of_kind.map(|(kind, _)| shipped(kind))
}

/// The shipped policy of this kind; it takes "{}" for settings.
pub fn shipped(kind: PolicyKind) -> Shipped {
    match kind {
        PolicyKind::ShardKey => prebuilt!("weighted-shard-key"),
        PolicyKind::Prediction => prebuilt!("frequency-prediction"),
        PolicyKind::Reconciliation => prebuilt!("three-way-reconciliation"),
    }
}
