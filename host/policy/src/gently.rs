//! Compiling beside requests: whoever compiles rests between two functions while others want a processor.

use std::borrow::Cow;
use std::cell::RefCell;

use ostrakon_background::Rests;
use wasmtime::CacheStore;

thread_local! {
    /// How the thread compiles that does so gently.
    static GENTLY: RefCell<Option<Gently>> = const { RefCell::new(None) };
}

struct Gently {
    rests: Rests,
    /// That the compiler has asked about.
    functions: u64,
}

/// Does some work; what it compiles, it compiles gently.
pub(crate) fn gently<T>(work: impl FnOnce() -> T) -> T {
    let (done, gently) = told(work);
    if let Some(Gently { rests, functions: functions @ 1.. }) = gently {
        tracing::debug!(functions, rested_ms = rests.rested().as_millis() as u64, "compiled gently");
    }
    done
}

/// The same, and what came of it.
fn told<T>(work: impl FnOnce() -> T) -> (T, Option<Gently>) {
    GENTLY.set(Some(Gently { rests: Rests::of_caller(), functions: 0 }));
    let done = work();
    (done, GENTLY.take())
}

/// The compiler asks before each function, on the thread that compiles, whether it was compiled before. None is kept: that it
/// asks is what counts.
#[derive(Debug)]
pub(crate) struct BetweenFunctions;

impl CacheStore for BetweenFunctions {
    fn get(&self, _key: &[u8]) -> Option<Cow<'_, [u8]>> {
        GENTLY.with_borrow_mut(|gently| {
            if let Some(Gently { rests, functions }) = gently {
                rests.rest();
                *functions += 1;
            }
        });
        None
    }

    fn insert(&self, _key: &[u8], _value: Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ostrakon_wire::PolicyKind;

    use super::*;
    use crate::{Limits, PolicyEngine, shipped};

    #[test]
    fn the_compiler_comes_by_before_each_function() {
        let engine = PolicyEngine::new(Limits::default()).unwrap();
        let load_gently = || {
            let (loaded, gently) =
                told(|| engine.load(PolicyKind::ShardKey, shipped(PolicyKind::ShardKey).bytes, "{}"));
            loaded.unwrap();
            gently.unwrap().functions
        };
        let functions = load_gently();
        assert!(functions > 20, "{functions} functions");
        assert_eq!(load_gently(), 0, "what is compiled already is not compiled again");
    }
}
