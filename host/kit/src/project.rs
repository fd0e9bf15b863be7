//! A new project for a policy: a crate that builds and is tested without a checkout, with the SDK beside it.
//!
//! Always holds: nothing that stood there before is touched; what is written is written into one folder.

mod name;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ostrakon_wire::PolicyKind;

use crate::embedded::{PACKAGE, REQUIREMENTS, SDK, TEMPLATES, value};

pub use name::{InvalidName, ProjectName};

/// How the SDK's sources find the contract in the checkout, and how they do in a project.
const WIT_IN_CHECKOUT: &str = "path: \"../../wit\"";
const WIT_IN_PROJECT: &str = "path: \"wit\"";

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Something stands there.
    #[error("{} is there already, and is not empty; --path names another folder", .0.display())]
    Occupied(PathBuf),
    /// A file could not be written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// Makes a project; answers the files that are its author's business, by their path inside the folder.
///
/// # Errors
/// [`NewError`]; a folder that is there and not empty is left as it is.
pub fn make(name: &ProjectName, kind: PolicyKind, folder: &Path) -> Result<Vec<String>, NewError> {
    let occupied = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    if occupied {
        return Err(NewError::Occupied(folder.to_owned()));
    }
    let files = files(name, kind);
    for (path, text) in &files {
        let path = folder.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|cause| NewError::Io { path, cause })?;
    }
    Ok(files.into_iter().map(|(path, _)| path).filter(|path| !path.starts_with("sdk/")).collect())
}

/// All files of a project and what stands in them.
fn files(name: &ProjectName, kind: PolicyKind) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (path, text) in TEMPLATES {
        let path = path.trim_start_matches("templates/");
        let (of, path) = path.split_once('/').unwrap_or(("", path));
        match (of, path) {
            ("common", "gitignore.in") => files.push((".gitignore".to_owned(), filled(text, name, kind))),
            ("common", path) => files.push((path.trim_end_matches(".in").to_owned(), filled(text, name, kind))),
            (of, path) if of == kind.name() => files.push((path.to_owned(), (*text).to_owned())),
            _ => {}
        }
    }
    for (path, text) in SDK {
        files.push((format!("sdk/{path}"), text.replace(WIT_IN_CHECKOUT, WIT_IN_PROJECT)));
    }
    files
}

/// A template with its places filled.
fn filled(template: &str, name: &ProjectName, kind: PolicyKind) -> String {
    let mut text = template.replace("{{name}}", name.as_str()).replace("{{kind}}", kind.name());
    for (what, table) in [("package", PACKAGE), ("requirement", REQUIREMENTS)] {
        let begin = format!("{{{{{what}:");
        while let Some((before, (key, after))) =
            text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
        {
            let value = value(table, key).unwrap_or_default();
            text = format!("{before}{value}{after}");
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name() -> ProjectName {
        "my-policy".parse().unwrap()
    }

    #[test]
    fn a_project_lacks_a_file_of_the_sdk() {
        fn names(folder: &Path, prefix: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() {
                    names(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.push(name);
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut expected = vec!["sdk/Cargo.toml".to_owned()];
        names(&root.join("plugins/sdk/src"), "sdk/src/", &mut expected);
        names(&root.join("wit"), "sdk/wit/", &mut expected);
        assert!(expected.len() > 8, "{expected:?}");
        let files = files(&name(), PolicyKind::ShardKey);
        for path in expected {
            assert!(files.iter().any(|(written, _)| *written == path), "no {path}");
        }
    }

    #[test]
    fn a_project_leans_on_the_checkout_or_has_open_places() {
        for kind in PolicyKind::ALL {
            let files = files(&name(), kind);
            for needed in ["Cargo.toml", "src/lib.rs", "README.md", ".gitignore", "fixtures/defaults.json"] {
                assert!(files.iter().any(|(path, _)| path == needed), "{}: no {needed}", kind.name());
            }
            for (path, text) in files {
                assert!(!text.contains("../..") && !text.contains("workspace = true"), "{path} leans on the checkout");
                assert!(!text.contains("{{") || path.ends_with(".rs"), "{path} has open places");
            }
        }
    }

    #[test]
    fn versions_are_others_than_the_workspace_has() {
        let files = files(&name(), PolicyKind::Prediction);
        let manifest = |path: &str| &files.iter().find(|(written, _)| written == path).unwrap().1;
        let workspace = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml")).unwrap();
        let line = |key: &str| workspace.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        for key in ["wit-bindgen", "serde", "serde_json", "serde_path_to_error", "edition", "rust-version"] {
            assert!(manifest("sdk/Cargo.toml").contains(line(key)), "{key} in {}", manifest("sdk/Cargo.toml"));
        }
        assert!(
            manifest("Cargo.toml").contains(line("serde")) && manifest("Cargo.toml").contains("name = \"my-policy\"")
        );
    }

    #[test]
    fn what_stands_there_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        assert!(make(&name(), PolicyKind::ShardKey, &path).unwrap().contains(&"src/lib.rs".to_owned()));
        let again = make(&name(), PolicyKind::Reconciliation, &path);
        assert!(matches!(again, Err(NewError::Occupied(_))), "{again:?}");
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).unwrap();
        make(&name(), PolicyKind::ShardKey, &empty).unwrap();
    }
}
