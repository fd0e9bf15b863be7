//! Recorded calls: what a policy was asked once, and what it answered.
//!
//! The files are written by each policy's own native tests, so a component that answers as recorded answers as the native
//! code does.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::recipe::Policy;
use crate::runner::Runner;

/// One file: a configured instance and the calls it gets, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    settings: Value,
    /// Hexadecimal digits.
    #[serde(default)]
    state: String,
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    function: String,
    arguments: Vec<Value>,
    answer: Value,
}

/// Repeats every recorded call on a component; answers how many there were.
pub(crate) fn repeat(root: &Path, policy: &Policy, component: &[u8]) -> Result<usize> {
    let folder = policy.crate_dir(root).join("recorded");
    let mut repeated = 0;
    for entry in std::fs::read_dir(&folder).with_context(|| format!("no folder {}", folder.display()))? {
        let path = entry?.path();
        let recording: Recording = serde_json::from_slice(&std::fs::read(&path)?)
            .with_context(|| format!("{} is no recording", path.display()))?;
        let mut runner = Runner::new(component, policy.interfaces)?;
        let accepted =
            runner.call("configure", &[recording.settings.to_string().into(), Value::from(&recording.state[..])])?;
        ensure!(accepted.get("ok").is_some(), "{}: settings refused: {accepted}", path.display());
        for (index, call) in recording.calls.iter().enumerate() {
            let answer = runner.call(&call.function, &call.arguments)?;
            ensure!(
                answer == call.answer,
                "{}, call {index}: {} answered {answer}, recorded is {}",
                path.display(),
                call.function,
                call.answer
            );
            repeated += 1;
        }
    }
    ensure!(repeated > 0, "nothing is recorded in {}", folder.display());
    Ok(repeated)
}
