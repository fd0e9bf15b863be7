//! Puts the SDK, the contract and the templates into the library: an installed binary has no checkout to copy them from.
//!
//! Always holds: every file of the SDK is taken, and its manifest names each dependency as the workspace does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let kit = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate lies"));
    let root = kit.ancestors().nth(2).expect("the crate lies two folders below the workspace").to_owned();
    let workspace = Workspace::of(&read(&root.join("Cargo.toml")));
    let mut out = String::new();

    let sdk = root.join("plugins/sdk");
    let mut files = vec![("Cargo.toml".to_owned(), quoted(&workspace.inherited_by(&read(&sdk.join("Cargo.toml")))))];
    add(&sdk, "src", &mut files);
    add(&root, "wit", &mut files);
    table(&mut out, "SDK", "The SDK and the contract.", &files);

    let mut files = Vec::new();
    add(&kit, "templates", &mut files);
    table(&mut out, "TEMPLATES", "The templates.", &files);

    let versions: Vec<_> = workspace.dependencies.iter().map(|(name, value)| (name.clone(), quoted(value))).collect();
    table(&mut out, "REQUIREMENTS", "The workspace's dependencies, as TOML values.", &versions);
    let package: Vec<_> = workspace.package.iter().map(|(name, value)| (name.clone(), quoted(value))).collect();
    table(&mut out, "PACKAGE", "What the workspace says of every crate, as TOML values.", &package);

    let target = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo gives a folder")).join("embedded.rs");
    fs::write(&target, out).expect("cargo's folder can be written");
    for watched in [root.join("Cargo.toml"), sdk.join("Cargo.toml"), kit.join("build.rs")] {
        println!("cargo::rerun-if-changed={}", watched.display());
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// All files below a folder, by their path below `root`.
fn add(root: &Path, folder: &str, files: &mut Vec<(String, String)>) {
    let within = root.join(folder);
    println!("cargo::rerun-if-changed={}", within.display());
    let entries = fs::read_dir(&within).unwrap_or_else(|error| panic!("{}: {error}", within.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a folder can be read").file_name().into_string().expect("names are UTF-8"))
        .collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            add(root, &path, files);
        } else {
            files.push((path.clone(), format!("include_str!({:?})", root.join(&path))));
        }
    }
}

fn table(out: &mut String, name: &str, what: &str, rows: &[(String, String)]) {
    let _ = writeln!(out, "/// {what}\npub(crate) static {name}: &[(&str, &str)] = &[");
    for (key, value) in rows {
        let _ = writeln!(out, "    ({key:?}, {value}),");
    }
    out.push_str("];\n");
}

/// What crates inherit of the workspace: one key a line, as its manifest is written.
struct Workspace {
    package: BTreeMap<String, String>,
    dependencies: BTreeMap<String, String>,
}

impl Workspace {
    fn of(manifest: &str) -> Self {
        let section = |name: &str| {
            let lines = manifest.lines().skip_while(|line| *line != name).skip(1);
            let pairs = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let outside = |(_, value): &(String, String)| !value.contains("path =");
        Self {
            package: section("[workspace.package]"),
            dependencies: section("[workspace.dependencies]").into_iter().filter(outside).collect(),
        }
    }

    /// A manifest that stands without the workspace. The lints are the workspace's business and go.
    fn inherited_by(&self, manifest: &str) -> String {
        let mut out = String::new();
        for line in manifest.lines().take_while(|line| *line != "[lints]") {
            let found = line.strip_suffix(".workspace = true").map(|key| (key, self.package.get(key)));
            let found = found.map(|(key, value)| (key, value.or_else(|| self.dependencies.get(key))));
            let named = line.strip_suffix(" = { workspace = true }").map(|key| (key, self.dependencies.get(key)));
            match found.or(named) {
                Some((key, Some(value))) => drop(writeln!(out, "{key} = {value}")),
                Some((key, None)) => panic!("the workspace says nothing of {key}"),
                None if line.contains("workspace") => panic!("unforeseen: {line}"),
                None => drop(writeln!(out, "{line}")),
            }
        }
        out.trim_end().to_owned() + "\n"
    }
}
