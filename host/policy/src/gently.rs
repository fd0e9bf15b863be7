//! Compiling beside requests: whoever compiles rests between two functions while others want a processor.

use std::borrow::Cow;
use std::cell::RefCell;

use ostrakon_background::Rests;
use wasmtime::CacheStore;

thread_local! {
    /// How the thread rests that compiles gently.
    static RESTS: RefCell<Option<Rests>> = const { RefCell::new(None) };
}

/// Does some work; what it compiles, it compiles gently.
pub(crate) fn gently<T>(work: impl FnOnce() -> T) -> T {
    RESTS.set(Some(Rests::of_caller()));
    let done = work();
    RESTS.set(None);
    done
}

/// The compiler asks before each function, on the thread that compiles, whether it was compiled before. None is kept: that it
/// asks is what counts.
#[derive(Debug)]
pub(crate) struct BetweenFunctions;

impl CacheStore for BetweenFunctions {
    fn get(&self, _key: &[u8]) -> Option<Cow<'_, [u8]>> {
        RESTS.with_borrow_mut(|rests| rests.iter_mut().for_each(Rests::rest));
        None
    }

    fn insert(&self, _key: &[u8], _value: Vec<u8>) -> bool {
        false
    }
}
