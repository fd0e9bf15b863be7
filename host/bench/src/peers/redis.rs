//! Redis: how it is started.

use std::path::Path;
use std::process::Command;

use super::{free_ports, program};

pub(super) fn command(system: &Path, data: &Path) -> anyhow::Result<(Command, u16)> {
    let [port] = free_ports()?;
    let mut command = program(system, "redis-server");
    // Durable before it is answered, as the host is.
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"]);
    command.arg("--port").arg(port.to_string()).arg("--dir").arg(data);
    Ok((command, port))
}
