//! Settings from JSON text, and refusals that point at the member that is wrong.
//!
//! Always holds: a path in a refusal is a JSON pointer (RFC 6901) into the text that was given.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::Invalid;

/// Reads settings. Give `T` `#[serde(default, deny_unknown_fields)]`: "{}" must be accepted, and a misspelt member must not.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|refused| {
        let path = pointer(refused.path());
        Invalid::new(path, refused.into_inner().to_string())
    })?;
    reader.end().map_err(|refused| Invalid::new("", refused.to_string()))?;
    Ok(value)
}

/// Refuses a value outside `range`; `path` is the JSON pointer of the member.
pub fn within<T: PartialOrd + Display>(path: &str, value: T, range: RangeInclusive<T>) -> Result<(), Invalid> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(path, format!("{value} is not within {} and {}", range.start(), range.end())))
}

fn pointer(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } => {
                text.push('/');
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Seq { index } => {
                text.push('/');
                text.push_str(&index.to_string());
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(serde::Deserialize, Default, Debug)]
    #[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
    struct Settings {
        window_ms: u64,
        parts: Vec<Part>,
    }

    #[derive(serde::Deserialize, Default, Debug)]
    #[serde(default, deny_unknown_fields)]
    struct Part {
        bits: u8,
    }

    fn check(text: &str, path: &str) {
        let refused = parse::<Settings>(text).unwrap_err();
        assert_eq!(refused.path, path, "{text}: {refused}");
    }

    #[test]
    fn empty_settings_are_accepted() {
        assert_eq!(parse::<Settings>("{}").unwrap().window_ms, 0);
    }

    #[test]
    fn a_refusal_points_at_the_member() {
        check(r#"{"window-ms":"x"}"#, "/window-ms");
        check(r#"{"windows/ms":1}"#, "/windows~1ms");
        check(r#"{"parts":[{"bits":1},{"bits":256}]}"#, "/parts/1/bits");
        check(r#"{"parts":[{"bit":1}]}"#, "/parts/0/bit");
        check("[1", "");
        check("{} x", "");
        check("", "");
    }

    #[test]
    fn a_value_outside_its_range_is_refused() {
        assert_eq!(within("/a", 3, 1..=3), Ok(()));
        assert_eq!(within("/a", 4, 1..=3).unwrap_err().path, "/a");
    }
}
