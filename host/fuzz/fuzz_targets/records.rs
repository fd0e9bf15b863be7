//! What stands in the store's keyspaces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ostrakon_store::record::{locator, log, meta, row};

fuzz_target!(|data: &[u8]| {
    let _ = (row::Row::decode(data), row::parse_key(data));
    let _ = (locator::decode(data), locator::object(data));
    let _ = (log::Record::decode(data), log::parse_key(data));
    let _ = (meta::StoreFacts::decode(data), meta::LogStart::decode(data));
    let _ = (meta::decode_map(data), meta::decode_numbers(data));
});
