//! Fixtures: questions to a policy and the answers expected of it, as files.
//!
//! A file is `{"settings": {...}, "state": "", "calls": [{"function": ..., "arguments": [...], "answer": ...}, ...]}`: one
//! configured instance and the calls it gets, in order. Values are written as [`crate::runner`] has them. Where the
//! contract has bytes that are CBOR, `{"$cbor": ...}` may stand for the digits.
//!
//! The shipped policies' recorded answers are such files too, written by their native tests.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ostrakon_wire::json::{from_json, to_json};
use ostrakon_wire::value as structured;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::runner::{Callable, RunError};

/// The one key of an object that stands for the CBOR of its value.
const CBOR_KEY: &str = "$cbor";

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Where it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// A JSON object.
    #[serde(default = "empty")]
    pub settings: Value,
    /// Hexadecimal digits.
    #[serde(default)]
    pub state: String,
    /// In order.
    pub calls: Vec<Call>,
}

/// One call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The function, as the contract names it.
    pub function: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
    /// What is expected; left out where it is still to be recorded.
    #[serde(default)]
    pub answer: Option<Value>,
}

/// An answer that is not the one expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The file.
    pub path: PathBuf,
    /// Which call of it, from 0.
    pub index: usize,
    /// The function.
    pub function: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
    /// What the file says; `None` where it says nothing.
    pub expected: Option<Value>,
    /// What was answered, or why nothing was.
    pub found: Result<Value, String>,
}

/// Why a file is no fixture.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// It cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is JSON of another form, or none.
    #[error("{} is no fixture: {wrong}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where, and what is wrong there.
        wrong: String,
    },
    /// The policy refuses the file's settings.
    #[error("{}: the policy refuses the settings {settings}: {words}", path.display())]
    Settings {
        /// Which.
        path: PathBuf,
        /// The settings.
        settings: Value,
        /// The policy's words.
        words: String,
    },
    /// The component cannot be asked.
    #[error("{}: {cause}", path.display())]
    Run {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: RunError,
    },
}

fn empty() -> Value {
    Value::Object(Map::new())
}

/// All fixtures of a folder, by name; none where there is no such folder.
///
/// # Errors
/// [`FixtureError`] of the first file that is none.
pub fn read_all(folder: &Path) -> Result<Vec<Fixture>, FixtureError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|cause| FixtureError::Io { path: folder.to_owned(), cause })?,
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| Fixture::read(path)).collect()
}

impl Fixture {
    /// Reads one file.
    ///
    /// # Errors
    /// [`FixtureError`] says where it is wrong.
    pub fn read(path: &Path) -> Result<Self, FixtureError> {
        let text = fs::read(path).map_err(|cause| FixtureError::Io { path: path.to_owned(), cause })?;
        let malformed = |wrong: String| FixtureError::Malformed { path: path.to_owned(), wrong };
        let read: Self = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        if !read.settings.is_object() {
            return Err(malformed("`settings` is no object".to_owned()));
        }
        for (index, call) in read.calls.iter().enumerate() {
            for value in call.arguments.iter().chain(&call.answer) {
                plain(value).map_err(|wrong| malformed(format!("call {index}: {wrong}")))?;
            }
        }
        Ok(Self { path: path.to_owned(), ..read })
    }

    /// Asks a component all of it, in one instance that is configured so.
    ///
    /// # Errors
    /// [`FixtureError`] where it cannot be asked at all.
    pub fn differences(&self, component: &Callable) -> Result<Vec<Difference>, FixtureError> {
        let path = || self.path.clone();
        let run = |cause| FixtureError::Run { path: path(), cause };
        let configured = || {
            let mut instance = component.instance()?;
            let settings = [self.settings.to_string().into(), Value::from(self.state.as_str())];
            Ok((instance.call("configure", &settings)?, instance))
        };
        let (taken, mut instance) = configured().map_err(run)?;
        if taken.get("ok").is_none() {
            return Err(FixtureError::Settings {
                path: path(),
                settings: self.settings.clone(),
                words: taken.to_string(),
            });
        }
        let mut differences = Vec::new();
        for (index, call) in self.calls.iter().enumerate() {
            let arguments: Vec<_> = call.arguments.iter().map(plain_or_same).collect();
            let found = instance.call(&call.function, &arguments).map_err(|error| error.to_string());
            if found.is_err() {
                // A failed call leaves an instance that answers no more; the host throws it away, too.
                instance = configured().map_err(run)?.1;
            }
            if found.as_ref().ok() != call.answer.as_ref().map(plain_or_same).as_ref() {
                let (function, arguments) = (call.function.clone(), call.arguments.clone());
                let expected = call.answer.clone();
                differences.push(Difference { path: path(), index, function, arguments, expected, found });
            }
        }
        Ok(differences)
    }

