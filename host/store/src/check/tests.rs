//! Each kind of disagreement, planted into a folder that was sound.

use std::path::PathBuf;

use fjall::{Keyspace, KeyspaceCreateOptions};
use ostrakon_wire::bounds::CHECK_FINDINGS_MAX;
use ostrakon_wire::{ActionId, ActionKind, LogId, ObjectId, Payload, Revision, ShardKey, TimestampMs, Version};

use super::{CheckReport, check};
use crate::keyspaces::shard_name;
use crate::open::folder::{claim_folder, open_database};
use crate::record::locator::{ObjectNumber, Place};
use crate::record::log::Identity;
use crate::record::{locator, log, meta, row};
use crate::tests::put;
use crate::{OpenError, StoreConfig};

/// A sound folder: object `a` in versions 1 to 3, `b` in versions 1 and 2, the second a tombstone.
struct Planted {
    folder: tempfile::TempDir,
}

/// What stands for an object.
struct Stands {
    rows: Keyspace,
    place: Place,
}

fn object(name: &str) -> ObjectId {
    ObjectId::new("acme", "volume", name).unwrap()
}

fn revision(number: u64) -> Revision {
    Revision::new(number)
}

impl Planted {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig::new(folder.path().join("data"), LogId::new(7));
        put(
            &config,
            &[("a", 1, Some("x")), ("b", 1, Some("x")), ("a", 2, Some("x")), ("b", 2, None), ("a", 3, Some("x"))],
        );
        let planted = Self { folder };
        // However the groups fell: a record a change.
        planted.damage(|keyspace, stands| {
            let keys = ["a", "b"].map(|name| stands(name).place.shard_key);
            for (at, name, version) in [(1, "a", 1), (2, "b", 1), (3, "a", 2), (4, "b", 2), (5, "a", 3)] {
                let key = keys[usize::from(name == "b")];
                keyspace("log").insert(log::key(revision(at)), record(name, key, version, at.into(), at == 4)).unwrap();
            }
        });
        planted
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Opens the folder past everything that holds it together, does damage, and checks what is left.
    #[track_caller]
    fn damage<T>(&self, damage: impl FnOnce(&dyn Fn(&str) -> Keyspace, &dyn Fn(&str) -> Stands) -> T) -> CheckReport {
        let database = open_database(&self.path()).unwrap();
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default).unwrap();
        let map = meta::decode_map(&keyspace("meta").get(meta::MAP_KEY).unwrap().unwrap()).unwrap();
        let stands = |name: &str| {
            let (place, _) =
                locator::decode(&keyspace("locator").get(locator::key(&object(name))).unwrap().unwrap()).unwrap();
            Stands { rows: keyspace(&shard_name(map.shard_of(place.shard_key))), place }
        };
        damage(&keyspace, &stands);
        drop(database);
        check(&self.path()).unwrap()
    }
}

/// A row as the tests' folder would hold it.
fn row(name: &str, at: u64, id: u128, payload: Option<&str>) -> Vec<u8> {
    let payload = payload.map(|text| Payload::bytes(text.as_bytes().to_vec()).unwrap());
    let mut value = Vec::new();
    let made = row::Made {
        revision: revision(at),
        timestamp: TimestampMs::new(5),
        committed: TimestampMs::new(5),
        action_id: Some(ActionId::from_bits(id << 80)),
        kind: Some(ActionKind::Put),
        by: None,
        object: &object(name),
        payload: payload.as_ref(),
    };
    row::encode(&mut value, &made);
    value
}

/// A log record of one change.
fn record(name: &str, key: ShardKey, version: u64, id: u128, tombstone: bool) -> Vec<u8> {
    let mut builder = log::Builder::with_capacity(TimestampMs::new(5), 1);
    let identity = Some(Identity { id: ActionId::from_bits(id << 80), intent: 1 });
    builder.push(&log::Told {
        object: &object(name),
        shard_key: key,
        version: Version::new(version),
        kind: ActionKind::Put,
        tombstone,
        identity,
        outcome: log::Outcome::Made,
        note: &[],
        joined: false,
    });
    builder.finish()
}

#[track_caller]
fn holds(report: &CheckReport, kinds: &[&str]) {
    let found: Vec<_> = report.findings.iter().map(super::Finding::kind).collect();
    assert_eq!(found, kinds, "{:#?}", report.findings);
    assert_eq!(report.findings_total, kinds.len() as u64);
}

