//! `demo`: the first thing that a newcomer runs.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::run;

#[test]
fn the_demo_takes_too_long_or_its_numbers_do_not_add_up() {
    let begun = Instant::now();
    let ran = run(None, ["demo", "--json"]).exits(0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(60), "it took {took:?}");
    let told = ran.json();
    println!("{told}");
    let number = |path: &str| {
        let found = told.pointer(path).and_then(Value::as_u64);
        found.unwrap_or_else(|| panic!("no number {path}: {told}"))
    };
    let skipped: u64 = told["skipped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let played = number("/reads") + number("/lists") + number("/merges") + number("/deletes");
    assert_eq!(number("/events"), played + skipped);
    assert!(number("/versions") > 0 && number("/conflicts") > 0);
    assert!(number("/objects") > 0 && number("/objects") <= number("/events"));
    assert_eq!(number("/commits/changes"), number("/versions"), "a change that nobody counted");
    assert!(number("/commits/groups") <= number("/commits/changes"));
    let (right, wrong) = (number("/predictions/right"), number("/predictions/wrong"));
    assert!(right + wrong > 0);
    assert!(right + wrong <= number("/write_latency/count"), "more forecasts than writes");
    assert_eq!(number("/predictions/faults"), 0);
    assert!(number("/predictions/aborts-confirmed") <= number("/conflicts"));
    assert!(number("/shards") > 1 && number("/shards") <= number("/shards_of_host"));
    assert_eq!(number("/together/sum"), number("/together/additions"));
    assert_eq!(number("/together/version"), number("/together/additions") + 1);
    assert!(number("/together/verdicts") > 0, "nothing was reconciled");
    assert_eq!(number("/together/told"), number("/together/version"), "who watches is told every version");
    assert_eq!(number("/transfers/sum"), 1_000 * number("/transfers/accounts"));
    assert!(number("/candidates/compared") > 0 && number("/candidates/differ") > 0);
    assert_eq!(number("/candidates/swaps"), 10);
    for kind in ["shard-key", "prediction", "reconciliation"] {
        // The last generation of a policy that is swapped may have come too late to be asked.
        let calls = number(&format!("/policies/{kind}/calls"));
        assert!(calls > 0 || kind == "reconciliation", "the {kind} policy decided nothing");
        assert_eq!(number(&format!("/policies/{kind}/faults")), 0);
    }
    assert!(number("/requests_per_s") > 0);
}

#[test]
fn a_small_demo_says_nothing_to_people() {
    let ran = run(None, ["demo", "--events", "300", "--speed", "max"]).exits(0);
    for word in
        ["conflicts", "predictions", "objects", "shards", "policy shard-key", "together", "transfers", "swapped"]
    {
        assert!(ran.stdout.contains(word), "nothing of {word}: {ran:?}");
    }
}
