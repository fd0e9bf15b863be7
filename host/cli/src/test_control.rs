//! What a test tells a host that serves, in builds with the feature `test-control` alone: a line of JSON on standard
//! input, a line of JSON on standard output.
//!
//! | line | answer |
//! |---|---|
//! | `{"swap": KIND, "file": PATH}` | `{"swapped": KIND, "generation": N}`: the component decides from now on |
//! | anything that cannot be done | `{"error": WHY}`, and nothing has changed |
//!
//! What it must know before it serves stands in its environment: `OSTRAKON_TEST_DEADLINES_MS` lowers deadlines, as in
//! `hello=500,write=800`; `OSTRAKON_TEST_QUEUE` is the number of changes that wait to be committed,
//! `OSTRAKON_TEST_STEP` the number of objects that a step of a migration moves.

use std::io::BufRead;

use ostrakon_policy::Registry;
use ostrakon_server::Deadlines;
use ostrakon_wire::{Slot, Stage};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::host::HostConfig;
use crate::output::say;
use crate::policies::kind_of;

/// What a test has set, in place of what the command line has.
pub(crate) fn applied(config: HostConfig) -> Result<HostConfig, Failure> {
    let queued_changes_max = number("OSTRAKON_TEST_QUEUE")?.unwrap_or(config.queued_changes_max);
    let migration_step_objects = number("OSTRAKON_TEST_STEP")?.or(config.migration_step_objects);
    Ok(HostConfig { deadlines: deadlines()?, queued_changes_max, migration_step_objects, ..config })
}

fn number(name: &str) -> Result<Option<usize>, Failure> {
    let Ok(number) = std::env::var(name) else { return Ok(None) };
    number.parse().map(Some).map_err(|error| Failure::failed(format!("{name}: {number:?}: {error}")))
}

fn deadlines() -> Result<Deadlines, Failure> {
    let lowered = std::env::var("OSTRAKON_TEST_DEADLINES_MS").unwrap_or_default();
    let mut each = lowered.split(',').filter(|part| !part.is_empty());
    let all = each.try_fold(Deadlines::default(), |all, part| {
        let (name, ms) = part.split_once('=').ok_or("NAME=MS")?;
        let ms = ms.parse().map_err(|error| format!("{ms:?}: {error}"))?;
        all.lowered(name, ms).map_err(|error| error.to_string())
    });
    all.map_err(|why: String| Failure::failed(format!("the deadlines of a test: {why}")))
}

/// Listens on a thread of its own, so that a read that never ends holds up no stop.
pub(crate) fn listen(policies: Registry) -> Result<(), Failure> {
    let listening = std::thread::Builder::new().name("test-control".into()).spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let answer = obey(&policies, &line).unwrap_or_else(|why| json!({ "error": why }));
            if say(&answer).is_err() {
                break;
            }
        }
    });
    listening.map(drop).map_err(|error| Failure::failed(error.to_string()))
}

fn obey(policies: &Registry, line: &str) -> Result<Value, String> {
    let command: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |name: &str| command[name].as_str().ok_or_else(|| format!("{name:?} is no text"));
    let slot = Slot::default_of(kind_of(text("swap")?)?);
    let component = std::fs::read(text("file")?).map_err(|error| error.to_string())?;
    let generation = policies.put(&slot, &component, "{}", Stage::Serve).map_err(|error| error.to_string())?;
    Ok(json!({ "swapped": slot.kind.name(), "generation": generation.get() }))
}
