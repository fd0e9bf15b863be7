//! Every command explains itself.

use std::collections::BTreeSet;

use crate::harness::run;

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .filter(|name| name != "help")
        .collect()
}

/// Reads the help of a command and of those under it; the names of those that do something.
fn walk(path: &[String], leaves: &mut BTreeSet<String>) {
    let ran = run(None, path.iter().map(String::as_str).chain(["--help"])).exits(0);
    assert!(ran.stdout.contains("Usage: ostrakon") && ran.stderr.is_empty(), "{ran:?}");
    let short = run(None, path.iter().map(String::as_str).chain(["-h"])).exits(0);
    assert!(short.stdout.contains("Usage: ostrakon"), "{short:?}");
    let under = commands(&ran.stdout);
    for name in &under {
        walk(&[path, std::slice::from_ref(name)].concat(), leaves);
    }
    if under.is_empty() {
        let name = path.join(" ");
        assert!(name == "completions" || ran.stdout.contains("Example"), "{name} shows no example");
        leaves.insert(name);
    }
}

#[test]
fn a_command_does_not_explain_itself() {
    let mut leaves = BTreeSet::new();
    walk(&[], &mut leaves);
    for name in [
        "demo",
        "serve",
        "put",
        "merge",
        "add",
        "delete",
        "act",
        "ticket",
        "escalations list",
        "escalations resolve",
        "get",
        "list",
        "version",
        "shard-key",
        "info",
        "policy push",
        "policy list",
        "policy show",
        "policy activate",
        "policy rollback",
        "policy remove",
        "policy history",
        "policy diff",
        "policy replay",
        "policy new",
        "policy build",
        "policy test",
        "policy bench",
        "shards split",
        "shards merge",
        "shards move",
        "shards pin",
        "shards unpin",
        "shards rekey",
        "migrations pause",
        "migrations resume",
        "migrations abort",
        "rebalance pause",
        "rebalance resume",
        "rebalance limits",
        "decisions",
        "heat",
        "check",
        "import cloudtrail",
        "completions",
    ] {
        assert!(leaves.contains(name), "no command {name}: {leaves:?}");
    }
}

#[test]
fn completions_are_empty() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(None, ["completions", shell]).exits(0);
        assert!(ran.stdout.contains("ostrakon") && ran.stdout.contains("shard-key"), "{shell}");
    }
    run(None, ["completions", "no-such-shell"]).exits(2);
}

#[test]
fn the_version_is_not_told() {
    let ran = run(None, ["--version"]).exits(0);
    assert_eq!(ran.stdout.trim(), format!("ostrakon {}", env!("CARGO_PKG_VERSION")));
}