#[test]
fn a_sound_folder_has_findings() {
    let report = check(&Planted::new().path()).unwrap();
    holds(&report, &[]);
    let CheckReport { objects, rows, log_records, changes, action_ids, short_histories, .. } = report;
    assert_eq!((objects, rows, log_records, changes, action_ids, short_histories), (2, 5, 5, 5, 5, 0));
}

#[test]
fn a_folder_that_no_host_made_is_made_by_a_check() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(check(&folder.path().join("none")), Err(OpenError::NoStore { .. })));
    assert!(matches!(check(folder.path()), Err(OpenError::NoStore { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_host_that_uses_the_folder_goes_unnoticed() {
    let planted = Planted::new();
    let _lock = claim_folder(&planted.path()).unwrap();
    assert!(matches!(check(&planted.path()), Err(OpenError::InUse { .. })));
}

#[test]
fn a_locator_that_leads_nowhere_goes_unnoticed() {
    let report = Planted::new().damage(|_, stands| {
        let Stands { rows, place } = stands("b");
        for version in [1, 2] {
            rows.remove(row::key(place, Version::new(version))).unwrap();
        }
    });
    holds(&report, &["no-row", "change-without-row", "change-without-row"]);
}

#[test]
fn a_row_without_a_locator_goes_unnoticed() {
    let report = Planted::new().damage(|keyspace, _| keyspace("locator").remove(locator::key(&object("b"))).unwrap());
    holds(&report, &["no-locator", "no-locator", "change-without-row", "change-without-row"]);
}

#[test]
fn a_row_that_its_locator_does_not_lead_to_goes_unnoticed() {
    let planted = Planted::new();
    let other = |place: Place| Place { number: ObjectNumber::new(99).unwrap(), ..place };
    let report = planted.damage(|_, stands| {
        let Stands { rows, place } = stands("a");
        rows.insert(row::key(other(place), Version::new(4)), row("a", 6, 6, Some("x"))).unwrap();
    });
    holds(&report, &["other-place"]);
    let report = planted.damage(|_, stands| {
        let Stands { rows, place } = stands("a");
        rows.remove(row::key(other(place), Version::new(4))).unwrap();
        rows.insert(row::key(other(place), Version::new(2)), row("a", 3, 3, Some("x"))).unwrap();
    });
    holds(&report, &["version-twice"]);
}

#[test]
fn a_version_that_is_gone_goes_unnoticed() {
    for (gone, kinds) in [(1, &[][..]), (2, &["version-gap", "change-without-row"]), (3, &["change-without-row"])] {
        let report = Planted::new().damage(|_, stands| {
            let Stands { rows, place } = stands("a");
            rows.remove(row::key(place, Version::new(gone))).unwrap();
        });
        holds(&report, kinds);
        // History may have kept less when it left, which is told and no fault.
        assert_eq!(report.short_histories, u64::from(gone == 1));
    }
}

#[test]
fn a_number_that_stands_for_two_objects_goes_unnoticed() {
    let planted = Planted::new();
    let report = planted.damage(|keyspace, stands| {
        let place = stands("a").place;
        keyspace("locator").insert(locator::key(&object("c")), locator::encode(place, Version::new(1))).unwrap();
    });
    assert!(report.findings.iter().any(|finding| finding.kind() == "number-twice"), "{report:#?}");
    let report = planted.damage(|keyspace, stands| {
        keyspace("locator").remove(locator::key(&object("c"))).unwrap();
        let Stands { rows, place } = stands("a");
        rows.insert(row::key(place, Version::new(4)), row("b", 6, 6, Some("x"))).unwrap();
    });
    assert!(report.findings.iter().any(|finding| finding.kind() == "number-twice"), "{report:#?}");
}

#[test]
fn a_number_that_may_be_given_out_again_goes_unnoticed() {
    let report = Planted::new().damage(|keyspace, stands| {
        let number = stands("b").place.number.get();
        keyspace("meta").insert(meta::NUMBERS_KEY, meta::encode_numbers(number)).unwrap();
    });
    holds(&report, &["number-not-given"]);
}

#[test]
fn a_row_in_another_shard_than_its_own_goes_unnoticed() {
    let report = Planted::new().damage(|keyspace, stands| {
        let Stands { rows, place } = stands("b");
        let key = row::key(place, Version::new(2));
        let value = rows.get(key).unwrap().unwrap();
        rows.remove(key).unwrap();
        let mut others = (0..2).map(|shard| shard_name(ostrakon_wire::ShardId::new(shard)));
        let other = others.find(|name| name.as_str() != &**rows.name()).unwrap();
        keyspace(&other).insert(key, value).unwrap();
    });
    // What a shard has given away may still be in it; what stands nowhere else is missing.
    holds(&report, &["change-without-row"]);
    assert_eq!(report.left_rows, 1);
}

#[test]
fn a_hole_in_the_log_goes_unnoticed() {
    let report = Planted::new().damage(|keyspace, _| keyspace("log").remove(log::key(revision(3))).unwrap());
    holds(&report, &["log-hole", "row-without-change"]);
    let report = Planted::new().damage(|keyspace, _| keyspace("log").remove(log::key(revision(5))).unwrap());
    holds(&report, &["log-short", "row-without-change"]);
}

#[test]
fn a_log_that_tells_of_another_change_than_the_row_goes_unnoticed() {
    // Revision 5 is version 3 of `a`, by id 5, no tombstone.
    type Told = fn(ShardKey) -> Vec<u8>;
    let other_key = |key: ShardKey| ShardKey::new(key.get() ^ 1);
    let cases: [(Told, &str); 4] = [
        (|key| record("a", key, 4, 5, false), "the version"),
        (|key| record("a", key, 3, 6, false), "the action id"),
        (|key| record("a", key, 3, 5, true), "whether it is a tombstone"),
        (|key| record("b", key, 3, 5, false), "the object"),
    ];
    for (told, what) in cases {
        let report = Planted::new().damage(|keyspace, stands| {
            keyspace("log").insert(log::key(revision(5)), told(stands("a").place.shard_key)).unwrap();
        });
        holds(&report, &["differs"]);
        assert!(report.findings[0].to_string().ends_with(what), "{}", report.findings[0]);
    }
    let report = Planted::new().damage(|keyspace, stands| {
        let key = other_key(stands("a").place.shard_key);
        keyspace("log").insert(log::key(revision(5)), record("a", key, 3, 5, false)).unwrap();
    });
    holds(&report, &["differs"]);
}

#[test]
fn two_rows_of_one_revision_go_unnoticed() {
    let report = Planted::new().damage(|_, stands| {
        let Stands { rows, place } = stands("a");
        rows.insert(row::key(place, Version::new(3)), row("a", 3, 3, Some("x"))).unwrap();
    });
    holds(&report, &["differs", "differs", "change-without-row"]);
}

#[test]
fn an_action_id_with_two_effects_goes_unnoticed() {
    let report = Planted::new().damage(|keyspace, stands| {
        let Stands { rows, place } = stands("a");
        rows.insert(row::key(place, Version::new(4)), row("a", 6, 5, Some("x"))).unwrap();
        keyspace("log").insert(log::key(revision(6)), record("a", place.shard_key, 4, 5, false)).unwrap();
    });
    holds(&report, &["id-twice"]);
}

#[test]
fn a_damaged_record_ends_the_check_or_goes_unnoticed() {
    let report = Planted::new().damage(|keyspace, stands| {
        let Stands { rows, place } = stands("a");
        rows.insert(row::key(place, Version::new(3)), "?").unwrap();
        keyspace("locator").insert("?", "?").unwrap();
    });
    // The change of the row that cannot be read has no row.
    holds(&report, &["damaged", "damaged", "change-without-row"]);
}

#[test]
fn findings_without_end_are_all_kept() {
    let report = Planted::new().damage(|keyspace, _| {
        for key in 0..2 * CHECK_FINDINGS_MAX as u32 {
            keyspace("locator").insert(key.to_be_bytes(), "?").unwrap();
        }
    });
    assert_eq!(report.findings.len(), CHECK_FINDINGS_MAX);
    assert_eq!(report.findings_total, 2 * CHECK_FINDINGS_MAX as u64);
}

#[test]
fn the_part_of_the_log_that_was_dropped_is_missed() {
    let report = Planted::new().damage(|keyspace, _| {
        for at in 1..=2 {
            keyspace("log").remove(log::key(revision(at))).unwrap();
        }
        let start = meta::LogStart { first: revision(3), ids_from: revision(3), ..meta::LogStart::default() };
        keyspace("meta").insert(meta::FLOORS_KEY, start.encode()).unwrap();
    });
    holds(&report, &[]);
}
