//! The answers that files expect.

use serde_json::json;

use super::{CheckError, Outcome, Property};
use crate::fixture::{Difference, Fixture, FixtureError};
use crate::runner::Callable;

/// Asks all of it; where `record` is set, what was answered is from now on expected.
pub(super) fn check(
    component: &[u8],
    fixtures: &mut [Fixture],
    record: bool,
) -> Result<(Outcome, Vec<Difference>), CheckError> {
    let Some(first) = fixtures.first() else {
        return Ok((Outcome::skipped(Property::Fixtures, "there are none"), Vec::new()));
    };
    let path = first.path.clone();
    let component = Callable::new(component).map_err(|cause| FixtureError::Run { path, cause })?;
    let (mut calls, mut recorded, mut differences) = (0, 0, Vec::new());
    for fixture in &mut *fixtures {
        let mut found = fixture.differences(&component)?;
        calls += fixture.calls.len();
        if record && !found.is_empty() {
            fixture.record(&found)?;
            let before = found.len();
            found.retain(|difference| difference.found.is_err());
            recorded += before - found.len();
        }
        differences.append(&mut found);
    }
    let (files, differing) = (fixtures.len(), differences.len());
    let in_files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    let also = if recorded > 0 { format!(", {recorded} of them recorded now") } else { String::new() };
    let words = match differing {
        0 => format!("{calls} answers in {in_files} as expected{also}"),
        _ => format!("{differing} of {calls} answers in {in_files} are not as expected{also}"),
    };
    let figures = json!({ "files": files, "calls": calls, "differing": differing, "recorded": recorded });
    Ok((Outcome::new(Property::Fixtures, differing == 0, words, figures), differences))
}
