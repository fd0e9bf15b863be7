//! Recorded calls: what a policy was asked once, and what it answered.
//!
//! The files are written by each policy's own native tests, so a component that answers as recorded answers as the native
//! code does.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use ostrakon_kit::fixture::{Difference, read_all};
use ostrakon_kit::runner::Callable;
use serde_json::Value;

use crate::recipe::Policy;

/// Repeats every recorded call on a component; answers how many there were.
pub(crate) fn repeat(root: &Path, policy: &Policy, component: &[u8]) -> Result<usize> {
    let folder = policy.crate_dir(root).join("recorded");
    let component = Callable::new(component)?;
    let mut repeated = 0;
    for recording in read_all(&folder)? {
        if let Some(Difference { path, index, function, expected, found, .. }) =
            recording.differences(&component)?.into_iter().next()
        {
            let found = found.map_or_else(|error| error, |answer| answer.to_string());
            let expected = expected.unwrap_or(Value::Null);
            bail!("{}, call {index}: {function} answered {found}, recorded is {expected}", path.display());
        }
        repeated += recording.calls.len();
    }
    ensure!(repeated > 0, "nothing is recorded in {}", folder.display());
    Ok(repeated)
}
