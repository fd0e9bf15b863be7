//! What was acknowledged outlives kill -9 and power cuts; and a host that breaks its word is noticed.

use ostrakon_bench::crash::shim::Shim;
use ostrakon_bench::crash::{End, Fault, Plan, Tally, run};

use crate::harness::ostrakon;

/// Whether power cuts can be played here; says so where they cannot.
pub(crate) fn can_cut() -> bool {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("skipped: power cuts can be played on Linux on x86-64 alone");
        return false;
    }
    let folder = tempfile::tempdir().unwrap();
    Shim::compile(folder.path()).map(|_| true).unwrap_or_else(|error| panic!("{error:#}"))
}

fn play(rounds: u32, seed: u64, end: End, fault: Option<Fault>) -> Tally {
    let plan = Plan { binary: ostrakon().into(), rounds, seed, end, fault };
    let tally = run(&plan, |_| {}).unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    println!("seed {seed}, {end:?}, {fault:?}: {tally:?}");
    tally
}

#[track_caller]
fn keeps_its_word(end: End, seed: u64) {
    let tally = play(4, seed, end, None);
    assert!(tally.is_clean() && tally.acked > 0, "seed {seed}: {tally:#?}");
}

#[test]
fn kill_9_loses_doubles_or_tears_something() {
    keeps_its_word(End::Kill, 11);
}

#[test]
fn a_power_cut_loses_doubles_or_tears_something() {
    if can_cut() {
        keeps_its_word(End::Cut, 12);
    }
}

#[track_caller]
fn is_noticed(fault: Fault) {
    if can_cut() {
        let tally = play(4, 13, End::Cut, Some(fault));
        assert!(tally.lost > 0, "{fault:?} is not noticed: {tally:#?}");
    }
}

#[test]
fn a_host_that_does_not_sync_is_trusted() {
    is_noticed(Fault::NoSync);
}

#[test]
fn a_host_that_answers_before_it_commits_is_trusted() {
    is_noticed(Fault::AnswerEarly);
}
