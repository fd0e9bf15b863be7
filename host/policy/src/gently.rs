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
    let (done, Gently { rests, functions }) = told(work);
    if functions > 0 {
        tracing::debug!(functions, rested_ms = rests.rested().as_millis() as u64, "compiled gently");
    }
    done
}

/// The same, and what came of it.
fn told<T>(work: impl FnOnce() -> T) -> (T, Gently) {
    let begun = || Gently { rests: Rests::of_caller(), functions: 0 };
    GENTLY.set(Some(begun()));
    let done = work();
    (done, GENTLY.take().unwrap_or_else(begun))
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
    fn the_compiler_comes_by_before_each_function_and_only_while_it_is_asked_to() {
        let engine = PolicyEngine::new(Limits::default()).unwrap();
        let load =
            |settings| engine.load(PolicyKind::ShardKey, shipped(PolicyKind::ShardKey).bytes, settings).map(drop);
        let (loaded, Gently { functions, .. }) = told(|| load("{}"));
        loaded.unwrap();
        assert!(functions > 20, "{functions} functions");
        // What is compiled already is not compiled again.
        let (loaded, Gently { functions, .. }) = told(|| load("{}"));
        assert_eq!((loaded.is_ok(), functions), (true, 0));
    }
}
