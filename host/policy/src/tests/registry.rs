//! What a registry remembers, over many changes, trials that end badly, and restarts.

use std::path::Path;
use std::time::{Duration, Instant};

use ostrakon_core::policy::Placing;
use ostrakon_wire::value::Value;
use ostrakon_wire::{ChangePolicy, Generation, PolicyChange, PolicyKind, ReadPolicies, Slot, Stage, UploadComponent};

use super::calls::{limits, placing};
use crate::hex::hex;
use crate::testing::{Recipe, snippets};
use crate::{ChangeError, PolicyEngine, Registry, RegistryConfig, UploadError};

const KIND: PolicyKind = PolicyKind::ShardKey;

fn open(folder: &Path) -> Registry {
    let engine = PolicyEngine::new(limits()).unwrap();
    let config = RegistryConfig {
        path: folder.to_owned(),
        given: Vec::new(),
        watched: None,
        recording: None,
        now_ms: || 1_700_000_000_000,
    };
    Registry::open(engine, config).unwrap()
}

fn slot() -> Slot {
    Slot::default_of(KIND)
}

/// A policy that works but for one data type.
fn traps() -> Vec<u8> {
    Recipe::new(KIND).triggered(snippets::TRAP).build()
}

fn works() -> Vec<u8> {
    Recipe::new(KIND).build()
}

/// The generation that answers a client.
fn asks(registry: &Registry, client: &str, data_type: &str) -> u64 {
    let decision = registry.shard_key().place(&Placing { client, ..placing(data_type) });
    decision.result.unwrap();
    decision.generation.get()
}

fn change(registry: &Registry, slot: Slot, change: PolicyChange) -> Result<(), ChangeError> {
    registry.change(&ChangePolicy { slot, change }, None).map(drop)
}

/// Waits until it is written down that so many generations were given up.
fn given_up(registry: &Registry, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let told = registry.read(&ReadPolicies::History { slot: None, limit: 200 }).unwrap();
        let Value::Array(events) = &told["events"] else { panic!("a list") };
        let is_it = |event: &&Value| matches!(event, Value::Map(of) if of["event"] == Value::Text("given-up".into()));
        if events.iter().filter(is_it).count() >= times {
            return;
        }
        assert!(Instant::now() < deadline, "{events:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_last_good_generation_is_forgotten_after_many_that_nobody_asked() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    assert_eq!(asks(&registry, "acme", "volume"), 1);
    for n in 0..40 {
        registry.put(&slot(), &works(), &format!("{{\"n\":{n}}}"), Stage::Serve).unwrap();
    }
    let bad = registry.put(&slot(), &traps(), "{}", Stage::Serve).unwrap();
    assert_eq!(bad, Generation::new(42));
    // The ones between were never asked: nobody knows whether they are any good.
    assert_eq!(asks(&registry, "acme", "hostile"), 1);
    given_up(&registry, 1);
    drop(registry);
    let registry = open(folder.path());
    assert_eq!(asks(&registry, "acme", "hostile"), 1);
    change(&registry, slot(), PolicyChange::Activate(Generation::new(41))).unwrap();
    assert_eq!(asks(&registry, "acme", "hostile"), 41);
    let gone = change(&registry, slot(), PolicyChange::Activate(Generation::new(3)));
    assert!(matches!(gone, Err(ChangeError::Unknown(_))), "{gone:?}");
}

#[test]
fn activating_what_decides_takes_its_guard_away() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    asks(&registry, "acme", "volume");
    let bad = registry.put(&slot(), &traps(), "{}", Stage::Serve).unwrap();
    assert_eq!(asks(&registry, "acme", "volume"), bad.get());
    change(&registry, slot(), PolicyChange::Activate(bad)).unwrap();
    assert_eq!(asks(&registry, "acme", "hostile"), 1);
    given_up(&registry, 1);
}

#[test]
fn an_override_goes_on_with_a_generation_on_trial_and_without_a_guard() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    asks(&registry, "acme", "volume");
    let bad = registry.put(&slot(), &traps(), "{}", Stage::Serve).unwrap();
    let acme = Slot { client: Some("acme".into()), ..slot() };
    registry.put(&acme, &works(), "{}", Stage::Shadow(1_000_000)).unwrap();
    assert_eq!(asks(&registry, "acme", "volume"), bad.get());
    assert_eq!(asks(&registry, "acme", "hostile"), 1);
    given_up(&registry, 1);
    assert_eq!(asks(&registry, "other", "hostile"), 1);
    given_up(&registry, 2);
    drop(registry);
    let registry = open(folder.path());
    assert_eq!((asks(&registry, "acme", "hostile"), asks(&registry, "other", "hostile")), (1, 1));
}

#[test]
fn a_component_that_was_damaged_cannot_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let first = registry.put(&slot(), &works(), "{}", Stage::Serve).unwrap();
    drop(registry);
    let components = std::fs::read_dir(folder.path().join("components")).unwrap();
    for component in components.map(|entry| entry.unwrap().path()) {
        let length = std::fs::metadata(&component).unwrap().len() as usize;
        std::fs::write(component, vec![7; length]).unwrap();
    }
    let registry = open(folder.path());
    assert_eq!(asks(&registry, "acme", "volume"), 1, "the shipped one");
    let again = registry.put(&slot(), &works(), "{}", Stage::Serve).unwrap();
    assert!(again > first);
    drop(registry);
    assert_eq!(asks(&open(folder.path()), "acme", "volume"), again.get());
}

#[test]
fn a_host_that_ended_before_an_upload_was_whole_believes_that_it_is() {
    use sha2::Digest as _;
    let folder = tempfile::tempdir().unwrap();
    let registry = open(folder.path());
    let component = works();
    let digest: [u8; 32] = sha2::Sha256::digest(&component).into();
    let size = component.len() as u64;
    let part = folder.path().join("uploads").join(format!("{}.part", hex(&digest)));
    let ask = || registry.upload(&UploadComponent { digest, size, offset: 0, part: Vec::new().into() });
    let mut damaged = component.clone();
    damaged[0] ^= 1;
    std::fs::write(&part, damaged).unwrap();
    assert!(matches!(ask(), Err(UploadError::OtherDigest)));
    assert_eq!(ask().unwrap(), 0, "it is to be sent again");
    std::fs::write(&part, &component).unwrap();
    assert_eq!(ask().unwrap(), size);
    let push = PolicyChange::Push { digest: Some(digest), settings: None, stage: Stage::Serve, slow_us: None };
    change(&registry, slot(), push).unwrap();
    assert_eq!(asks(&registry, "acme", "volume"), 2);
}

#[test]
fn a_history_that_is_no_text_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let file = folder.path().join("history.jsonl");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend(b"{\"at_ms\":1,\"why\":\"\xc3");
    std::fs::write(&file, bytes).unwrap();
    let told = open(folder.path()).read(&ReadPolicies::History { slot: None, limit: 200 }).unwrap();
    assert!(matches!(&told["events"], Value::Array(events) if events.len() == 3), "{told:?}");
}
