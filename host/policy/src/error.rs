//! Why a policy was not loaded, in words for the person who wrote it.

use std::fmt;

use ostrakon_core::policy::PolicyFault;
use ostrakon_wire::PolicyKind;

use crate::bounds::TEXT_BYTES_MAX;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The runtime or the system refused.
    #[error("the policy engine cannot start: {0}")]
    Start(String),
}

/// A policy of one kind was offered to the slot of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {} policy cannot take the {} slot", .offered.name(), .slot.name())]
pub struct WrongKind {
    /// The policy's kind.
    pub offered: PolicyKind,
    /// The slot's kind.
    pub slot: PolicyKind,
}

/// What a policy was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making an instance, start functions included.
    Instantiate,
    /// Saying who it is.
    Describe,
    /// Taking its settings.
    Configure,
    /// Answering a first question; the function is named.
    Call(&'static str),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instantiate => f.write_str("while it was instantiated"),
            Self::Describe => f.write_str("in `describe`"),
            Self::Configure => f.write_str("in `configure`"),
            Self::Call(function) => write!(f, "in a trial call of `{function}`"),
        }
    }
}

/// Why a component was not loaded. Loading the same bytes again cannot help, but for a [`Stage`] that overran on a busy
/// machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is larger than a component may be.
    #[error("the component has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// It does not begin like WebAssembly.
    #[error("this is not WebAssembly: it does not begin with \\0asm")]
    NotWasm,
    /// It is a core module.
    #[error(
        "this is a core WebAssembly module, not a component; make it one, for example with `wasm-tools component new`"
    )]
    CoreModule,
    /// It is a component that cannot be read, is invalid, or uses what is switched off here.
    #[error("the component is malformed or uses a WebAssembly feature that policies may not use: {0}")]
    Malformed(String),
    /// It wants something from outside.
    #[error("a policy imports nothing, but this component imports {}", list(.0))]
    Imports(
        /// The names of all imports.
        Vec<String>,
    ),
    /// It does not export its interface.
    #[error("the component does not export the interface `{interface}`")]
    MissingInterface {
        /// The interface.
        interface: String,
    },
    /// Its interface lacks a function.
    #[error("the interface `{interface}` lacks the function `{function}`; expected `{expected}`")]
    MissingFunction {
        /// The interface.
        interface: String,
        /// The function.
        function: String,
        /// Its type.
        expected: String,
    },
    /// It exports what nobody asked for.
    #[error("the component exports `{export}`, which is no part of the contract")]
    ExtraExport {
        /// The export; `interface#item` for one inside an interface.
        export: String,
    },
    /// It is a policy of another kind.
    #[error("this is a {} policy (it exports `{export}`), but a {} policy is wanted", .found.name(), .wanted.name())]
    OtherWorld {
        /// What it is.
        found: PolicyKind,
        /// What was wanted.
        wanted: PolicyKind,
        /// The export that says so.
        export: String,
    },
    /// It is made for another version of the contract, newer than this host's.
    #[error("the component exports `{export}`: a newer contract than this host's, which is {supported}")]
    NewerContract {
        /// What it exports.
        export: String,
        /// The version that this host speaks.
        supported: &'static str,
    },
    /// It is made for another version of the contract, older than this host's, or names none.
    #[error("the component exports `{export}`: an older contract than this host's, which is {supported}")]
    OlderContract {
        /// What it exports.
        export: String,
        /// The version that this host speaks.
        supported: &'static str,
    },
    /// A function has another type than the contract says.
    #[error("the function `{function}` has the wrong type: expected `{expected}`, found `{found}`")]
    WrongType {
        /// The function, as `interface#function`.
        function: String,
        /// Its type in the contract.
        expected: String,
        /// Its type in the component.
        found: String,
    },
    /// The settings are no JSON object, are too large, or the policy refused them.
    #[error("the settings are refused{}: {message}", at(.path))]
    Settings {
        /// A JSON pointer into the settings; empty for the whole, `state` for the state.
        path: String,
        /// Why.
        message: String,
    },
    /// It trapped, overran, wanted too much memory or answered nonsense.
    #[error("{stage}: {fault}")]
    Fault {
        /// When.
        stage: Stage,
        /// What.
        fault: PolicyFault,
    },
}

impl LoadError {
    /// In the runtime's words, which may hold names of the component.
    pub(crate) fn malformed(error: &wasmtime::Error) -> Self {
        let words = format!("{error:#}");
        let end = words.floor_char_boundary(TEXT_BYTES_MAX);
        Self::Malformed(printable(&words[..end]))
    }
}

/// The text without control characters, which would reach a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at `{path}`") }
}
