//! What stands in the store's keyspaces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ostrakon_store::record::migration::{Migration, RUNNING_PREFIX, key_of};
use ostrakon_store::record::{case, locator, log, meta, row};

fuzz_target!(|data: &[u8]| {
    let _ = (row::Row::decode(data), row::parse_key(data));
    let _ = (locator::decode(data), locator::object(data));
    let _ = (log::Record::decode(data), log::parse_key(data));
    let _ = (meta::StoreFacts::decode(data), meta::LogStart::decode(data));
    let _ = (meta::decode_map(data), meta::decode_numbers(data));
    let _ = (meta::Retention::decode(data), meta::Forgotten::decode(data));
    if let Ok(ticket) = case::Ticket::decode(data) {
        assert_eq!(case::Ticket::decode(&ticket.encode()), Ok(ticket));
    }
    if let Ok(escalation) = case::Escalation::decode(data) {
        assert_eq!(case::Escalation::decode(&escalation.encode()), Ok(escalation));
    }
    let _ = case::parse_escalation_key(data);
    let key = key_of(RUNNING_PREFIX, 5);
    if let Ok(migration) = Migration::decode(&key, data) {
        assert_eq!(migration.encode(), data);
    }
    let _ = Migration::decode(data, data);
});
