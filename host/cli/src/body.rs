//! Payloads from the command line: JSON as an argument, from a file or from standard input; bytes from the latter two.

use std::convert::Infallible;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ostrakon_client::{Code, Payload, WireError, json};

use crate::failure::Failure;

/// How much is read of a file: JSON may be wider than the payload that it stands for, but not that much.
const SOURCE_BYTES_MAX: u64 = 16 << 20;

/// Where bytes come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Given(String),
    File(PathBuf),
    Stdin,
}

/// `--data`: `JSON`, `@FILE` or `-`.
#[derive(Debug, Clone)]
pub(crate) struct Data(Source);

/// What a file holds: `FILE` or `-`.
#[derive(Debug, Clone)]
pub(crate) struct RawBytes(Source);

impl FromStr for Data {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(match (text, text.strip_prefix('@')) {
            ("-", _) => Source::Stdin,
            (_, Some(file)) => Source::File(file.into()),
            _ => Source::Given(text.into()),
        }))
    }
}

impl FromStr for RawBytes {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(match text {
            "-" => Source::Stdin,
            file => Source::File(file.into()),
        }))
    }
}

impl Data {
    /// The structured payload that the JSON stands for.
    pub(crate) fn payload(&self) -> Result<Payload, Failure> {
        let text = self.0.read()?;
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| Failure::usage(format!("--data is not JSON: {error}")))?;
        let value = json::from_json(&value).map_err(|error| WireError::new(Code::InvalidPayload, error.to_string()))?;
        Ok(Payload::from_value(&value)?)
    }
}

impl RawBytes {
    /// The bytes.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        self.0.read()
    }

    /// The payload of these bytes.
    pub(crate) fn payload(&self) -> Result<Payload, Failure> {
        Ok(Payload::bytes(self.read()?)?)
    }
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Given(text) => Ok(text.clone().into_bytes()),
            Self::File(path) => {
                let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
                read_bounded(file, path)
            }
            Self::Stdin => read_bounded(std::io::stdin().lock(), Path::new("standard input")),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn read_bounded(from: impl Read, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = from.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > SOURCE_BYTES_MAX {
        let message = format!("{}: larger than {SOURCE_BYTES_MAX} bytes", path.display());
        return Err(WireError::new(Code::PayloadTooLarge, message).into());
    }
    Ok(bytes)
}
