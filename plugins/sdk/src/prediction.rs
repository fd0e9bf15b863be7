//! World `prediction-policy`: which version will this conditional write meet?

use crate::{About, Invalid};

pub use crate::bindings::prediction_world::exports::ostrakon::policy::prediction::{Forecast, Kind, OnConflict, Route};

/// The age of what was never seen or not told.
pub const UNKNOWN_AGE: u64 = u64::MAX;

/// One conditional write about to be tried, and what this front end knows of its object.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The version the client acts upon; 0: no live object.
    pub known: u64,
    /// The version this front end last saw.
    pub observed: u64,
    /// How long ago that was; [`UNKNOWN_AGE`]: never.
    pub observed_age_us: u64,
    /// How old the client's read is; [`UNKNOWN_AGE`]: not told.
    pub read_age_us: u64,
    /// Writes to this object that are on their way through this front end.
    pub queued: u32,
    /// Changes in the group that is being committed.
    pub in_group: u32,
    /// Recent writes to the object in a thousand seconds.
    pub write_millihz: u64,
    /// Share of conflicts among the object's conditional writes, parts per million.
    pub conflict_ppm: u32,
    /// How long a commit takes now.
    pub commit_us: u32,
    /// What the client wants done.
    pub kind: Kind,
    /// What the client wants on a conflict.
    pub choice: OnConflict,
    /// 0 for the first try.
    pub attempt: u32,
    /// Size of the action's payload.
    pub payload_bytes: u32,
    /// A stable number for the object, for policies that learn.
    pub scope: u64,
}

/// A policy that foretells versions.
pub trait Policy: Sized + Send + Sync + 'static {
    /// Who this is.
    fn about() -> About;
    /// A policy from its settings (a JSON object; "{}" must do) and the state the host kept for it.
    fn configure(settings: &str, state: &[u8]) -> Result<Self, Invalid>;
    /// What the write will meet, and whether to try it.
    fn predict(&self, ask: &Request) -> Forecast;
}

/// Makes a component of a [`Policy`](crate::prediction::Policy). Once in a crate, which is a `cdylib`.
#[macro_export]
macro_rules! export_prediction {
    ($policy:ty) => {
        $crate::__check_natively!($policy: $crate::prediction::Policy);
        #[cfg(target_arch = "wasm32")]
        static __OSTRAKON_POLICY: $crate::Configured<$policy> = $crate::Configured::new();
        $crate::__export_prediction_of!($policy, &__OSTRAKON_POLICY);
    };
}

/// The exports of `prediction` over a configured policy that stands elsewhere.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_prediction_of {
    ($policy:ty, $configured:expr) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: what the canonical ABI needs")]
        const _: () = {
            use $crate::bindings::prediction_world::exports::ostrakon::policy::prediction as types;
            static POLICY: &$crate::Configured<$policy> = $configured;
            struct Component;
            impl types::Guest for Component {
                $crate::__describe_and_configure!($policy as $crate::prediction::Policy,
                                            in bindings::prediction_world::exports::ostrakon::policy::prediction);
                fn predict(
                    known: u64,
                    observed: u64,
                    observed_age_us: u64,
                    read_age_us: u64,
                    queued: u32,
                    in_group: u32,
                    write_millihz: u64,
                    conflict_ppm: u32,
                    commit_us: u32,
                    kind: types::Kind,
                    choice: types::OnConflict,
                    attempt: u32,
                    payload_bytes: u32,
                    scope: u64,
                ) -> types::Forecast {
                    let ask = $crate::prediction::Request {
                        known,
                        observed,
                        observed_age_us,
                        read_age_us,
                        queued,
                        in_group,
                        write_millihz,
                        conflict_ppm,
                        commit_us,
                        kind,
                        choice,
                        attempt,
                        payload_bytes,
                        scope,
                    };
                    $crate::prediction::Policy::predict(POLICY.policy(), &ask)
                }
            }
            $crate::bindings::prediction_world::export_prediction_world!(
                Component with_types_in $crate::bindings::prediction_world
            );
        };
    };
}