    /// Takes the answers found as those expected, and writes the file; calls without an answer stay as they are.
    ///
    /// # Errors
    /// [`FixtureError::Io`] where it cannot be written.
    pub fn record(&mut self, differences: &[Difference]) -> Result<(), FixtureError> {
        for difference in differences.iter().filter(|difference| difference.path == self.path) {
            if let (Ok(found), Some(call)) = (&difference.found, self.calls.get_mut(difference.index)) {
                let spelt = call.arguments.iter().chain(&call.answer).any(|value| plain_or_same(value) != *value);
                call.answer = Some(if spelt { readable(found) } else { found.clone() });
            }
        }
        fs::write(&self.path, self.text()).map_err(|cause| FixtureError::Io { path: self.path.clone(), cause })
    }

    /// One call a line, so that a changed answer is a changed line.
    fn text(&self) -> String {
        let state = Value::from(self.state.as_str());
        let mut text = format!("{{\"settings\":{},\"state\":{state},\"calls\":[", self.settings);
        for (index, call) in self.calls.iter().enumerate() {
            let (function, arguments) = (json!(call.function), json!(call.arguments));
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\n{{\"function\":{function},\"arguments\":{arguments}");
            if let Some(answer) = &call.answer {
                let _ = write!(text, ",\"answer\":{answer}");
            }
            text.push('}');
        }
        text + "\n]}\n"
    }
}

/// A value with the digits of what `{"$cbor": ...}` stands for.
///
/// # Errors
/// Words where there is something that CBOR, as payloads have it, does not have.
pub fn plain(value: &Value) -> Result<Value, String> {
    Ok(match value {
        Value::Object(members) => match members.get(CBOR_KEY) {
            Some(inner) if members.len() == 1 => {
                let cbor = from_json(inner).map_err(|error| error.to_string())?.to_cbor();
                cbor.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}")).into()
            }
            _ => {
                let members = members.iter().map(|(key, value)| Ok((key.clone(), plain(value)?)));
                Value::Object(members.collect::<Result<_, String>>()?)
            }
        },
        Value::Array(items) => Value::Array(items.iter().map(plain).collect::<Result<_, _>>()?),
        other => other.clone(),
    })
}

/// A value with `{"$cbor": ...}` in place of digits that are a CBOR map, for people.
pub fn readable(value: &Value) -> Value {
    match value {
        Value::String(digits) => from_digits(digits).unwrap_or_else(|| value.clone()),
        Value::Array(items) => items.iter().map(readable).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), readable(value))).collect(),
        other => other.clone(),
    }
}

fn from_digits(digits: &str) -> Option<Value> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let cbor = (0..digits.len()).step_by(2).map(pair).collect::<Option<Vec<u8>>>()?;
    let map = structured::Value::from_cbor(&cbor).ok().filter(|value| matches!(value, structured::Value::Map(_)))?;
    let spelt = json!({ CBOR_KEY: to_json(&map) });
    // Only where the digits come back.
    plain(&spelt).is_ok_and(|again| again == digits).then_some(spelt)
}

/// The same of a value that was looked at when its file was read.
pub(crate) fn plain_or_same(value: &Value) -> Value {
    plain(value).unwrap_or_else(|_| value.clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fixture, FixtureError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.json");
        fs::write(&path, text).unwrap();
        Fixture::read(&path)
    }

    fn check(text: &str, says: &str) {
        let refused = read(text).unwrap_err().to_string();
        assert!(refused.contains("f.json is no fixture") && refused.contains(says), "{text}: {refused}");
    }

    #[test]
    fn a_file_that_is_no_fixture_is_not_told_where() {
        check("", "EOF");
        check("{}", "calls");
        check(r#"{"settings":[],"calls":[]}"#, "`settings` is no object");
        check(r#"{"call":[],"calls":[]}"#, "unknown field `call`");
        check("{\"calls\":[\n{\"function\":\"f\",\"argument\":[]}]}", "line 2");
        check(r#"{"calls":[{"function":"f","arguments":[{"$cbor":18446744073709551615}]}]}"#, "call 0: the integer");
    }

    #[test]
    fn what_was_written_reads_otherwise() {
        let mut fixture = read(r#"{"calls":[{"function":"f","arguments":[1,"x"]}]}"#).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fixture.path = folder.path().join("g.json");
        let found = Difference {
            path: fixture.path.clone(),
            index: 0,
            function: "f".into(),
            arguments: vec![],
            expected: None,
            found: Ok(json!({"key": 1})),
        };
        fixture.record(&[found]).unwrap();
        let again = Fixture::read(&fixture.path).unwrap();
        assert_eq!(again.calls[0].answer, Some(json!({"key": 1})));
        assert_eq!(again.calls[0].arguments, [json!(1), json!("x")]);
    }

    #[test]
    fn cbor_is_spelt_in_digits_alone() {
        assert_eq!(plain(&json!([{"$cbor": {"a": 1}}, null])).unwrap(), json!(["a1616101", null]));
        assert_eq!(plain(&json!({"$cbor": 1, "x": 2})).unwrap(), json!({"$cbor": 1, "x": 2}));
        let verdict = json!({"patch": {"body": "a1616101", "reply": ""}, "reject": "add"});
        assert_eq!(readable(&verdict), json!({"patch": {"body": {"$cbor": {"a": 1}}, "reply": ""}, "reject": "add"}));
        assert_eq!(plain(&readable(&verdict)).unwrap(), verdict);
    }
}
