//! World `reconciliation-policy`: what becomes of an action whose object has moved on?

use crate::{About, Invalid};

pub use crate::bindings::reconciliation_world::exports::ostrakon::policy::reconciliation::{
    Brief, Change, Kind, Verdict,
};

/// A policy that judges actions which lost a race.
pub trait Policy: Sized + Send + Sync + 'static {
    /// Who this is.
    fn about() -> About;
    /// A policy from its settings (a JSON object; "{}" must do) and the state the host kept for it.
    fn configure(settings: &str, state: &[u8]) -> Result<Self, Invalid>;
    /// Judges on small patches (CBOR, RFC 7396): `ours` is what the action changes, `theirs` what was changed since
    /// `known`, none when the base is not kept.
    fn judge(&self, brief: &Brief, ours: &[u8], theirs: Option<&[u8]>) -> Verdict;
    /// Judges on whole payloads (CBOR): the action's body, the object at `known`, the latest object.
    fn reconcile(&self, brief: &Brief, body: &[u8], base: Option<&[u8]>, latest: Option<&[u8]>) -> Verdict;
}

/// Makes a component of a [`Policy`](crate::reconciliation::Policy). Once in a crate, which is a `cdylib`.
#[macro_export]
macro_rules! export_reconciliation {
    ($policy:ty) => {
        $crate::__check_natively!($policy: $crate::reconciliation::Policy);
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated: what the canonical ABI needs")]
        const _: () = {
            use $crate::bindings::reconciliation_world::exports::ostrakon::policy::reconciliation as types;
            static POLICY: $crate::Configured<$policy> = $crate::Configured::new();
            struct Component;
            impl types::Guest for Component {
                $crate::__describe_and_configure!($policy as $crate::reconciliation::Policy,
                    in bindings::reconciliation_world::exports::ostrakon::policy::reconciliation);
                fn judge(brief: types::Brief, ours: Vec<u8>, theirs: Option<Vec<u8>>) -> types::Verdict {
                    $crate::reconciliation::Policy::judge(POLICY.policy(), &brief, &ours, theirs.as_deref())
                }
                fn reconcile(
                    brief: types::Brief,
                    body: Vec<u8>,
                    base: Option<Vec<u8>>,
                    latest: Option<Vec<u8>>,
                ) -> types::Verdict {
                    let policy = POLICY.policy();
                    $crate::reconciliation::Policy::reconcile(policy, &brief, &body, base.as_deref(), latest.as_deref())
                }
            }
            $crate::bindings::reconciliation_world::export_reconciliation_world!(
                Component with_types_in $crate::bindings::reconciliation_world
            );
        };
    };
}
