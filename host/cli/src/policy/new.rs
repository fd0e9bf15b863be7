//! `policy new`: a project for a policy, from nothing but this binary.

use std::path::PathBuf;

use clap::Args;
use ostrakon_kit::project::{NewError, ProjectName, make};
use ostrakon_wire::PolicyKind;
use serde_json::Value;

use super::component::kind;
use crate::failure::Failure;
use crate::output::{Fields, say};

/// Which project to make.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct NewArgs {
    /// What the policy is called: a-z, 0-9 and -
    name: ProjectName,

    /// What the policy decides
    #[arg(long, value_parser = kind(), default_value = "shard-key", value_name = "KIND")]
    kind: PolicyKind,

    /// The folder to make; by default one of the policy's name here
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// Answer in JSON: one object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon policy new my-keys
  ostrakon policy new my-forecast --kind prediction
  ostrakon policy new my-rules --kind reconciliation --path policies/rules

The project is a Rust crate with a small policy of that kind, its tests, and fixtures. The SDK lies
in it, in sdk/, so no checkout is needed. From there:

  cd my-keys
  cargo test
  ostrakon policy build
  ostrakon policy test
  ostrakon policy bench
  ostrakon policy push my-keys.wasm --slot shard-key";

pub(crate) fn run(args: &NewArgs) -> Result<(), Failure> {
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let files = make(&args.name, args.kind, &folder).map_err(|error| match error {
        NewError::Occupied(_) => Failure::usage(error.to_string()),
        NewError::Io { .. } => Failure::failed(error.to_string()),
    })?;
    let shown = folder.display();
    if args.json {
        let fields = Fields::default().set("name", args.name.as_str()).set("kind", args.kind.name());
        return fields.set("path", shown.to_string()).set("files", files.into_iter().collect::<Value>()).print();
    }
    say(&format_args!("made {}, a {} policy, in {shown}:", args.name, args.kind.name()))?;
    for file in files {
        say(&format_args!("  {file}"))?;
    }
    say(&format_args!("next: cd {shown} && cargo test && ostrakon policy build && ostrakon policy test"))
}
