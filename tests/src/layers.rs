//! The layers, as `host/docs/ARCHITECTURE.md` draws them, held against the crates; and where files may stand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{MetadataCommand, Package};

use crate::harness::root;

/// Where a crate stands in the map of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Imports only what stands lower.
    Number(u32),
    /// Imports the wire alone, or nothing of ours; where it stands beside a layer, what that may import but the store.
    Beside(Option<u32>),
    /// Imports its own kind alone.
    Apart,
}

/// The topmost layer: what no library is made from.
const TOP: Layer = Layer::Number(5);

/// The crates of the table "Map of the code", as folders.
fn table() -> BTreeMap<String, Layer> {
    let text = fs::read_to_string(root().join("host/docs/ARCHITECTURE.md")).unwrap();
    let section = text.split("## Map of the code").nth(1).expect("the section is there");
    let mut crates = BTreeMap::new();
    for row in section.lines().take_while(|line| !line.starts_with("## ")) {
        let mut cells = row.trim().trim_matches('|').split('|').map(str::trim);
        let (Some(names), Some(layer)) = (cells.next(), cells.next()) else { continue };
        let layer = match layer {
            "apart" => Layer::Apart,
            beside if beside.starts_with("beside") => {
                Layer::Beside(beside.trim_start_matches("beside").trim().parse().ok())
            }
            number => match number.parse() {
                Ok(number) => Layer::Number(number),
                Err(_) => continue,
            },
        };
        for name in names.split(',') {
            crates.insert(name.trim().trim_matches('`').to_owned(), layer);
        }
    }
    crates
}

/// The layer of a crate's folder; `None` for the crates of tests and examples, which nothing is made from.
fn layer_of(table: &BTreeMap<String, Layer>, folder: &str) -> Option<Layer> {
    let parent = folder.split('/').next().unwrap();
    let found = table.get(folder).or_else(|| table.get(&format!("{parent}/*")));
    match (found, parent) {
        (Some(layer), _) => Some(*layer),
        (None, "tests" | "examples") => None,
        (None, _) => panic!("{folder} is not in the map of the code"),
    }
}

fn may_import(from: Layer, folder: &str, to: Layer) -> bool {
    match (from, to) {
        (Layer::Number(from), Layer::Number(to)) => to < from,
        (Layer::Number(_), _) => from == TOP,
        (Layer::Beside(Some(from)), Layer::Number(to)) => to < from && folder != "host/store",
        (Layer::Beside(_), _) => folder == "host/wire",
        (Layer::Apart, to) => to == Layer::Apart,
    }
}

fn folder_of(package: &Package) -> String {
    let folder = package.manifest_path.parent().unwrap().as_std_path();
    let root = root().canonicalize().unwrap();
    let inside = folder.strip_prefix(&root).expect("a member stands in the workspace");
    inside.to_str().unwrap().to_owned()
}

#[test]
fn a_crate_imports_against_the_layers() {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let table = table();
    let folders: BTreeMap<_, _> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| (package.name.to_string(), folder_of(package)))
        .collect();
    for (folder, layer) in &table {
        let there = folder.ends_with("/*") || folders.values().any(|member| member == folder);
        assert!(there, "{folder} ({layer:?}) is in the map of the code and nowhere else");
    }
    let mut imports = 0;
    for package in metadata.workspace_packages() {
        let from = &folders[package.name.as_str()];
        let Some(layer) = layer_of(&table, from) else { continue };
        // What a crate is tested with counts too: the engine is to be tested without a compiler for policies.
        for to in package.dependencies.iter().filter_map(|import| folders.get(&import.name)) {
            let target = layer_of(&table, to).unwrap_or_else(|| panic!("{from} imports {to}"));
            assert!(may_import(layer, to, target), "{from} ({layer:?}) imports {to} ({target:?})");
            imports += 1;
        }
    }
    assert!(imports > 20, "only {imports} imports were looked at");
}

/// Every Rust file outside `target` and hidden folders.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            rust_files(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

#[test]
fn a_file_is_too_long_to_hold_one_concept() {
    const LINES_MAX: usize = 700;
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(files.len() > 100);
    let long: Vec<_> = files
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn something_stands_at_the_top_that_does_not_belong_there() {
    let allowed = ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "host", "plugins", "wit", "tests", "examples"];
    let strangers: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target" && !allowed.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
