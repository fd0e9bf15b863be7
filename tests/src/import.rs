//! `import cloudtrail`: the numbers are those of the trace, and a second import changes nothing.

use std::path::{Path, PathBuf};

use ostrakon_cloudtrail::{Options, Tally, generate, load, map, tally};
use serde_json::{Value, json};

use crate::harness::{Folder, Host, root, run};

fn tally_of(paths: &[PathBuf]) -> Tally {
    let events = load(paths).unwrap();
    let plays: Vec<_> = events.iter().map(|event| map(event, &Options::default())).collect();
    tally(&plays)
}

fn import(host: &Host, paths: &[PathBuf], more: &[&str]) -> Value {
    let mut args: Vec<&str> = vec!["import", "cloudtrail", "--json"];
    args.extend(paths.iter().map(|path| path.to_str().unwrap()));
    args.extend(more);
    run(Some(host.data()), args).exits(0).json()
}

fn revision(host: &Host) -> u64 {
    let info = run(Some(host.data()), ["info", "--json"]).exits(0).json();
    info["revision"].as_u64().unwrap()
}

fn number(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {summary}"))
}

/// Holds a summary to the tally of its trace.
fn agrees(summary: &Value, tally: &Tally) {
    let expected = json!(tally);
    for name in ["events", "reads", "lists", "merges", "deletes", "skipped", "objects"] {
        assert_eq!(summary[name], expected[name], "{name}");
    }
}

/// Imports twice; the second time nothing may change.
fn check(paths: &[PathBuf]) {
    let folder = Folder::new();
    let host = folder.serve();
    let tally = tally_of(paths);
    let first = import(&host, paths, &[]);
    println!("{first}");
    agrees(&first, &tally);
    let (versions, stands) = (number(&first, "versions"), revision(&host));
    assert_eq!(versions, stands, "every commit is a version that somebody counted");
    assert!(versions > 0 && versions <= tally.merges + tally.deletes, "{versions} of {tally:?}");
    assert!(number(&first, "shards") >= 1);
    assert_eq!((number(&first, "repeated"), number(&first, "expired")), (0, 0));
    let second = import(&host, paths, &[]);
    println!("{second}");
    agrees(&second, &tally);
    assert_eq!(revision(&host), stands, "a second import changed something");
    assert_eq!(number(&second, "versions"), 0);
    // A delete that found nothing the first time is done before, too, where the object was made after it.
    assert!(number(&second, "repeated") >= versions, "something was forgotten");
    let anew = import(&host, paths, &["--new-ids"]);
    assert_eq!(number(&anew, "versions"), revision(&host) - stands);
    assert!(number(&anew, "versions") > 0);
}

fn write(path: &Path, records: &[Value]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, json!({ "Records": records }).to_string()).unwrap();
}

/// A trace in several files: a folder in a folder, and one that is named by itself.
fn made_up(folder: &Folder, seed: u64) -> Vec<PathBuf> {
    println!("seed {seed}");
    let records = generate(seed, 2_500);
    let (trail, last) = (folder.beside("trail"), folder.beside("last.json"));
    write(&trail.join("a.json"), &records[..900]);
    write(&trail.join("2024/05/b.json"), &records[900..1_700]);
    write(&last, &records[1_700..]);
    vec![trail, last]
}

#[test]
fn a_second_import_changes_something_or_miscounts() {
    let folder = Folder::new();
    let paths = made_up(&folder, 20_240_513);
    check(&paths);
}

#[test]
fn traffic_that_contends_is_imported_without_a_conflict() {
    let folder = Folder::new();
    let paths = made_up(&folder, 11);
    let host = folder.serve();
    let summary = import(&host, &paths, &[]);
    assert!(number(&summary, "conflicts") > 0, "{summary}");
    assert!(number(&summary, "shards") > 1, "{summary}");
}

#[test]
fn a_bad_file_is_passed_over() {
    let folder = Folder::new();
    let mut paths = made_up(&folder, 3);
    let bad = folder.beside("trail/2024/06/bad.json");
    write(&bad, &[json!({ "eventName": "no more than that" })]);
    let host = folder.serve();
    let refused = |paths: &[PathBuf], named: &Path| {
        let args = ["import", "cloudtrail"].map(PathBuf::from);
        let ran = run(Some(host.data()), args.iter().chain(paths)).exits(1);
        assert!(ran.stderr.contains(named.to_str().unwrap()), "{ran:?}");
    };
    refused(&paths, &bad);
    std::fs::write(&bad, "{\"Records\":[").unwrap();
    refused(&paths, &bad);
    std::fs::remove_file(&bad).unwrap();
    let missing = folder.beside("no-such-file.json");
    paths.push(missing.clone());
    refused(&paths, &missing);
    assert_eq!(revision(&host), 0, "something was played before all files had been read");
}

#[test]
fn a_real_trace_is_imported_in_another_way() {
    let trace = root().join("../shared/traces/cloudtrail");
    if !trace.is_dir() {
        println!("skipped: {} is not there", trace.display());
        return;
    }
    check(&[trace]);
}
