//! Build and check tasks of the project, run as `cargo xtask`.

mod inputs;
mod manifest;
mod plugins;
mod recipe;
mod recorded;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use ostrakon_kit::packages::Packages;
use ostrakon_kit::toolchain::Choice;

/// Build and check tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make the components of the shipped policies, or check those that lie in plugins/prebuilt.
    ///
    /// Components come out the same, byte for byte, wherever the checkout lies, as long as the compiler is the same.
    /// The wasm target is taken from the installed toolchain (rustup is asked for it once, where it is missing); where that
    /// cannot be had, Debian's compiler is fetched from the machine's own package sources and unpacked below target/plugins.
    ///
    /// With --check nothing in plugins/prebuilt changes. The check fails when sources, locked dependencies, contract or
    /// recipe changed since a component was made, when a component is not the one in the manifest, imports anything, or
    /// answers a recorded call otherwise than the native code, when the compiler of the manifest makes other bytes of it,
    /// and when there is no compiler. With another compiler than the manifest's, recorded answers are compared and not bytes.
    Plugins {
        /// Only check; exit with an error and name every mismatch.
        #[arg(long)]
        check: bool,
        /// Where to take the compiler from.
        #[arg(long, value_enum, default_value_t = Compiler::Auto)]
        compiler: Compiler,
    },
    /// Fetch the peers that `ostrakon-bench contention --peers` measures against: etcd and Redis, from Debian's packages.
    ///
    /// They are unpacked below target/peers; nothing is installed. The last line says where.
    Peers,
}

/// Where to take the compiler from.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compiler {
    /// The installed one; where it has no wasm target and rustup cannot fetch one, Debian's.
    Auto,
    /// The installed one, with the wasm target that rustup fetches.
    Installed,
    /// Debian's packages, unpacked below target/ (no root needed).
    Debian,
}

impl From<Compiler> for Choice {
    fn from(compiler: Compiler) -> Self {
        match compiler {
            Compiler::Auto => Self::Auto,
            Compiler::Installed => Self::Installed,
            Compiler::Debian => Self::Debian,
        }
    }
}

/// What takes its time, told to whoever waits.
fn progress(words: &str) {
    eprintln!("xtask: {words}");
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn peers(root: &Path) -> Result<()> {
    let names = ["etcd-server", "redis-server"];
    let packages =
        Packages { home: &root.join("target/peers"), what: "the peers (about 30 MB)", names: &names, only: None };
    println!("{}", packages.unpacked(&progress).context("the peers cannot be had")?.display());
    Ok(())
}

fn run(task: Task) -> Result<()> {
    let root = recipe::checkout()?;
    match task {
        Task::Plugins { check: false, compiler } => plugins::build(&root, compiler.into()),
        Task::Plugins { check: true, compiler } => plugins::check(&root, compiler.into()),
        Task::Peers => peers(&root),
    }
}
