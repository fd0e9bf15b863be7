//! World `shard-key-policy`: where should this object live?

use crate::{About, Invalid};

pub use crate::bindings::shard_key_world::exports::ostrakon::policy::shard_key::{Heat, Placement};

/// One object to place, and what is known of how it is used.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The client the object belongs to.
    pub client: &'a str,
    /// Its data type.
    pub data_type: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Milliseconds since 1970, as the client or else the host told it.
    pub timestamp_ms: u64,
    /// The key recorded for the object, 0 when it is new.
    pub current: u64,
    /// The observed access pattern.
    pub heat: Heat,
}

/// A policy that places objects.
pub trait Policy: Sized + Send + Sync + 'static {
    /// Who this is.
    fn about() -> About;
    /// A policy from its settings (a JSON object; "{}" must do) and the state the host kept for it.
    fn configure(settings: &str, state: &[u8]) -> Result<Self, Invalid>;
    /// Where the object should live.
    fn place(&self, ask: &Request<'_>) -> Placement;
}

/// Makes a component of a [`Policy`](crate::shard_key::Policy). Once in a crate, which is a `cdylib`.
#[macro_export]
macro_rules! export_shard_key {
    ($policy:ty) => {
        $crate::__check_natively!($policy: $crate::shard_key::Policy);
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: what the canonical ABI needs")]
        const _: () = {
            use $crate::bindings::shard_key_world::exports::ostrakon::policy::shard_key as types;
            static POLICY: $crate::Configured<$policy> = $crate::Configured::new();
            struct Component;
            impl types::Guest for Component {
                $crate::__describe_and_configure!($policy as $crate::shard_key::Policy,
                    in bindings::shard_key_world::exports::ostrakon::policy::shard_key);
                fn get_shard_key(
                    client: String,
                    data_type: String,
                    name: String,
                    timestamp_ms: u64,
                    current: u64,
                    heat: types::Heat,
                ) -> types::Placement {
                    let (client, data_type, name) = (&client, &data_type, &name);
                    let ask = $crate::shard_key::Request { client, data_type, name, timestamp_ms, current, heat };
                    $crate::shard_key::Policy::place(POLICY.policy(), &ask)
                }
            }
            $crate::bindings::shard_key_world::export_shard_key_world!(
                Component with_types_in $crate::bindings::shard_key_world
            );
        };
    };
}
