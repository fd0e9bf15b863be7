//! How a command fails: one exit code a cause, and the words for it, for people or as JSON.

use std::process::ExitCode;

use ostrakon_client::{Code, ConfigError, Error, FailedCondition, WireError};
use ostrakon_wire::{InvalidId, InvalidPayload};
use serde_json::{Map, Value, json};

use crate::output::{decided_json, payload_json};

/// Why a command ends early, with an exit code other than 0 (but for a reader that has gone).
#[derive(Debug)]
pub(crate) struct Failure {
    exit: u8,
    /// What the cause is called, where no host named it.
    code: &'static str,
    message: String,
    retryable: bool,
    wire: Option<Box<WireError>>,
    json: bool,
    /// What was done before it failed, told beside the error.
    done: Map<String, Value>,
    quiet: bool,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const CONFLICT: u8 = 3;
const NOT_FOUND: u8 = 4;
const UNREACHABLE: u8 = 5;
const REFUSED: u8 = 6;

impl Failure {
    fn new(exit: u8, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            retryable: exit == UNREACHABLE,
            wire: None,
            json: false,
            done: Map::new(),
            quiet: false,
        }
    }

    /// It went wrong here.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(FAILED, "failed", message)
    }

    /// It was asked for in a way that cannot be done.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    /// No host answers there.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(UNREACHABLE, "unreachable", message)
    }

    /// The host will not do it.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(REFUSED, "refused", message)
    }

    /// Somebody stopped it.
    pub(crate) fn interrupted() -> Self {
        Self::new(FAILED, "interrupted", "stopped before the end")
    }

    /// Nobody reads standard output any more, as in `| head`: that ends a command, and is no error.
    pub(crate) fn nobody_reads() -> Self {
        Self { quiet: true, ..Self::new(0, "closed", "standard output is closed") }
    }

    /// The same failure, told as JSON on standard output.
    pub(crate) fn in_json(mut self, json: bool) -> Self {
        self.json |= json;
        self
    }

    /// The same failure, with what was done before; in JSON it stands in the same object.
    pub(crate) fn after(mut self, done: Map<String, Value>) -> Self {
        self.done = done;
        self
    }

    /// Tells the failure and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if self.quiet {
            return ExitCode::from(self.exit);
        }
        if self.json {
            let mut object = self.done.clone();
            object.insert("error".into(), self.to_json());
            // Whoever reads it may have gone; the exit code still tells.
            let _ = crate::output::say(&Value::Object(object));
        } else {
            eprintln!("error: {}", self.message);
            if let Some(winner) = self.wire.as_ref().and_then(|error| error.winner.as_ref()) {
                match winner.payload.as_ref().map(payload_json) {
                    Some(payload) => eprintln!("what stands there: version {}: {payload}", winner.version),
                    None => eprintln!("what stands there: version {}, no live object", winner.version),
                }
            }
            for failed in self.wire.iter().flat_map(|error| &error.failed) {
                eprintln!("conditions[{}] does not hold; what stands there: {}", failed.index, standing(failed));
            }
            if let Some(escalation) = self.wire.as_ref().and_then(|error| error.escalation) {
                eprintln!("a person has it: ostrakon escalations show {escalation}");
            }
        }
        ExitCode::from(self.exit)
    }

    fn to_json(&self) -> Value {
        let Some(error) = &self.wire else {
            return json!({ "code": self.code, "number": 0, "retryable": self.retryable, "message": self.message });
        };
        let mut object = json!({
            "code": error.code.name(),
            "number": error.code.number(),
            "retryable": error.code.retryable(),
            "message": error.message,
        });
        let mut set = |name: &str, value: Value| object[name] = value;
        if let Some(retry_after_ms) = error.retry_after_ms {
            set("retry_after_ms", retry_after_ms.into());
        }
        if let Some(stored) = error.stored {
            set("stored", stored.get().into());
        }
        if let Some(shard_key) = error.shard_key {
            set("shard_key", shard_key.get().into());
        }
        if let Some(escalation) = error.escalation {
            set("escalation", escalation.get().into());
        }
        if let Some(winner) = &error.winner {
            let payload = winner.payload.as_ref().map(payload_json);
            set("winner", json!({ "version": winner.version.get(), "payload": payload }));
        }
        if !error.failed.is_empty() {
            set("failed", error.failed.iter().map(failed_json).collect());
        }
        if let Some(step) = error.step {
            set("step", step.into());
        }
        if let (Code::PositionExpired, Some(decided)) = (error.code, &error.decided) {
            set("position", decided.position.to_string().into());
        }
        if let Some(decided) = &error.decided {
            set("decided", decided_json(decided));
        }
        object
    }
}

