//! The configured policy of an instance, and the macros that put it behind a world's exports.
//!
//! The macros expand to nothing but a type check natively: two policies in one native program would otherwise define the
//! same symbols.

use std::sync::OnceLock;

use crate::Invalid;

/// The one policy of a component instance: set by `configure`, read by every call after it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Configured<P>(OnceLock<P>);

impl<P> Configured<P> {
    /// Nothing yet.
    #[allow(clippy::new_without_default, reason = "only ever a static")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Keeps a freshly configured policy; an instance is configured once.
    pub fn keep(&self, policy: Result<P, Invalid>) -> Result<(), Invalid> {
        let policy = policy?;
        self.0.set(policy).map_err(|_| Invalid::new("", "this instance is configured already"))
    }

    /// The policy. Traps before `configure`: the host promised to call that first, and there is nothing to answer with.
    #[inline]
    pub fn policy(&self) -> &P {
        match self.0.get() {
            Some(policy) => policy,
            None => std::process::abort(),
        }
    }
}

/// The functions that every world begins with.
#[doc(hidden)]
#[macro_export]
macro_rules! __describe_and_configure {
    ($policy:ty as $trait:path, in $($types:ident)::+) => {
        fn describe() -> $crate::$($types)::+::About {
            let about = <$policy as $trait>::about();
            $crate::$($types)::+::About { name: about.name, version: about.version, needs_state: about.needs_state }
        }
        fn configure(settings: String, state: Vec<u8>) -> Result<(), $crate::$($types)::+::Invalid> {
            POLICY.keep(<$policy as $trait>::configure(&settings, &state)).map_err(|refused| {
                $crate::$($types)::+::Invalid { path: refused.path, message: refused.message }
            })
        }
    };
}

/// Natively there is nothing to export; a type that is no policy is refused there too.
#[doc(hidden)]
#[macro_export]
macro_rules! __check_natively {
    ($policy:ty: $trait:path) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is_policy<P: $trait>() {}
            is_policy::<$policy>()
        };
    };
}
