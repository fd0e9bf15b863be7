//! The policies that the host brings with it, built from `plugins/`.

use ostrakon_wire::PolicyKind;

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

/// The shipped policy of this kind; it takes "{}" for settings.
pub fn shipped(kind: PolicyKind) -> Shipped {
    match kind {
        PolicyKind::ShardKey => prebuilt!("weighted-shard-key"),
        PolicyKind::Prediction => prebuilt!("frequency-prediction"),
        PolicyKind::Reconciliation => prebuilt!("three-way-reconciliation"),
    }
}
