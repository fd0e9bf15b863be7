//! The `ostrakon-bench` binary; what it does stands in the library beside it.

use std::process::ExitCode;

/// The host's own allocator, so that peers, callers and host differ in what is compared alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    ostrakon_bench::main()
}
