//! What is read of a data folder before it is trusted: journals, the roster of keyspaces, lists of tables, the mark of
//! what was acknowledged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ostrakon_store::fuzzed;

fuzz_target!(|data: &[u8]| {
    fuzzed::journal(data);
    fuzzed::roster(data);
    fuzzed::tables(data);
    fuzzed::mark(data);
});
