//! Small files beside the store, and what it takes to make a file durable.

use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Makes a file, or what stands in a folder, durable.
pub(crate) fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a file in place of another, durably: whole or not at all.
pub(crate) fn replace(folder: &Path, name: &str, content: &str) -> std::io::Result<()> {
    let draft = folder.join(format!("{name}.draft"));
    let mut file = File::create(&draft)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(name))?;
    sync(folder)
}
