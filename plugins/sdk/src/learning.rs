//! Interface `learning`, beside `prediction`: what became of the forecasts, made into the next state.

use crate::prediction;

pub use crate::bindings::learning_world::exports::ostrakon::policy::learning::Outcome;

/// A prediction policy that learns. Its [`about`](prediction::Policy::about) says `needs_state`.
pub trait Policy: prediction::Policy {
    /// The state after these outcomes. It may be called on any instance of the policy, and is given to those that are
    /// configured afterwards; `state` is empty at first.
    fn learn(&self, state: &[u8], outcomes: &[Outcome]) -> Vec<u8>;
}

/// Makes a component of a [`Policy`](crate::learning::Policy), instead of
/// [`export_prediction!`](crate::export_prediction). Once in a crate, which is a `cdylib`.
#[macro_export]
macro_rules! export_learning_prediction {
    ($policy:ty) => {
        $crate::__check_natively!($policy: $crate::learning::Policy);
        #[cfg(target_arch = "wasm32")]
        static __OSTRAKON_POLICY: $crate::Configured<$policy> = $crate::Configured::new();
        $crate::__export_prediction_of!($policy, &__OSTRAKON_POLICY);
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: what the canonical ABI needs")]
        const _: () = {
            use $crate::bindings::learning_world::exports::ostrakon::policy::learning as types;
            struct Component;
            impl types::Guest for Component {
                fn learn(state: Vec<u8>, outcomes: Vec<types::Outcome>) -> Vec<u8> {
                    $crate::learning::Policy::learn(__OSTRAKON_POLICY.policy(), &state, &outcomes)
                }
            }
            $crate::bindings::learning_world::export_learning_world!(
                Component with_types_in $crate::bindings::learning_world
            );
        };
    };
}
