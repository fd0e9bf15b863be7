//! Writing a policy: the commands that need no host.

use clap::Subcommand;

use super::{bench, build, new, replay, test};
use crate::failure::Failure;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Write {
    /// Make a project for a policy, in Rust, that builds and is tested
    New(new::NewArgs),
    /// Make the component of a project
    Build(build::BuildArgs),
    /// Try a component: fixtures, determinism, spread, order, idempotence, time
    Test(test::TestArgs),
    /// Measure what a call costs
    Bench(bench::BenchArgs),
    /// Run decisions that were made before through a candidate, and compare
    Replay(replay::ReplayArgs),
}

impl Write {
    /// Whether answers and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::New(args) => args.json,
            Self::Build(args) => args.json,
            Self::Test(args) => args.json,
            Self::Bench(args) => args.json,
            Self::Replay(args) => args.json,
        }
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(args) => new::run(&args),
            Self::Build(args) => build::run(&args),
            Self::Test(args) => test::run(&args),
            Self::Bench(args) => bench::run(&args),
            Self::Replay(args) => replay::run(&args),
        }
    }
}