/// What stands where a condition of a transaction fails, in words.
fn standing(failed: &FailedCondition) -> String {
    let FailedCondition { version, payload, omitted, .. } = failed;
    match payload.as_ref().map(payload_json) {
        Some(payload) => format!("version {version}: {payload}"),
        None if *omitted => format!("version {version}, too large to be told with the rest"),
        None => format!("version {version}, no live object"),
    }
}

fn failed_json(failed: &FailedCondition) -> Value {
    json!({
        "index": failed.index,
        "version": failed.version.get(),
        "payload": failed.payload.as_ref().map(payload_json),
        "omitted": failed.omitted,
    })
}

fn exit_of(code: Code) -> u8 {
    match code {
        Code::Conflict => CONFLICT,
        Code::NotFound
        | Code::NotRetained
        | Code::UnknownTicket
        | Code::UnknownEscalation
        | Code::UnknownPolicy
        | Code::UnknownShard => NOT_FOUND,
        Code::Overloaded | Code::Draining | Code::TooSlow => UNREACHABLE,
        Code::PolicyFailed | Code::StoreFailed | Code::ShardUnavailable => FAILED,
        // `version-gap` too: there is no winner to act upon, what was asked for is wrong. And `position-expired`: what
        // is asked for in its place is a list.
        _ => REFUSED,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Refused(error) => {
                Self { retryable: error.code.retryable(), wire: Some(error), ..Self::new(FAILED, "refused", message) }
                    .with_exit_of_code()
            }
            Error::Unreachable(_) => Self::unreachable(message),
            Error::Lost(_) => Self::new(UNREACHABLE, "lost", message),
            Error::Deadline => Self::new(UNREACHABLE, "deadline", message),
            Error::Protocol(_) => Self::new(FAILED, "protocol", message),
            Error::Config(error) => match &*error {
                ConfigError::Server { .. } => Self::unreachable(message),
                ConfigError::File { .. } | ConfigError::Unusable(_) => Self::usage(message),
            },
        }
    }
}

impl Failure {
    fn with_exit_of_code(mut self) -> Self {
        self.exit = self.wire.as_ref().map_or(self.exit, |error| exit_of(error.code));
        self
    }
}

/// What breaks a rule of the host is told with the code that the host would answer.
impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Error::from(error).into()
    }
}

impl From<InvalidId> for Failure {
    fn from(error: InvalidId) -> Self {
        WireError::from(error).into()
    }
}

impl From<InvalidPayload> for Failure {
    fn from(error: InvalidPayload) -> Self {
        WireError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, exit: u8, code: &str) {
        let failure = Failure::from(error);
        assert_eq!((failure.exit, failure.to_json()["code"].as_str()), (exit, Some(code)), "{code}");
    }

    #[test]
    fn every_cause_has_its_exit_code() {
        let of = |code: Code| Error::from(WireError::new(code, ""));
        for (code, exit) in [
            (Code::Conflict, 3),
            (Code::NotFound, 4),
            (Code::NotRetained, 4),
            (Code::Overloaded, 5),
            (Code::Draining, 5),
            (Code::InvalidId, 6),
            (Code::PayloadTooLarge, 6),
            (Code::WrongShardKey, 6),
            (Code::VersionGap, 6),
            (Code::PositionExpired, 6),
            (Code::InvalidPosition, 6),
            (Code::StoreFailed, 1),
        ] {
            check(of(code), exit, code.name());
        }
        check(Error::Deadline, 5, "deadline");
        check(Error::Unreachable(String::new()), 5, "unreachable");
        check(Error::Protocol(String::new()), 1, "protocol");
    }
}
