//! Runs from seeds, with and without a fault.
#![allow(missing_docs)]

use ostrakon_simulation::{Fault, Settings, Violation, run};

const REQUESTS: u64 = 4_000;

fn settings(seed: u64, fault: Option<Fault>) -> Settings {
    Settings { seed, requests: REQUESTS, fault, keep_trace: false }
}

fn show(violation: &Violation) -> String {
    let Violation { seed, step, what, tail, .. } = violation;
    format!("seed {seed}, line {step}: {what}\nand before it:\n  {}", tail.join("\n  "))
}

fn hold(seeds: std::ops::Range<u64>) {
    let mut versions = 0;
    for seed in seeds {
        match run(&settings(seed, None)) {
            Ok(summary) => {
                versions += summary.reconciled;
                assert!(summary.crashes > 1 && summary.tickets > 0, "seed {seed} does too little: {summary:?}");
            }
            Err(violation) => panic!("{}", show(&violation)),
        }
    }
    assert!(versions > 0, "nothing was reconciled");
}

#[test]
fn an_effect_is_lost_doubled_or_invented() {
    hold(1..100);
}

#[test]
fn an_effect_is_lost_doubled_or_invented_from_other_seeds() {
    hold(1_000..1_100);
}

#[test]
fn a_planted_fault_is_not_found() {
    for fault in Fault::ALL {
        let found = (1..=20).any(|seed| run(&settings(seed, Some(*fault))).is_err());
        assert!(found, "{}", fault.name());
    }
}

#[test]
fn the_same_seed_gives_another_run() {
    let trace = |seed| {
        let kept = run(&Settings { keep_trace: true, ..settings(seed, None) });
        kept.unwrap_or_else(|violation| panic!("{}", show(&violation))).trace.unwrap_or_default()
    };
    let (first, second) = (trace(7), trace(7));
    assert!(first.lines().count() > REQUESTS as usize);
    assert!(first == second, "two runs of one seed differ");
    assert!(first != trace(8), "two seeds give one run");
}
