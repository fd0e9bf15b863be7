//! Runs the planner in worlds made from a seed, and says how even it kept the owners, at what cost, and what shards that never
//! change would have done.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ostrakon_simulation::planner::{FIRST_ROUNDS, Kind, Measured, Report, Size, Trail, run};
use serde_json::{Value, json};

/// Runs the planner against loads, failures and hot objects made from a seed, a round a second, and beside it shards that never
/// change: hashed ranges, hashed objects, and ranges assigned by what they will turn out to do.
///
/// The imbalance is the fullest live owner against the mean of the live ones, without the first 60 rounds. Where one object
/// is more than an owner's part it is the best possible that it is held against: that object's owner does nothing else and is
/// left out.
#[derive(Parser)]
#[command(after_help = "Examples:
  A host:      planner --shards 16 --owners 8
  A cluster:   planner --shards 10000 --owners 1000 --rounds 1000 --json

Exit code: 0 if nothing was taken back within ten minutes, 1 otherwise.")]
struct Arguments {
    /// Shards at first.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    shards: u32,
    /// Owners.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    owners: u32,
    /// Rounds, a second each.
    #[arg(long, default_value_t = 1_000)]
    rounds: u32,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs only this workload.
    #[arg(long, value_name = "NAME", value_parser = kind)]
    workload: Option<Kind>,
    /// Runs one workload more: many accounts that each do what these CloudTrail files and folders tell of one.
    #[arg(long, value_name = "PATH", conflicts_with = "workload")]
    cloudtrail: Vec<PathBuf>,
    /// Prints one JSON object at the end.
    #[arg(long)]
    json: bool,
}

fn kind(name: &str) -> Result<Kind, String> {
    let all = || Kind::ALL.map(Kind::name).join(", ");
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| format!("there is none of that name; there are: {}", all()))
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.rounds <= FIRST_ROUNDS {
        bail!("--rounds is more than {FIRST_ROUNDS}, which are not measured");
    }
    let started = Instant::now();
    let trail = match arguments.cloudtrail.is_empty() {
        true => None,
        false => {
            let events = ostrakon_cloudtrail::load(&arguments.cloudtrail)?;
            Some(Trail::of(&events).context("none of the calls names an object")?)
        }
    };
    let reports = run_all(&arguments, trail.as_ref());
    if arguments.json {
        println!("{}", told(&arguments, &reports));
    } else {
        print(&arguments, &reports);
        println!("{:.1} s", started.elapsed().as_secs_f64());
    }
    let reversals: u64 = reports.iter().map(|report| report.counts.reversals).sum();
    Ok(if reversals == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs all workloads, as many at a time as there are cores.
fn run_all(arguments: &Arguments, trail: Option<&Trail>) -> Vec<Report> {
    let Arguments { shards, owners, rounds, seed, .. } = *arguments;
    let mut kinds: Vec<Kind> = arguments.workload.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
    kinds.extend(trail.map(|_| Kind::Trail));
    let bar = ProgressBar::new(u64::from(rounds) * kinds.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} rounds {msg}").expect("the template is good"));
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = run(*kind, Size { shards, owners, rounds }, seed, trail, || bar.inc(1));
            reports.lock().expect("nobody panics with it").push(report);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    bar.finish_and_clear();
    let mut reports = reports.into_inner().expect("nobody has panicked with it");
    reports.sort_by_key(|report| kinds.iter().position(|kind| *kind == report.kind));
    reports
}

fn digest(reports: &[Report]) -> u128 {
    reports.iter().fold(0, |all, report| all.rotate_left(1) ^ report.digest)
}

fn print(arguments: &Arguments, reports: &[Report]) {
    let Arguments { shards, owners, rounds, seed, .. } = arguments;
    println!("{shards} shards, {owners} owners, {rounds} rounds, seed {seed}; imbalance p50 / p99");
    let two = |measured: &Measured| format!("{:.2} / {:.2}", measured.p50, measured.p99);
    print!("{:17} {:13}", "workload", "planner");
    reports.first().into_iter().flat_map(|report| &report.baselines).for_each(|(name, _)| print!(" {name:16}"));
    println!(" settled moved/round   moves  down  splits merges refused failed back shards  plan ms mean/most");
    for report in reports {
        print!("{:17} {:13}", report.kind.name(), two(&report.imbalance));
        report.baselines.iter().for_each(|(_, measured)| print!(" {:16}", two(measured)));
        let (counts, ms) = (&report.counts, |took: std::time::Duration| took.as_secs_f64() * 1_000.0);
        println!(
            " {:>7} {:>9.3} % {:>7} {:>5} {:>7} {:>6} {:>7} {:>6} {:>4} {:>6}  {:.1} / {:.1}",
            report.settled.map_or("never".to_owned(), |round| format!("{round} s")),
            report.churn * 100.0,
            counts.moves,
            counts.evacuations,
            counts.splits,
            counts.merges,
            counts.refusals,
            counts.failed,
            counts.reversals,
            report.shards,
            ms(report.planned.0),
            ms(report.planned.1),
        );
    }
    for report in reports {
        if let Some(beside) = report.beside {
            let name = report.kind.name();
            println!(
                "{name}: held against the best possible, the owners of objects that are more than an owner's part left out; the worst of these has {beside:.2} times what its object does"
            );
        }
        if report.unserved > 0.0 {
            println!(
                "{}: {:.3} % of the work was with owners that are down",
                report.kind.name(),
                report.unserved * 100.0
            );
        }
        for (name, measured) in &report.baselines {
            for (which, ours, theirs) in
                [("p50", report.imbalance.p50, measured.p50), ("p99", report.imbalance.p99, measured.p99)]
            {
                if ours > theirs {
                    println!("{}: {name} was better at {which}, {theirs:.3} against {ours:.3}", report.kind.name());
                }
            }
        }
    }
    println!("digest of all decisions {:032x}", digest(reports));
}

fn told(arguments: &Arguments, reports: &[Report]) -> Value {
    let measured = |measured: &Measured| json!({ "p50": measured.p50, "p99": measured.p99 });
    let of = |report: &Report| {
        let counts = &report.counts;
        let baselines: serde_json::Map<String, Value> =
            report.baselines.iter().map(|(name, of)| ((*name).to_owned(), measured(of))).collect();
        json!({
            "workload": report.kind.name(), "imbalance": measured(&report.imbalance), "baselines": baselines,
            "settled_rounds": report.settled, "hot_owner_times_object": report.beside, "churn_share": report.churn,
            "unserved_share": report.unserved, "moves": counts.moves, "evacuations": counts.evacuations,
            "splits": counts.splits, "merges": counts.merges, "refusals": counts.refusals, "failed": counts.failed,
            "reversals": counts.reversals, "shards": report.shards,
            "plan_ms_mean": report.planned.0.as_secs_f64() * 1_000.0,
            "plan_ms_max": report.planned.1.as_secs_f64() * 1_000.0,
            "digest": format!("{:032x}", report.digest),
        })
    };
    json!({
        "shards": arguments.shards, "owners": arguments.owners, "rounds": arguments.rounds, "seed": arguments.seed,
        "workloads": reports.iter().map(of).collect::<Vec<_>>(), "digest": format!("{:032x}", digest(reports)),
    })
}
