//! What holds for any JSON, for made-up traffic, and for a real trace where one is at hand.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use ostrakon_cloudtrail::{ClientBy, Event, Options, Play, What, bounds, generate, load, map, sample, tally};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn text() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "Id",
        "name",
        "aRN",
        "volumeId",
        "DBÜs",
        "20150331v2",
        "CreateVolume",
        "arn:aws:s3:::x",
        "arn:aws:iam::1:role/a/b",
        "arn:aws:logs:::a:*",
        "arn:aws:x:::/",
        "arn:aws:x:::a:",
        "tagSet",
        "v",
        "_",
        "DeleteRolePolicy",
        "",
    ];
    prop_oneof![proptest::sample::select(KNOWN).prop_map(str::to_owned), any::<String>()]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..5).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

fn plays(events: &[Event], client_by: ClientBy) -> Vec<Play> {
    events.iter().map(|event| map(event, &Options { client_by })).collect()
}

/// Checks what always holds of a play.
fn check(play: &Play) {
    assert_eq!(play.action_id >> 80, u128::from(play.unix_ms));
    if let Some(object) = play.object() {
        for (id, bytes_max) in [
            (&object.client, bounds::CLIENT_BYTES_MAX),
            (&object.data_type, bounds::TYPE_BYTES_MAX),
            (&object.name, bounds::NAME_BYTES_MAX),
        ] {
            assert!(!id.is_empty() && id.len() <= bytes_max && !id.bytes().any(|byte| byte < 32 || byte == 127));
        }
    }
    if let What::Merge { patch, .. } = &play.what {
        assert!(patch.to_string().len() < bounds::PAYLOAD_BYTES_MAX);
    }
}

proptest! {
    #[test]
    fn no_record_makes_it_panic(record in any_json()) {
        drop(Event::from_record(record));
    }

    #[test]
    fn every_event_maps_within_the_bounds(
        (source, name, id) in (text(), text(), text()),
        (request, response) in (any_json(), any_json()),
        arn in text(),
        read_only in any::<Option<bool>>(),
    ) {
        let record = json!({
            "eventTime": "2023-07-10T11:42:36Z", "eventSource": source, "eventName": name, "eventID": id,
            "recipientAccountId": "1", "readOnly": read_only, "resources": [{"ARN": arn}],
            "requestParameters": request, "responseElements": response,
        });
        if let Ok(event) = Event::from_record(record) {
            check(&map(&event, &Options::default()));
        }
    }

    #[test]
    fn made_up_traffic_is_the_same_for_the_same_seed(seed: u64, events in 0usize..200) {
        let records = generate(seed, events);
        prop_assert_eq!(records.len(), events);
        prop_assert_eq!(json!(records).to_string(), json!(generate(seed, events)).to_string());
    }
}

#[test]
fn made_up_traffic_holds_everything_that_a_demo_shows() {
    let events = sample(7, 2000);
    assert!(events.is_sorted_by_key(Event::unix_ms));
    let span_s = (events[1999].unix_ms() - events[0].unix_ms()) / 1000;
    assert!((120..600).contains(&span_s), "{span_s}");
    let plays = plays(&events, ClientBy::Account);
    plays.iter().for_each(check);
    let tally = tally(&plays);
    assert_eq!(tally.events, 2000);
    assert!(tally.skipped.is_empty(), "{tally:?}");
    assert!(tally.merges > 500 && tally.reads > 500 && tally.lists > 40 && tally.deletes > 40, "{tally:?}");
    assert!(events.iter().any(|event| event.error_code.is_some()));
    let ids: std::collections::HashSet<u128> = plays.iter().map(|play| play.action_id).collect();
    assert_eq!(ids.len(), plays.len());
    let contended = plays.chunk_by(|a, b| a.second == b.second).filter(|second| {
        let writes = second.iter().filter(|play| play.is_write());
        let pairs: Vec<_> = writes.map(|play| (play.object(), &play.principal)).collect();
        pairs.iter().any(|(object, by)| pairs.iter().any(|(other, other_by)| object == other && by != other_by))
    });
    assert!(contended.count() > 50);
}

#[test]
fn another_seed_makes_other_traffic() {
    assert_ne!(generate(1, 50), generate(2, 50));
}

#[test]
fn a_real_trace_maps_as_an_independent_reading_of_the_rules_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/traces/cloudtrail");
    if !folder.is_dir() {
        println!("skipped: no real trace beside the workspace");
        return;
    }
    let events = load(&[folder]).unwrap();
    let by_account = plays(&events, ClientBy::Account);
    by_account.iter().for_each(check);
    let counted = |objects| {
        json!({
            "events": 2122, "reads": 1110, "lists": 678, "merges": 227, "deletes": 84,
            "skipped": {"no-resource": 23}, "objects": objects,
        })
    };
    assert_eq!(json!(tally(&by_account)), counted(277));
    assert_eq!(json!(tally(&plays(&events, ClientBy::Principal))), counted(298));
}
