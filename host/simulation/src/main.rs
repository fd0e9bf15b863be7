//! Runs simulations from seeds, and says what they found.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::bail;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ostrakon_simulation::{Fault, Settings, Summary, Violation, run};
use serde_json::{Value, json};

/// Runs front end, owner, reconciliation agent and committing thread on one thread, over a simulated disk and simulated
/// clocks, and holds every commit and every answer against what may be.
///
/// From one seed follow the clients, the order of all steps, what policies answer, and every mishap: crashes, persists that
/// fail, policies that trap, lie or stall, clients that vanish, clocks that jump. The same seed gives the same run.
#[derive(Parser)]
#[command(after_help = "Examples:
  Look for a violation in 100 runs:      ostrakon-simulation --seeds 100
  See how one seed goes, line by line:   ostrakon-simulation --seed 17 --trace
  Plant a fault, and see it found:       ostrakon-simulation --fault forget-id
  Plant every fault there is, in turn:   ostrakon-simulation --faults

Exit code: 0 if no run found anything (with a fault: if it was found), 1 otherwise.")]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds to run, one after the other from the first.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Requests of a run.
    #[arg(long, default_value_t = 20_000)]
    requests: u64,
    /// Plants this fault into the host: then the first violation of any seed is what is looked for.
    #[arg(long, value_name = "NAME", value_parser = fault, conflicts_with = "faults")]
    fault: Option<Fault>,
    /// Plants each fault in turn, and tries up to `--seeds` seeds (at least 20) for each.
    #[arg(long)]
    faults: bool,
    /// Prints the whole trace of the first seed.
    #[arg(long)]
    trace: bool,
    /// Prints one JSON object at the end.
    #[arg(long)]
    json: bool,
}

fn fault(name: &str) -> Result<Fault, String> {
    let all = || Fault::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    Fault::from_name(name).ok_or_else(|| format!("there is none of that name; there are: {}", all()))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.seeds == 0 || arguments.requests == 0 {
        bail!("--seeds and --requests are at least 1");
    }
    let good = match (arguments.faults, arguments.fault) {
        (true, _) => find_all(&arguments),
        (false, Some(fault)) => find(&arguments, fault, arguments.seeds),
        (false, None) => look(&arguments),
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn settings(arguments: &Arguments, seed: u64, fault: Option<Fault>) -> Settings {
    let keep_trace = arguments.trace && seed == arguments.seed;
    Settings { seed, requests: arguments.requests, fault, keep_trace }
}

/// Runs all seeds, as many at a time as there are cores.
fn look(arguments: &Arguments) -> bool {
    let (started, next) = (Instant::now(), AtomicU64::new(0));
    let total = Mutex::new((Summary::default(), None::<Box<Violation>>));
    let bar = ProgressBar::new(arguments.seeds);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds {msg}").expect("the template is good");
    bar.set_style(style);
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= arguments.seeds || total.lock().expect("nobody panics with it").1.is_some() {
            return;
        }
        let ended = run(&settings(arguments, arguments.seed + at, None));
        let mut total = total.lock().expect("nobody panics with it");
        match ended {
            Ok(summary) => {
                if let Some(trace) = &summary.trace {
                    print!("{trace}");
                }
                add(&mut total.0, &summary);
            }
            Err(violation) => {
                total.1.get_or_insert(violation);
            }
        }
        bar.inc(1);
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    bar.finish_and_clear();
    let (summary, violation) = total.into_inner().expect("nobody has panicked with it");
    if arguments.json {
        println!("{}", told(&summary, violation.as_deref(), arguments));
    } else {
        if let Some(violation) = &violation {
            print_violation(violation);
        }
        let Summary {
            requests, actions, versions, reconciled, crashes, failed_persists, vanished, jumps, steps, ..
        } = summary;
        println!(
            "{requests} requests for {actions} actions in {:.1} s ({steps} steps): {versions} versions, {reconciled} of them \
             judged; {} tickets, {} escalations, {} conflicts, {} times overloaded; {crashes} crashes, {failed_persists} \
             failed persists, {vanished} clients gone, {jumps} jumps of the clock; digest {:032x}",
            started.elapsed().as_secs_f64(),
            summary.tickets,
            summary.escalated,
            summary.conflicts,
            summary.overloaded,
            summary.digest,
        );
    }
    violation.is_none()
}

fn add(total: &mut Summary, one: &Summary) {
    total.requests += one.requests;
    total.actions += one.actions;
    total.versions += one.versions;
    total.reconciled += one.reconciled;
    total.applied += one.applied;
    total.rejected += one.rejected;
    total.escalated += one.escalated;
    total.tickets += one.tickets;
    total.conflicts += one.conflicts;
    total.overloaded += one.overloaded;
    total.crashes += one.crashes;
    total.failed_persists += one.failed_persists;
    total.vanished += one.vanished;
    total.jumps += one.jumps;
    total.steps += one.steps;
    // Whatever order the runs end in.
    total.digest ^= one.digest;
}

fn told(summary: &Summary, violation: Option<&Violation>, arguments: &Arguments) -> Value {
    let violation = violation.map(|found| json!({ "seed": found.seed, "step": found.step, "what": found.what }));
    json!({
        "seed": arguments.seed, "seeds": arguments.seeds, "requests": summary.requests, "actions": summary.actions,
        "versions": summary.versions, "reconciled": summary.reconciled, "applied": summary.applied,
        "rejected": summary.rejected, "escalated": summary.escalated, "tickets": summary.tickets,
        "conflicts": summary.conflicts, "overloaded": summary.overloaded, "crashes": summary.crashes,
        "failed_persists": summary.failed_persists, "vanished": summary.vanished, "jumps": summary.jumps,
        "steps": summary.steps, "digest": format!("{:032x}", summary.digest), "violation": violation,
    })
}

fn print_violation(violation: &Violation) {
    match &violation.trace {
        Some(trace) => print!("{trace}"),
        None => violation.tail.iter().for_each(|line| println!("  {line}")),
    }
    println!("seed {}, line {}: {}", violation.seed, violation.step, violation.what);
}

/// Plants a fault, and runs one seed after the other until one shows it.
fn find(arguments: &Arguments, fault: Fault, seeds: u64) -> bool {
    let found = (0..seeds).find_map(|at| run(&settings(arguments, arguments.seed + at, Some(fault))).err());
    match &found {
        Some(violation) if arguments.json => {
            let Violation { seed, step, what, .. } = &**violation;
            println!("{}", json!({ "fault": fault.name(), "found": true, "seed": seed, "step": step, "what": what }));
        }
        None if arguments.json => println!("{}", json!({ "fault": fault.name(), "found": false, "seeds": seeds })),
        Some(violation) if !arguments.faults => print_violation(violation),
        Some(violation) => {
            println!("{:22} seed {}, line {}: {}", fault.name(), violation.seed, violation.step, violation.what);
        }
        None => println!("{:22} not found in {seeds} seeds of {} requests", fault.name(), arguments.requests),
    }
    found.is_some()
}

fn find_all(arguments: &Arguments) -> bool {
    let seeds = arguments.seeds.max(20);
    let missed = Fault::ALL.iter().filter(|fault| !find(arguments, **fault, seeds)).count();
    missed == 0
}
