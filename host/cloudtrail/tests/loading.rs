//! Files in, ordered events or a named error out.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use ostrakon_cloudtrail::{load, load_with};

fn record(time: &str, name: &str) -> String {
    format!(r#"{{"eventTime":"2023-07-10T11:42:{time}Z","eventSource":"s3.amazonaws.com","eventName":"{name}"}}"#)
}

fn records(records: &[String]) -> String {
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = load(paths).unwrap().into_iter().map(|event| event.name).collect();
    names.join(" ")
}

/// The error of loading one file or folder, with the path taken off.
fn error(path: &Path) -> String {
    let text = load(&[path.to_owned()]).unwrap_err().to_string();
    text.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
}

#[test]
fn a_folder_is_read_to_its_depth_by_path_and_only_its_trails() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "b.json", records(&[record("01", "B")]));
    write(at, "a/2.json.gz", gzip(&records(&[record("01", "A2")])));
    write(at, "a/1.json", records(&[record("01", "A1")]));
    write(at, "a/deep/er/x.json", records(&[record("01", "X")]));
    write(at, "README.txt", "not a trail");
    write(at, "c.gz", "not one either");
    assert_eq!(names(&[at.to_owned()]), "A1 A2 X B");
}

#[test]
fn order_is_by_time_then_argument_then_place() {
    let folder = tempfile::tempdir().unwrap();
    let z = write(folder.path(), "z.json", records(&[record("02", "Z1"), record("01", "Z2"), record("01", "Z3")]));
    let a = write(folder.path(), "a.json", records(&[record("01.5", "A1"), record("01", "A2"), record("00", "A3")]));
    assert_eq!(names(&[z.clone(), a.clone()]), "A3 Z2 Z3 A2 A1 Z1");
    assert_eq!(names(&[a, z]), "A3 A2 Z2 Z3 A1 Z1");
}

#[test]
fn a_bad_file_is_refused_by_name_record_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let bad = |name: &str, bytes: &[u8]| error(&write(folder.path(), name, bytes));
    assert!(bad("a.json", b"{").starts_with("not JSON: EOF"));
    assert!(bad("b.json", b"\xff").starts_with("not JSON"));
    assert!(bad("c.json", b"{\"Records\":[{\"f\":1e999}]}").starts_with("not JSON: number out of range"));
    assert!(bad("deep.json", "[".repeat(100_000).as_bytes()).starts_with("not JSON: recursion limit"));
    for json in ["[]", "{}", r#"{"Records":{}}"#, "7"] {
        assert_eq!(bad("d.json", json.as_bytes()), "no \"Records\" array");
    }
    let second_bad = records(&[record("01", "A"), "{\"eventTime\":1}".to_owned()]);
    assert_eq!(bad("e.json", second_bad.as_bytes()), "record 1: eventTime is not a text");
    let nameless = records(&[record("01", "")]);
    assert_eq!(bad("f.json", nameless.as_bytes()), "record 0: it has no eventName");
    let whole = gzip(&records(&[record("01", "A")]));
    assert!(bad("g.json.gz", &whole[..whole.len() - 9]).starts_with("damaged gzip data"));
    assert!(bad("h.json.gz", b"{}").starts_with("damaged gzip data"));
    assert_eq!(bad("i.txt", b"{}"), "not a .json or .json.gz file");
    assert!(error(&folder.path().join("none.json")).contains("No such file"));
}

#[test]
fn a_folder_without_a_trail_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    assert_eq!(error(folder.path()), "no .json or .json.gz file in this folder");
}

#[test]
fn a_file_without_events_is_none_and_progress_tells_every_file() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.json", records(&[]));
    write(folder.path(), "b.json", records(&[record("01", "B"), record("02", "C")]));
    let mut told = Vec::new();
    let events = load_with(&[folder.path().to_owned()], |progress| {
        told.push((progress.files_done, progress.files, progress.events));
    });
    assert_eq!(events.unwrap().len(), 2);
    assert_eq!(told, [(1, 2, 0), (2, 2, 2)]);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_back_does_not_loop() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.json", records(&[record("01", "A")]));
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
    assert_eq!(names(&[folder.path().to_owned()]), "A");
}
