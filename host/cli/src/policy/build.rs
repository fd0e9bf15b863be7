//! `policy build`: the component of a project.

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ostrakon_kit::make::{MakeError, make};
use ostrakon_kit::toolchain::Choice;

use crate::failure::Failure;
use crate::output::{Fields, say};

/// What to build, and where to.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BuildArgs {
    /// The project's folder
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,

    /// Where to write the component; by default NAME.wasm in the project's folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Where to take the compiler from
    #[arg(long, value_enum, default_value_t = Compiler::Auto)]
    compiler: Compiler,

    /// Answer in JSON: one object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to take the compiler from.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compiler {
    /// The installed one; where it has no wasm target and rustup cannot fetch one, Debian's
    Auto,
    /// The installed one, with the wasm target that rustup fetches
    Installed,
    /// Debian's packages, unpacked below the user's cache folder (no root needed)
    Debian,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon policy build
  ostrakon policy build my-keys --out /tmp/my-keys.wasm
  CARGO_NET_OFFLINE=true ostrakon policy build --json

Needs cargo and a C linker. The target wasm32-unknown-unknown is taken from the installed Rust; where
it is missing, `rustup target add` is tried, then Debian's packages, which are unpacked into the
user's cache folder. Built twice, also in another folder, a component is the same byte for byte as
long as the compiler and the locked crates are.

The component is tried as a host would try it: it imports nothing, exports one kind of policy, takes
the settings {} and answers a first question.";

pub(crate) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let choice = match args.compiler {
        Compiler::Auto => Choice::Auto,
        Compiler::Installed => Choice::Installed,
        Compiler::Debian => Choice::Debian,
    };
    let made = make(&args.dir, choice, &|words| eprintln!("{words}")).map_err(|error| match error {
        MakeError::NoProject(_) => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    })?;
    let out = args.out.clone().unwrap_or_else(|| args.dir.join(&made.package).with_extension("wasm"));
    fs::write(&out, &made.component).map_err(|error| Failure::failed(format!("{}: {error}", out.display())))?;
    let (kind, (name, version), bytes) = (made.kind.name(), &made.about, made.component.len());
    if args.json {
        return Fields::default()
            .set("file", out.display().to_string())
            .set("kind", kind)
            .set("name", name.as_str())
            .set("version", version.as_str())
            .set("bytes", bytes)
            .set("digest", made.digest)
            .set("compiler", made.compiler)
            .set("took_ms", made.took.as_millis() as u64)
            .print();
    }
    say(&format_args!("{}: {kind} policy {name} {version}, {bytes} bytes", out.display()))?;
    say(&format_args!("sha256 {}", made.digest))
}
